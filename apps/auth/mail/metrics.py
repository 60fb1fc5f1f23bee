"""What Prometheus is told of mails."""

from __future__ import annotations

from django.db.models import Min
from django.utils import timezone
from prometheus_client import Counter, Gauge

from apps.auth.models import Mail

sent = Counter("mails_sent", "Mails that the mail server took, by kind.", ("kind",))
failures = Counter("mail_failures", "Attempts to send a mail that failed, by reason.", ("reason",))
waiting = Gauge("mails_waiting", "Mails that are not sent yet.")
oldest = Gauge("mails_oldest_seconds", "How long the oldest mail that is not sent yet has waited.")
given_up = Gauge("mails_given_up", "Mails that nobody tries to send any more.")


def set_gauges() -> None:
    """Measure the queue."""
    unsent = Mail.objects.filter(state__in=(Mail.State.QUEUED, Mail.State.SENDING))
    waiting.set(unsent.count())
    first = unsent.aggregate(first=Min("queued_at"))["first"]
    oldest.set(0 if first is None else (timezone.now() - first).total_seconds())
    given_up.set(Mail.objects.filter(state=Mail.State.GIVEN_UP).count())
