"""Deciding upon many dead letters, one after the other, in the order of their keys."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from .dead_letters import Refused
from .models import DeadLetter
from .status import UNDECIDED

Decide = Callable[[UUID], None]
Rank = tuple[int, str]
Lane = tuple[str, str, str, bytes]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of a letter; `refusal` says why nothing did."""

    letter: DeadLetter
    refusal: str = ""


class Overtakes(Refused):
    """An older letter of the same key has not been decided upon."""


def decide_all(
    letters: Iterable[DeadLetter], decide: Decide, *, keep_order: bool = True
) -> Iterator[Decision]:
    """Decide upon each, those of a key in the order in which they were sent.

    Args:
        letters: in the order in which keys shall get their turn.
        decide: takes a letter's id; refuses by raising Refused.
        keep_order: refuse a letter while an older one of its key is undecided. To replay it would
            hand its reader a later event first; to discard it does no harm.
    """
    letters = list(letters)
    undecided = _Undecided({letter.topic for letter in letters}) if keep_order else None
    for letter in _in_order(letters):
        try:
            if undecided is not None:
                undecided.check(letter)
            decide(letter.pk)
        except Refused as exc:
            yield Decision(letter=letter, refusal=str(exc))
        else:
            if undecided is not None:
                undecided.remove(letter)
            yield Decision(letter=letter)


class _Undecided:
    """Which letters wait for a decision, by key; read once."""

    def __init__(self, topics: set[str]) -> None:
        self._ranks: dict[Lane, list[Rank]] = {}
        found = DeadLetter.objects.filter(state__in=UNDECIDED, topic__in=topics)
        for letter in found.defer("value", "headers", "error_message"):
            if (lane := _lane(letter)) is not None:
                insort(self._ranks.setdefault(lane, []), _rank(letter))

    def check(self, letter: DeadLetter) -> None:
        lane = _lane(letter)
        ranks = self._ranks.get(lane, []) if lane else []
        if older := bisect_left(ranks, _rank(letter)):
            raise Overtakes(
                f"Dead letter {letter.pk} would overtake {older} older one(s) of its key: replay "
                "or discard those first."
            )

    def remove(self, letter: DeadLetter) -> None:
        lane = _lane(letter)
        if lane and _rank(letter) in (ranks := self._ranks.get(lane, [])):
            ranks.remove(_rank(letter))


def _in_order(letters: list[DeadLetter]) -> Iterator[DeadLetter]:
    """Yield the letters with those of each key sorted among themselves."""
    lanes: dict[Lane | None, list[DeadLetter]] = {}
    for letter in letters:
        lanes.setdefault(_lane(letter), []).append(letter)
    queues = {
        lane: deque(each if lane is None else sorted(each, key=_rank))
        for lane, each in lanes.items()
    }
    for letter in letters:
        yield queues[_lane(letter)].popleft()


def _lane(letter: DeadLetter) -> Lane | None:
    """Return within what the order matters; a record without a key has none."""
    if letter.key is None:
        return None
    return letter.stage, letter.group, letter.topic, bytes(letter.key)


def _rank(letter: DeadLetter) -> Rank:
    """Order the letters of a key: by offset, or a relay's by the events' ids, which tell time."""
    return (-1 if letter.offset is None else letter.offset), letter.event_id
