"""Marking what was sent: in a thread of its own, while the next batch is on its way."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from .aside import Aside
from .stores import Settlement

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .membership import Membership
    from .stores import Store


class Marker:
    """Notes in the store what became of rows; what it raises comes up at the next call.

    Args:
        store: the outbox.
        members: under whose name it is done, and renewed with it.
        most: how many rows may be waiting to be marked before the next call waits.
    """

    def __init__(self, store: Store, members: Membership, *, most: int) -> None:
        self._store = store
        self._members = members
        self._most = most
        self._aside = Aside("marker")
        self._running: Future[None] | None = None
        self._begun = Settlement()
        self._next = Settlement()
        # Whether rows that were sent may be left unmarked: their mark has failed, or half of it.
        self._has_failed = False

    def add(self, settlement: Settlement) -> None:
        """Take rows to mark with the next start."""
        self._next.add(settlement)

    def unmarked(self) -> set[uuid.UUID]:
        """Return the rows that were sent, but may be found waiting still."""
        begun = self._begun.published if self._running is not None else []
        return {*begun, *self._next.published}

    def start(self) -> None:
        """Begin to mark, unless that is still going on for earlier rows.

        Raises:
            LeaseLost: the others count this relay as dead; nothing was marked.
            Exception: the store is away.
        """
        if self._running is not None:
            is_full = len(self._next.published) >= self._most
            if not is_full and not self._running.done():
                return
            self._collect()
        if self._next:
            self._begun, self._next = self._next, Settlement()
            self._running = self._aside.do(self._mark, self._members.owner, self._begun)

    def finish(self) -> bool:
        """Wait until all rows are marked, and say whether there were any; raises as `start`."""
        did_work = False
        while self._next or self._running is not None:
            self._collect()
            self.start()
            did_work = True
        return did_work

    @property
    def has_exceptions(self) -> bool:
        """Whether rows are to be marked otherwise than as published."""
        return any(each.dead or each.delayed for each in (self._begun, self._next))

    def forget(self) -> bool:
        """Let end what was begun, drop the rest, and say whether anything is left unmarked."""
        is_unmarked = bool(self._next) or self._has_failed
        self._next, self._has_failed = Settlement(), False
        running, self._running = self._running, None
        if running is not None:
            is_unmarked |= running.exception() is not None
        return is_unmarked

    def close(self) -> None:
        self._aside.close()

    def _collect(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self._has_failed = True
            running.result()
            self._has_failed, self._begun = False, Settlement()

    def _mark(self, owner: str, settlement: Settlement) -> None:
        asked_at = self._members.clock()
        if self._store.settle(owner, self._members.seconds, settlement):
            self._members.renewed(asked_at)
