"""Building a read model again from its topics, to prove the live one or to mend it.

A service declares its read models in READ_MODELS: what each event makes of a row, as a function
without side effects, how to read the live rows, and how to put one right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django.utils.module_loading import import_string

from . import trail
from .codec import Codec
from .conf import settings
from .events import Event, record_name
from .failures import Poison
from .receiver import build
from .rereading import read_records
from .transactions import transactional

Row = Mapping[str, Any]
Rows = dict[str, Row]


@dataclass(frozen=True, kw_only=True)
class ReadModel:
    """A table that is fed by events alone.

    Args:
        events: those that feed it; their topics must keep records for good.
        project: returns the row of an aggregate after the event; None if there is none (any more).
        live: returns the rows as they are, by the aggregates' ids.
        repair: makes a row what it should be, or removes it; it runs in a transaction, and must
            leave a row alone that has become newer meanwhile.
    """

    events: tuple[type[Event], ...]
    project: Callable[[Row | None, Any], Row | None]
    live: Callable[[], Iterable[tuple[str, Row]]]
    repair: Callable[[str, Row | None], None]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An aggregate whose live row is not what its events make of it."""

    aggregate_id: str
    rebuilt: Row | None
    live: Row | None

    def __str__(self) -> str:
        if self.live is None:
            return f"{self.aggregate_id}: missing"
        if self.rebuilt is None:
            return f"{self.aggregate_id}: no event speaks of it"
        fields = sorted(
            name
            for name in {*self.live, *self.rebuilt}
            if self.live.get(name) != self.rebuilt.get(name)
        )
        return f"{self.aggregate_id}: " + ", ".join(
            f"{name} is {self.live.get(name)!r}, not {self.rebuilt.get(name)!r}" for name in fields
        )


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A record of a topic that cannot be read, such as poison that became a dead letter."""

    place: str
    """<topic>/<partition>/<offset>"""
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place} of {self.key}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The rows by their events beside the live ones; equal hashes mean equal rows."""

    rows: int
    rebuilt_hash: str
    live_hash: str
    differences: tuple[Difference, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def to_mend(self) -> list[Difference]:
        """Return the differences of which all is known: no record of theirs was left out."""
        unknown = {each.key for each in self.left_out}
        return [each for each in self.differences if each.aggregate_id not in unknown]


def read_model(name: str) -> ReadModel:
    """Return the read model of that name.

    Raises:
        KeyError: READ_MODELS has none.
    """
    model: ReadModel = import_string(settings.READ_MODELS[name])
    return model


def compare(
    model: ReadModel, codec: Codec, *, rounds: int = 1, pause: Callable[[], None] = lambda: None
) -> Comparison:
    """Replay the topics from their beginning and hold the outcome against the live rows.

    A difference may be an event that has just come, or that the consumer has yet to read. So what
    differs is looked at again, `rounds` times at most, and only what has differed each time, and
    has not changed, remains. A record that cannot be read is left out, since a topic keeps it for
    as long as all others.

    Args:
        model: what to build.
        codec: reads the records.
        rounds: how often to look before a difference counts.
        pause: called between two looks.
    """
    earlier: set[str] | None = None
    for number in range(rounds):
        if number:
            pause()
        (rebuilt, left_out), live = _replay(model, codec), dict(model.live())
        found = [
            Difference(aggregate_id=each, rebuilt=rebuilt.get(each), live=live.get(each))
            for each in sorted({*rebuilt, *live})
            if _canonical(rebuilt.get(each)) != _canonical(live.get(each))
        ]
        differing = {str(each) for each in found}
        if not found or differing == earlier:
            break
        earlier = differing
    return Comparison(
        rows=len(live),
        rebuilt_hash=_digest(rebuilt),
        live_hash=_digest(live),
        differences=tuple(found),
        left_out=tuple(left_out),
    )


@transactional
def repair(name: str, model: ReadModel, difference: Difference, *, by: str) -> None:
    """Make the live row what its events say, and write down who did."""
    model.repair(difference.aggregate_id, difference.rebuilt)
    trail.note(by, "repair", f"{name}/{difference.aggregate_id}", str(difference))


def _replay(model: ReadModel, codec: Codec) -> tuple[Rows, list[LeftOut]]:
    classes = {record_name(cls): cls for cls in model.events}
    rows: Rows = {}
    left_out: list[LeftOut] = []
    for topic in sorted({cls.topic for cls in model.events}):
        for record in read_records(topic):
            if not record.value:
                continue
            try:
                full_name, fields = codec.decode(record.value)
                if full_name not in classes:
                    continue
                event = build(classes[full_name], fields)
            except Poison as exc:
                place = f"{topic}/{record.partition}/{record.offset}"
                key = (record.key or b"").decode("utf-8", "replace")
                left_out.append(LeftOut(place=place, key=key, reason=str(exc)))
                continue
            row = model.project(rows.get(event.aggregate_id), event)
            if row is None:
                rows.pop(event.aggregate_id, None)
            else:
                rows[event.aggregate_id] = row
    return rows, left_out


def _canonical(row: Row | None) -> bytes:
    return orjson.dumps(None if row is None else dict(row), option=orjson.OPT_SORT_KEYS)


def _digest(rows: Rows) -> str:
    digest = hashlib.sha256()
    for aggregate_id in sorted(rows):
        digest.update(orjson.dumps(aggregate_id) + _canonical(rows[aggregate_id]))
    return digest.hexdigest()
