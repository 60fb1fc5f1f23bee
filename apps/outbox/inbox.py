"""One effect for each event and consumer group, however often the event arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, NamedTuple

from django.db import IntegrityError
from django.utils import timezone

from .dead_letters import Headers
from .models import ReceivedEvent
from .transactions import run_in_transaction, transactional

# A batch ends here, though more are at hand: others may wait for the rows that it has changed.
BATCH_SECONDS = 0.25
# A batch that conflicts with others more often than this does more harm than good.
BATCH_CONFLICTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """An event as it was received, and where."""

    group: str
    event_id: str
    topic: str
    partition: int
    offset: int
    key: str
    event: Any
    raw_headers: Headers = ()
    """As the record has them."""

    @property
    def headers(self) -> dict[str, str]:
        """The record's headers as text; one that is none has replacement characters."""
        return {name: (value or b"").decode("utf-8", "replace") for name, value in self.raw_headers}

    @property
    def inbox_id(self) -> str:
        return f"{self.group}/{self.event_id}"


Handler = Callable[[Any], None]

_handled: ContextVar[Message] = ContextVar("handled")


def current_message() -> Message:
    """Return the message whose event the handler was given: where it came from, and its headers.

    Raises:
        LookupError: no event is being handled, or several are at once (`Together`).
    """
    return _handled.get()


@contextmanager
def _handling(message: Message) -> Iterator[None]:
    token = _handled.set(message)
    try:
        yield
    finally:
        _handled.reset(token)


class Together:
    """A handler of many events at once, for effects that the store takes in one statement.

    It is given those of its type that follow each other, oldest first, and often just one. What it
    publishes counts as caused by the last of them.

    Args:
        handle: changes the store as the events say, all of them or none.
    """

    def __init__(self, handle: Callable[[list[Any]], None]) -> None:
        self.handle = handle

    def __call__(self, event: Any) -> None:  # noqa: ANN401 (any event)
        self.handle([event])


class Work(NamedTuple):
    """A message and what to hand its event to."""

    message: Message
    handler: Handler
    together: Together | None = None


Read = Work | None
"""None is a record that nobody reads."""


class Apart(Exception):
    """Some messages cannot take effect together; each may well do so for itself.

    Args:
        at: which of them is the first that failed; None if that is not known.
        cause: why it failed, if that is its own fault for certain.
    """

    def __init__(self, at: int | None, cause: Exception | None = None) -> None:
        super().__init__(f"Message {at} of the batch: {cause!r}")
        self.at = at
        self.cause = cause


def process_once(
    message: Message, handler: Handler, also: Callable[[], object] = lambda: None
) -> bool:
    """Run the handler in one transaction with the note that the event was received.

    Args:
        message: the event, and where it came from.
        handler: what the event is handed to.
        also: what else belongs to the transaction.

    Returns:
        Whether the handler ran; False is an event that has taken effect before.

    Raises:
        Exception: whatever the handler raises; then neither note nor effect is left.
    """
    try:
        _receive(message, handler, also)
    except IntegrityError:
        # The note comes first in the transaction, so that a duplicate costs one refused insert
        # and a new event no lookup. The handler may break a constraint of its own: then the
        # note was rolled back and cannot be found.
        if ReceivedEvent.objects.filter(pk=message.inbox_id).exists():
            return False
        raise
    return True


def process_together(
    reads: Sequence[Read],
    also: Callable[[int], object] = lambda _: None,
    around: Callable[[list[Message]], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> list[bool]:
    """Run the handlers in order in one transaction, with the notes that the events were received.

    Args:
        reads: the messages in their order.
        also: what else belongs to the transaction, given how many of `reads` are in it.
        around: what to handle several messages at once in.

    Returns:
        For each of the first of `reads` whether its handler ran, as `process_once` does; there are
        fewer than asked for if the time of a batch was up.

    Raises:
        Apart: they cannot take effect together; nothing has happened.
    """
    ids = {read.message.inbox_id for read in reads if read is not None}
    known = set(ReceivedEvent.objects.filter(pk__in=ids).values_list("pk", flat=True))
    tries = 0
    at: int | None = None

    def body() -> list[bool]:
        nonlocal tries, at
        at, tries = None, tries + 1
        if tries > BATCH_CONFLICTS:
            raise Apart(None)
        ends = time.monotonic() + BATCH_SECONDS
        seen = set(known)
        fresh: list[Message] = []
        ran: list[bool] = []
        for run in _runs(reads):
            # Which of several that were handled together has failed, nobody can say.
            at = len(ran) if len(run) == 1 else len(ran) or None
            are_new = [read is not None and _is_new(read.message, seen) for read in run]
            new = [read for read, is_new in zip(run, are_new, strict=True) if read and is_new]
            _handle(new, around)
            fresh += [read.message for read in new]
            ran += are_new
            if time.monotonic() > ends:
                break
        at = None
        ReceivedEvent.objects.bulk_create([_note(message) for message in fresh])
        also(len(ran))
        return ran

    try:
        return run_in_transaction(body)
    except Apart:
        raise
    except IntegrityError as exc:
        # Perhaps only because another consumer was faster with this one.
        raise Apart(at) from exc
    except Exception as exc:
        raise Apart(at, exc) from exc


def _runs(reads: Sequence[Read]) -> Iterator[list[Read]]:
    """Return what is to be handled at once: one, or those that follow each other and may be."""
    places = count()
    for _, run in groupby(
        reads, lambda read: id(read.together) if read and read.together else -next(places)
    ):
        yield list(run)


def _is_new(message: Message, seen: set[str]) -> bool:
    is_new = message.inbox_id not in seen
    seen.add(message.inbox_id)
    return is_new


def _handle(
    works: list[Work], around: Callable[[list[Message]], AbstractContextManager[None]]
) -> None:
    match works:
        case []:
            return
        case [work]:
            with _handling(work.message):
                work.handler(work.message.event)
        case [Work(together=Together() as together), *_]:
            messages = [work.message for work in works]
            with around(messages):
                together.handle([message.event for message in messages])


@transactional
def _receive(message: Message, handler: Handler, also: Callable[[], object]) -> None:
    _note(message).save(force_insert=True)
    with _handling(message):
        handler(message.event)
    also()


def _note(message: Message) -> ReceivedEvent:
    return ReceivedEvent(
        id=message.inbox_id,
        type=type(message.event).type,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        version=message.event.version,
        received_at=timezone.now(),
    )
