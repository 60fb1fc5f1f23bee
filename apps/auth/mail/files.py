"""Mail for a machine without a mail server: a file for each, which mail programs open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

UNSAFE = re.compile(r"[^A-Za-z0-9@._-]+")
LONGEST_NAME = 150


class MailFiles(BaseEmailBackend):
    """Writes each mail into the directory, as RECIPIENT-MESSAGE_ID.eml.

    The same mail sent twice is one file.
    """

    def __init__(self, *, directory: str, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self._directory = Path(directory)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        self._directory.mkdir(parents=True, exist_ok=True)
        for mail in email_messages:
            message = mail.message()
            parts = (*mail.to, str(message["Message-ID"]).strip("<>").partition("@")[0])
            name = "-".join(UNSAFE.sub("_", part)[:LONGEST_NAME] for part in parts)
            temporary = self._directory / f".{name}"
            temporary.write_bytes(message.as_bytes())
            temporary.replace(self._directory / f"{name}.eml")
        return len(email_messages)
