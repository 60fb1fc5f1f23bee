"""What was sent, received and put off: to look at, and where it stands still to decide upon."""

from __future__ import annotations

from . import events, inbox, letters, parked, relays, trail

__all__ = ("events", "inbox", "letters", "parked", "relays", "trail")
