from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.mail import get_connection

from apps.auth.mail.queueing import set_gauges
from apps.auth.management.mailer import Mailer
from apps.outbox.management.base import OutboxCommand
from apps.outbox.monitoring import store_gauges
from apps.outbox.worker import liveness, run_until_signalled

EXAMPLE = """\
example:
  EMAIL_URL=smtp+tls://user:password@mail.example.com:587 manage.py send_mails

SIGTERM ends it after the mail in hand. Any number may run at once.
"""


class Command(OutboxCommand):
    help = "Send the mails that events have queued."
    examples = EXAMPLE

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        mailer = Mailer(get_connection(**settings.MAIL_TRANSPORT), alive=liveness())
        run_until_signalled(mailer, gauges=store_gauges(set_gauges))
