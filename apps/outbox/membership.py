"""A relay's place among the others: which slots of keys it publishes, and for how long.

Each relay has a row that says until when it counts as alive, by the database's clock. It renews the
row in the transaction that marks its batch, so that a relay which others count as dead can mark
nothing. The living divide the slots evenly, each a run of them.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable

import structlog

from . import metrics
from .failures import LeaseLost
from .slots import SLOTS
from .stores import Share, Store, runs

log = structlog.get_logger(__name__)

LEASE_SECONDS = 5.0
LOOK_SECONDS = 1.0
# Of its time, after which a relay renews it before it does anything that others might repeat.
RENEW_AFTER = 0.3


class Membership:
    """See the module.

    Args:
        store: where the relays meet.
        name: what the relay's names begin with; it takes a new one whenever it joins.
        seconds: how long the others wait for a relay that has died.
        clock: seconds that only grow.
        joined: told the relay's new name.
        fence: told the name of a relay that has died, before it is removed.
    """

    def __init__(  # noqa: PLR0913 (collaborators, all named)
        self,
        store: Store,
        *,
        name: str,
        seconds: float,
        clock: Callable[[], float],
        joined: Callable[[str], None],
        fence: Callable[[str], None],
    ) -> None:
        self._store = store
        self._name = name
        self.clock = clock
        self._joined = joined
        self._fence = fence
        self._renewed_at = 0.0
        self._looked_at = float("-inf")
        self._wanted = range(0)
        self.seconds = seconds
        self.owner = ""
        self.slots: tuple[int, ...] = ()
        # Slots taken from a relay that has died, of which some rows may be on their topics already.
        self.orphans: set[int] = set()
        self.is_unbalanced = False

    @property
    def shares(self) -> list[Share]:
        return runs(self.slots)

    def look(self) -> bool:
        """Look about once a second who else is there, and say whether slots must change hands.

        Raises:
            LeaseLost: the others count this relay as dead.
        """
        if not self.owner:
            self._join()
        now = self.clock()
        if now < self._looked_at + LOOK_SECONDS:
            return False
        self.keep()
        members = self._store.members()
        for member in members:
            if member.is_over and member.owner != self.owner:
                # In this order: once it is removed, others take its slots without asking.
                self._fence(member.owner)
                if self._store.evict(member.owner):
                    log.warning("relay_evicted", owner=member.owner, by=self.owner)
        self._looked_at = now
        self._wanted = share_of(self.owner, [each.owner for each in members if not each.is_over])
        self.is_unbalanced = set(self._wanted) != set(self.slots)
        return self.is_unbalanced

    def share_out(self) -> None:
        """Give away and take slots, with nothing in flight.

        Raises:
            LeaseLost: the others count this relay as dead.
        """
        asked_at = self.clock()
        holding = self._store.share_out(self.owner, self.seconds, self._wanted)
        self.renewed(asked_at)
        if holding.slots != self.slots:
            log.info("relay_slots", owner=self.owner, slots=len(holding.slots))
        self.slots = holding.slots
        # What others have not given yet is asked for again after the next look.
        self.is_unbalanced = False
        self.orphans |= holding.orphans
        metrics.partitions_owned.set(len(self.slots))

    def keep(self) -> None:
        """Renew the time if that is due: always before something is sent that others might send.

        Raises:
            LeaseLost: the others count this relay as dead.
        """
        asked_at = self.clock()
        if self.owner and asked_at >= self._renewed_at + RENEW_AFTER * self.seconds:
            self._store.renew(self.owner, self.seconds)
            self._renewed_at = asked_at

    def renewed(self, asked_at: float) -> None:
        """Take note that the time was renewed by something asked for at that moment."""
        self._renewed_at = max(self._renewed_at, asked_at)

    def forget(self) -> None:
        """Become nobody; the next look joins anew."""
        self.owner, self.slots, self.is_unbalanced = "", (), False
        self.orphans.clear()
        self._looked_at = float("-inf")
        metrics.partitions_owned.set(0)

    def leave(self) -> None:
        """Let the others begin at once."""
        owner = self.owner
        self.forget()
        if owner:
            self._store.leave(owner)

    def _join(self) -> None:
        owner = f"{self._name}:{secrets.token_hex(4)}"
        asked_at = self.clock()
        self._store.join(owner, self.seconds)
        self.owner, self._renewed_at = owner, asked_at
        self._joined(owner)
        log.info("relay_joined", owner=owner)


def share_of(owner: str, living: list[str]) -> range:
    """Return the run of slots that falls to one of the living.

    Raises:
        LeaseLost: it is none of them.
    """
    if owner not in living:
        raise LeaseLost(owner)
    place, count = living.index(owner), len(living)
    return range(SLOTS * place // count, SLOTS * (place + 1) // count)


def process_name() -> str:
    """Return a name of this process, short enough for a member's."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}"
