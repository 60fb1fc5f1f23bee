"""Which rows of a raw topic become records, and which were sent before or are a relay's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message

from . import metrics
from .codec import Codec
from .conf import settings
from .dead_letters import Record
from .failures import Poison
from .models import OutboxEvent
from .raw_rows import columns_of, record_of
from .recent import Recent

PENDING = OutboxEvent.State.PENDING.value.encode()
Columns = dict[str, bytes]


@dataclass(kw_only=True, slots=True)
class Plan:
    """What is to become of a batch of raw records.

    Args:
        messages: those whose records are to be sent.
        records: theirs.
        event_ids: theirs.
        poison: what can never be sent, and why.
    """

    messages: list[Message] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    event_ids: list[bytes] = field(default_factory=list)
    poison: list[tuple[Message, Poison]] = field(default_factory=list)


class Planner:
    """Makes records of raw ones, each event's once as far as it remembers.

    Args:
        topics: where rows may go.
        codec: encodes the payloads.
        take_over: returns which of these events, written for a relay, are to be sent from here.
        tail: returns the ids of the last events of these topics.
    """

    def __init__(
        self,
        *,
        topics: Iterable[str],
        codec: Codec,
        take_over: Callable[[list[bytes]], set[bytes]],
        tail: Callable[[Iterable[str]], list[bytes]],
    ) -> None:
        self._names = {topic.encode(): topic for topic in topics}
        self._codec = codec
        self._take_over = take_over
        self._tail = tail
        self._recent = Recent()
        self._recalled: set[str] = set()

    def plan(self, messages: Sequence[Message], under_way: Collection[bytes] = ()) -> Plan:
        """Plan a batch.

        Args:
            messages: as they were read.
            under_way: the ids of events that are on their way, but have not arrived.
        """
        plan = Plan()
        seen = set(under_way)
        topics, source = self._names, settings.OUTBOX_SOURCE.encode()
        for message, columns in self._ours(messages, plan):
            try:
                event_id = columns.get("id") or b""
                if event_id in seen or self._was_sent(event_id, columns):
                    continue
                record = record_of(
                    message, columns, topics=topics, source=source, codec=self._codec
                )
            except Poison as exc:
                plan.poison.append((message, exc))
                continue
            seen.add(event_id)
            plan.messages.append(message)
            plan.records.append(record)
            plan.event_ids.append(event_id)
        return plan

    def remember(self, event_ids: Iterable[bytes]) -> None:
        """Take note of events that have arrived."""
        self._recent.add(event_ids)

    def recall(self) -> None:
        """Look at the topics' ends again: somebody else may have sent rows of new partitions."""
        self._recalled.clear()

    def close(self) -> None:
        self._codec.close()

    def _ours(self, messages: Sequence[Message], plan: Plan) -> list[tuple[Message, Columns]]:
        """Leave out what a relay sends."""
        rows = []
        relays = []
        for message in messages:
            try:
                columns = columns_of(message)
            except Poison as exc:
                plan.poison.append((message, exc))
                continue
            rows.append((message, columns))
            if columns.get("state") == PENDING:
                relays.append(columns.get("id", b""))
        if not relays:
            return rows
        taken = self._take_over(relays)
        return [
            (message, columns)
            for message, columns in rows
            if columns.get("state") != PENDING or columns.get("id") in taken
        ]

    def _was_sent(self, event_id: bytes, columns: Columns) -> bool:
        topic = self._names.get(columns.get("topic", b""))
        if topic is None:
            return False
        if topic not in self._recalled:
            self._recent.add(self._tail([topic]))
            self._recalled.add(topic)
        if event_id not in self._recent:
            return False
        metrics.published.labels(topic, "repeated", "").inc()
        return True
