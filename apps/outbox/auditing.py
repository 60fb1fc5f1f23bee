"""The store's and Kafka's side of an audit; `audit` compares them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.utils import timezone

from . import kafka, offsets, slot_guard
from .actions import GIVEN_UP
from .audit import Balance, Kind, Letters, Rows, Sent, Version, compare
from .conf import settings
from .models import DeadLetter, OutboxEvent
from .pruning import first_id_at, pruned_until
from .rereading import NoSuchTopic, read_records
from .topics import dead_letter_topic

CHUNK = 2000
# Between an event's id and the commit of its row, clocks that differ included.
MARGIN = timedelta(minutes=5)
SENDING = (DeadLetter.Stage.RELAY, DeadLetter.Stage.RAW)


def run(*, topics: tuple[str, ...] = (), since: datetime | None = None, at_rest: bool) -> Balance:
    """Audit this service's outbox.

    Args:
        topics: those to read; all that its rows and dead letters name if there are none.
        since: leave out events from before this time.
        at_rest: nothing is on its way any more, so that what has not arrived is lost.

    Raises:
        KafkaException: Kafka is away.
    """
    began = timezone.now()
    rows, seen_topics = _rows(topics, since)
    letters, dead_topics = _letters(topics, since)
    wanted = sorted(set(topics) or seen_topics)
    missing: list[str] = []
    pruned = first_id_at(horizon) if (horizon := pruned_until()) else uuid.UUID(int=0)
    newer = first_id_at(began - MARGIN)
    oldest = first_id_at(since) if since else uuid.UUID(int=0)
    arrived = _arrived_until(began, at_rest=at_rest)
    letters = _with_topics(letters, dead_topics, missing)
    balance = compare(
        rows,
        _sent(wanted, since, missing),
        letters,
        is_newer=lambda event_id: event_id >= newer,
        is_pruned=lambda event_id: event_id < pruned or event_id < oldest,
        must_have_arrived=lambda event_id: arrived is not None and event_id < arrived,
        still_unknown=_still_unknown,
    )
    for topic in missing:
        balance.find(Kind.NO_TOPIC, topic)
    return balance


def _rows(topics: tuple[str, ...], since: datetime | None) -> tuple[Rows, set[str]]:
    found = OutboxEvent.objects.filter(pk__gte=first_id_at(since)) if since else OutboxEvent.objects
    found = found.filter(topic__in=topics) if topics else found.all()
    rows, seen = Rows(), set()
    columns = found.order_by("pk").values_list("pk", "state", "topic")
    for event_id, state, topic in columns.iterator(chunk_size=CHUNK):
        rows.add(event_id, state)
        seen.add(topic)
    return rows, seen


def _letters(topics: tuple[str, ...], since: datetime | None) -> tuple[Letters, set[str]]:
    found = DeadLetter.objects.filter(stage__in=SENDING)
    found = found.filter(topic__in=topics) if topics else found
    relay: set[str] = set()
    raw: set[str] = set()
    expected: set[str] = set()
    redriven: set[str] = set()
    versions: set[Version] = set()
    dead_topics: set[str] = set()
    just_now = timezone.now() - MARGIN
    for letter in found.defer("value", "headers").iterator(chunk_size=CHUNK):
        is_relay = letter.stage == DeadLetter.Stage.RELAY
        (relay if is_relay else raw).add(letter.event_id)
        if letter.state == DeadLetter.State.REPLAYED:
            redriven.add(letter.event_id)
        is_due = letter.last_failed_at < just_now and letter.error_kind != GIVEN_UP
        if is_due and letter.event_id and (since is None or letter.last_failed_at >= since):
            expected.add(letter.event_id)
            # The raw topic's dead letters go to that of the topic which it feeds.
            dead_topics.add(dead_letter_topic(letter.topic.removesuffix(".raw")))
    events = OutboxEvent.objects.filter(pk__in=[each for each in relay | raw if _is_uuid(each)])
    for topic, key, version in events.values_list("topic", "key", "version"):
        versions.add((topic, key.encode(), version))
    letters = Letters(
        of_relay=relay, of_raw=raw, expected=expected, redriven=redriven, versions=versions
    )
    return letters, dead_topics


def _with_topics(letters: Letters, topics: Iterable[str], missing: list[str]) -> Letters:
    on_topics = {each.event_id for each in _sent(sorted(topics), None, missing)}
    return Letters(**(vars(letters) | {"on_topics": on_topics}))


def _sent(topics: Iterable[str], since: datetime | None, missing: list[str]) -> Iterator[Sent]:
    for topic in topics:
        try:
            for record in read_records(topic, since):
                sequence = record.header("ce_sequence") or ""
                yield Sent(
                    event_id=record.header("ce_id") or "",
                    topic=topic,
                    key=record.key or b"",
                    version=int(sequence) if sequence.isdecimal() else 0,
                )
        except NoSuchTopic:
            missing.append(topic)


def _still_unknown(event_ids: list[str]) -> set[str]:
    """Return those that have no row now: what was old when the rows were read, or elsewhere."""
    unknown = set(event_ids)
    for start in range(0, len(event_ids), CHUNK):
        asked = [uuid.UUID(each) for each in event_ids[start : start + CHUNK]]
        found = OutboxEvent.objects.filter(pk__in=asked).values_list("pk", flat=True)
        unknown -= {str(each) for each in found}
    return unknown


def _arrived_until(now: datetime, *, at_rest: bool) -> uuid.UUID | None:
    """Return before which event all that were captured must have reached their topics."""
    if at_rest:
        return first_id_at(now)
    confirmed = slot_guard.confirmed_until()
    if confirmed is None or settings.OUTBOX_TRANSPORT != "debezium":
        return None
    admin, raw = kafka.admin(), settings.OUTBOX_RAW_TOPIC
    places = [(raw, each) for each in admin.list_topics(raw, timeout=10).topics[raw].partitions]
    done = offsets.committed(admin, f"{raw}.worker")
    ends = offsets.ends(admin, places)
    # While the raw worker is behind, nobody knows what it still holds.
    is_through = all(done.get(place, 0) >= end for place, end in ends.items() if end)
    return first_id_at(confirmed) if is_through else None


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
