from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog
from django.core.mail.backends.base import BaseEmailBackend
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from apps.auth import selectors
from apps.auth.mail.sending import Outcome, send_mail
from apps.outbox import monitoring
from apps.outbox.worker import spread

IDLE_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
BATCH = 50

log = structlog.get_logger(__name__)


class Mailer:
    """Sends what is queued, one mail after the other over one connection.

    Any number may run: each mail is taken by a conditional update. While the mail server is away
    the mailer tries one mail now and then, and all others keep their place.

    Args:
        server: the mail server.
        clock: the time by which mails are due.
        alive: called each round, and after each mail.
    """

    def __init__(
        self,
        server: BaseEmailBackend,
        *,
        clock: Callable[[], datetime] = timezone.now,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._server = server
        self._clock = clock
        self._alive = alive
        self._stopped = threading.Event()
        self._times_away = 0

    def run(self) -> None:
        while not self._stopped.is_set():
            self._alive()
            try:
                has_worked = self.run_once()
            except DatabaseError as exc:
                self._pause(f"the database is away: {exc}")
                continue
            if self._times_away:
                self._pause("the mail server is away")
                continue
            monitoring.well()
            if not has_worked:
                self._stopped.wait(IDLE_SECONDS)

    def run_once(self) -> bool:
        """Send what is due, up to the first mail that finds the server away.

        Returns:
            Whether there was anything to send.
        """
        close_old_connections()
        mails = selectors.list_mails_to_send(now=self._clock(), limit=BATCH)
        try:
            for mail in mails:
                if self._stopped.is_set():
                    break
                outcome = send_mail(mail=mail, server=self._server, clock=self._clock)
                self._alive()
                if outcome == Outcome.AWAY:
                    self._times_away += 1
                    break
                self._times_away = 0
        finally:
            # What was sent is sent, whether or not the server still says goodbye.
            with suppress(OSError):
                self._server.close()
        return bool(mails)

    def stop(self) -> None:
        self._stopped.set()

    def _pause(self, why: str) -> None:
        monitoring.unwell(why)
        log.warning("mail waits", why=why)
        self._stopped.wait(
            spread(FIRST_PAUSE_SECONDS, max(1, self._times_away), LONGEST_PAUSE_SECONDS)
        )
