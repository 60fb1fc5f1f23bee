"""Going through waiting rows page by page."""

from __future__ import annotations

import uuid
from itertools import dropwhile, takewhile

from .judging import Place
from .records import Row
from .stores import LAST_VERSION, Page


def beyond(edge: frozenset[uuid.UUID], read: list[Row]) -> list[Row]:
    """Leave out what was read already, which comes first."""
    return list(dropwhile(lambda row: row.event_id in edge, read))


def turn(read: list[Row], blocked: set[Place]) -> tuple[Page, frozenset[uuid.UUID]]:
    """Return where to read on, and the rows there that were read already.

    Two aggregates of different types may share an id, and a page may end between their rows. A key
    that stands still must not hold the page, however many rows it has.
    """
    last = read[-1]
    if last.place in blocked:
        return Page(last.slot, last.aggregate_id, LAST_VERSION), frozenset()
    page = Page(last.slot, last.aggregate_id, last.version)
    edge = takewhile(lambda row: (row.slot, row.aggregate_id, row.version) == page, reversed(read))
    return page, frozenset(row.event_id for row in edge)
