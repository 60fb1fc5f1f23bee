"""The accounts of the local stack."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from apps.auth import services
from apps.auth.models import SHORTEST_PASSWORD
from apps.outbox.management.base import OutboxCommand

STAFF = "admin@example.com"


class Command(OutboxCommand):
    help = (
        "Make the demo accounts seller@example.com, buyer@example.com and admin@example.com, who "
        "is staff. Their passwords come from DEMO_SELLER_PASSWORD, DEMO_BUYER_PASSWORD and "
        "DEMO_STAFF_PASSWORD. Accounts that exist stay as they are, so run it at each start."
    )
    examples = """\
example:
  DEMO_SELLER_PASSWORD=… DEMO_BUYER_PASSWORD=… DEMO_STAFF_PASSWORD=… \\
      manage.py create_demo_accounts
"""

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401, ARG002
        passwords: dict[str, str] = settings.DEMO_PASSWORDS
        short = [email for email, each in passwords.items() if len(each) < SHORTEST_PASSWORD]
        if short:
            raise CommandError(
                f"No password of at least {SHORTEST_PASSWORD} characters for {', '.join(short)}. "
                "Set DEMO_SELLER_PASSWORD, DEMO_BUYER_PASSWORD and DEMO_STAFF_PASSWORD."
            )
        for email, password in passwords.items():
            create = services.create_staff if email == STAFF else services.sign_up
            try:
                create(email=email, password=password, now=timezone.now())
            except services.EmailInUse:
                self.stdout.write(f"{email} exists")
            else:
                self.stdout.write(self.style.SUCCESS(f"{email} created"))
