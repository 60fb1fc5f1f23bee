"""Delivers events, signed as Stripe signs them, until the receiver says 2xx."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.request
from http import HTTPStatus

from deploy.sandbox.store import Store

DELAYS = (0.5, 1, 2, 5, 10, 20, 30, *([60] * 60))
"""Stripe goes on for three days; here the steps are shorter and end after an hour or so."""
TIMEOUT_SECONDS = 10
BATCH = 50
IDLE_SECONDS = 0.5


def sign(payload: str, secret: str, timestamp: int) -> str:
    """Return the Stripe-Signature header (docs.stripe.com/webhooks#verify-manually)."""
    signed = f"{timestamp}.{payload}".encode()
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class Deliverer(threading.Thread):
    """One thread that posts what is due, oldest first.

    Args:
        store: the deliveries and their events.
        url: where to; "" delivers nothing.
        secret: what signs them, whsec_….
    """

    def __init__(self, store: Store, url: str, secret: str) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._store = store
        self._url = url
        self._secret = secret
        self._work = threading.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        self._work.set()

    def stop(self) -> None:
        self._stopping.set()
        self._work.set()

    def run(self) -> None:
        if not self._url:
            return
        while not self._stopping.is_set():
            self._work.wait(IDLE_SECONDS)
            self._work.clear()
            while not self._stopping.is_set() and (due := self._store.due_deliveries(BATCH)):
                for seq, event_id, attempts in due:
                    self._deliver(seq, event_id, attempts)

    def _deliver(self, seq: int, event_id: str, attempts: int) -> None:
        event = self._store.find("event", event_id)
        payload = json.dumps(event, indent=2)
        request = urllib.request.Request(  # noqa: S310 - the operator's own URL
            self._url,
            data=payload.encode(),
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                "Stripe-Signature": sign(payload, self._secret, int(time.time())),
            },
        )
        answer = _post(request)
        if answer.startswith("2"):
            self._store.mark_delivery(seq, state="delivered", due=time.time(), answer=answer)
        elif attempts >= len(DELAYS):
            self._store.mark_delivery(seq, state="given up", due=time.time(), answer=answer)
        else:
            due = time.time() + DELAYS[attempts]
            self._store.mark_delivery(seq, state="pending", due=due, answer=answer)


def _post(request: urllib.request.Request) -> str:
    """Return the status, or why there is none."""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            return str(HTTPStatus(response.status).value)
    except urllib.error.HTTPError as exc:
        exc.close()
        return str(exc.code)
    except (OSError, ValueError) as exc:
        return f"no answer: {exc}"
