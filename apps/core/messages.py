"""Messages that outlive the way from one service to another."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.core import signing


class SharedCookieStorage(CookieStorage):
    """Signs messages with the key that all services have.

    Django signs them with SECRET_KEY, which is each service's own: "reserved meanwhile", said by
    orders on its way back to the ticket's page, would be thrown away there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        previous = settings.JWT_KEY_PREVIOUS
        self.signer = signing.TimestampSigner(
            key=f"messages:{settings.JWT_KEY}",
            fallback_keys=[f"messages:{previous}"] if previous else [],
            salt=self.key_salt,
        )
