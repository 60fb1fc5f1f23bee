"""The order of starting and stopping, from what comes after what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from deploy.local.config import Config
from deploy.local.entries import Entry
from deploy.local.errors import CannotContinue


def choose(
    stack: Iterable[Entry], config: Config, names: Sequence[str] | None = None
) -> tuple[Entry, ...]:
    """Return the entries that run here, each `after` only those that run here too."""
    chosen = [
        entry for entry in stack if entry.wanted(config) and (names is None or entry.name in names)
    ]
    known = {entry.name for entry in chosen}
    return tuple(
        replace(entry, after=tuple(name for name in entry.after if name in known))
        for entry in chosen
    )


def check(stack: Iterable[Entry]) -> None:
    """Refuse a list that can never start: a name twice, an unknown name, a circle."""
    names: set[str] = set()
    entries = list(stack)
    for entry in entries:
        if entry.name in names:
            raise CannotContinue(f"stack.py has {entry.name} twice.")
        names.add(entry.name)
    for entry in entries:
        if unknown := set(entry.after) - names:
            raise CannotContinue(
                f"stack.py lets {entry.name} wait for {', '.join(sorted(unknown))}, "
                "which it does not list."
            )
    try:
        levels({entry.name: entry.after for entry in entries})
    except CycleError as exc:
        raise CannotContinue(
            f"stack.py goes round in a circle: {' -> '.join(exc.args[1])}."
        ) from exc


def levels(after: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Return the names in steps: each step needs only names of steps before it."""
    sorter = TopologicalSorter(after)
    sorter.prepare()
    steps = []
    while sorter.is_active():
        step = tuple(sorted(sorter.get_ready()))
        sorter.done(*step)
        steps.append(step)
    return steps


def stopping_steps(entries: Iterable[Entry]) -> list[tuple[str, ...]]:
    """Return the long-running names in the order of stopping: whoever needs another goes first.

    A one-shot is no longer there, but what it needed is needed by those who came after it.
    """
    listed = list(entries)
    lasting = {entry.name for entry in listed if not entry.once}
    # Turned round: a name may stop once all who came after it have.
    waits: dict[str, set[str]] = {entry.name: set() for entry in listed}
    for entry in listed:
        for name in entry.after:
            waits[name].add(entry.name)
    steps = (tuple(name for name in step if name in lasting) for step in levels(waits))
    return [step for step in steps if step]
