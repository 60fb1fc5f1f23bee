"""Judge one service's events by its store and every record of its topics.

Runs as a process with the service's settings: `python -m prove.events`. It reads from its standard
input what faults are excused by, and prints what it found, both as JSON. The judge is the one of
apps/outbox/testing, which has its own tests of planted faults.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.utils.module_loading import import_string

from prove.versions import NEW_FIELD

if TYPE_CHECKING:
    from apps.outbox.codec import Schemas
    from apps.outbox.schemas import LocalSchema


@dataclass
class Counting:
    """The registry's schemas; counts how many records are of one that the newer version has.

    Args:
        schemas: asked for each record.
    """

    schemas: Schemas
    newer: int = 0

    def writer_schema(self, schema_id: int, /) -> dict[str, Any]:
        schema = self.schemas.writer_schema(schema_id)
        self.newer += any(each["name"] == NEW_FIELD["name"] for each in schema["fields"])
        return schema

    def schema_id(self, topic: str, schema: LocalSchema, /) -> int:
        return self.schemas.schema_id(topic, schema)

    def versions(self, topic: str, record: str, /) -> Sequence[tuple[int, LocalSchema]]:
        return self.schemas.versions(topic, record)

    def close(self) -> None:
        self.schemas.close()


def judge(planted: frozenset[str], in_flight: int) -> dict[str, Any]:
    """Return violations and counts.

    Args:
        planted: ids of records that are no events and were put on topics on purpose.
        in_flight: how many records may have been sent again.
    """
    # Imported when Django is set up, which models need.
    from apps.outbox.registry import Registry  # noqa: PLC0415
    from apps.outbox.rereading import NoSuchTopic  # noqa: PLC0415
    from apps.outbox.testing import reading  # noqa: PLC0415
    from apps.outbox.testing.checker import check  # noqa: PLC0415
    from apps.outbox.testing.history import (  # noqa: PLC0415
        Delivery,
        Fault,
        History,
        Outcome,
        Transaction,
        committed,
    )

    schemas = Counting(Registry.from_settings())
    own = [
        topic.name
        for topic in settings.OUTBOX_TOPICS
        if topic.avro_namespace == f"ticketing.{settings.SERVICE_NAME}"
        and not topic.name.endswith(".raw")
    ]
    group = settings.CONSUMER_GROUP
    handled = import_string(settings.EVENT_HANDLERS) if settings.EVENT_HANDLERS else {}
    read = sorted({event.topic for event in handled})

    def deliveries(topics: Iterable[str]) -> Iterator[Delivery]:
        for topic in topics:
            try:
                for delivery in reading.read_topic(topic, schemas):
                    if delivery.event.id not in planted:
                        yield delivery
            except NoSuchTopic:
                continue

    def told(seen: Iterable[Delivery]) -> Iterator[Transaction]:
        """Take what is on a foreign topic for true: its own service judges it."""
        for delivery in seen:
            yield Transaction(outcome=Outcome.COMMITTED, events=(delivery.event,))

    found = []
    counts: Counter[str] = Counter()
    if own:
        rows = list(reading.read_rows(own, schemas))
        records = list(deliveries(own))
        letters = [each for each in reading.read_letters(own) if each.event_id not in planted]
        found += check(
            History(
                transactions=committed(rows),
                deliveries=records,
                rows=rows,
                letters=[each for each in letters if not each.group],
                buried=list(deliveries(f"{topic}.dlq" for topic in own)),
                faults=[Fault(at=0, what="all", in_flight=in_flight)],
            )
        )
        counts["events"] = len(rows)
        counts["records"], counts["newer"] = len(records), schemas.newer
        counts["sent again"] = len(records) - len({each.event.id for each in records})
    if read:
        first, second = tee(deliveries(read))
        group_reading = reading.read_group(group, read, types={event.type for event in handled})
        found += check(
            History(
                transactions=told(first),
                deliveries=second,
                readings=[group_reading],
                faults=[Fault(at=0, what="all", in_flight=len(read) * in_flight)],
            )
        )
        counts["effects"] = len(group_reading.received)
    return {
        "violations": [
            {"rule": each.kind.value, "subject": each.subject, "evidence": each.evidence}
            for each in found
        ],
        "counts": counts,
    }


def main() -> None:
    django.setup()
    asked = json.load(sys.stdin)
    answer = judge(frozenset(asked["planted"]), asked["in_flight"])
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
