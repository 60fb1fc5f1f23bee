"""A real mail server on a port of its own, that can be told to misbehave."""

from __future__ import annotations

import email
import email.policy
import logging
import socket

from aiosmtpd.controller import Controller


class MailServer:
    """Takes mail over SMTP, and keeps what it took.

    `mood` is how it answers: well, busy (451 to the recipient), unwanted (550 to the recipient),
    unwilling (554 after the data), deaf (takes the mail, and hangs up before it says so).
    """

    def __init__(self) -> None:
        self.mood = "well"
        self.port = _free_port()
        self.taken = []
        self._controller = None

    def start(self):
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self):
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    @property
    def transport(self):
        return {
            "backend": "django.core.mail.backends.smtp.EmailBackend",
            "host": "127.0.0.1",
            "port": self.port,
            "timeout": 5,
        }

    def to(self, recipient):
        """Return what was taken for this recipient, the oldest first."""
        return [message for recipients, message in self.taken if recipient in recipients]

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802
        if self.mood == "busy":
            return "451 Please come back later"
        if self.mood == "unwanted":
            return "550 No such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, _session, envelope):  # noqa: N802
        if self.mood == "unwilling":
            return "554 Not in these words"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.taken.append((tuple(envelope.rcpt_tos), message))
        if self.mood == "deaf":
            server.transport.abort()
        return "250 OK"


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
