"""Values on the command line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime


def instant(text: str) -> datetime:
    """Read a time; without a zone it is in UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as exc:
        text = f"{text!r} is no time: write 2026-03-01 or 2026-03-01T12:30."
        raise ArgumentTypeError(text) from exc
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
