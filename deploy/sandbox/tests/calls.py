"""Calls that several tests make."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

CARD = {"allowed_payment_method_types": ["card"]}


def create(client: Any, amount: int = 1250, options: Any = None, **params: Any) -> Any:
    return client.payment_intents.create(
        {"amount": amount, "currency": "usd", **CARD, **params}, options
    )


def plain(answer: Any) -> dict[str, Any]:
    return json.loads(answer.last_response.body)


def request(sandbox: Any, method: str, path: str, **options: Any) -> tuple[int, Any]:
    body = options.get("body")
    call = urllib.request.Request(
        f"{sandbox.url}{path}",
        method=method,
        data=body.encode() if body is not None else None,
        headers=options.get("headers", {}),
    )
    try:
        with urllib.request.urlopen(call, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
