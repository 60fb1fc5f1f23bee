"""What Prometheus is told of mails."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

sent = Counter("mails_sent", "Mails that the mail server took, by kind.", ("kind",))
failures = Counter("mail_failures", "Attempts to send a mail that failed, by reason.", ("reason",))
waiting = Gauge("mails_waiting", "Mails that are not sent yet.")
oldest = Gauge("mails_oldest_seconds", "How long the oldest mail that is not sent yet has waited.")
given_up = Gauge("mails_given_up", "Mails that nobody tries to send any more.")
