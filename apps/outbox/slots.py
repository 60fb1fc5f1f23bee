"""How relays divide the keys among them: each key has a slot, and each slot one relay."""

from __future__ import annotations

from zlib import crc32

SLOTS = 64


def slot_of(key: str) -> int:
    """Return the slot of a key; all events of one key are published by one relay at a time."""
    return crc32(key.encode()) % SLOTS
