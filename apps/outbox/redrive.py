"""Deciding upon many dead letters, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from apps.outbox.dead_letters import Refused
from apps.outbox.models import DeadLetter

Decide = Callable[[UUID], None]


def decide_all(letters: Iterable[DeadLetter], decide: Decide) -> tuple[list[DeadLetter], list[str]]:
    """Decide upon each in the order given.

    Returns:
        The letters that were decided upon, and why the others were refused.
    """
    decided, refusals = [], []
    for letter in letters:
        try:
            decide(letter.pk)
        except Refused as exc:
            refusals.append(str(exc))
        else:
            decided.append(letter)
    return decided, refusals
