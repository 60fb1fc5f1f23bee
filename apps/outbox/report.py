"""The status as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import display
from .slot_guard import MISSING, SlotReport
from .status import Status


def status_text(now: Status, *, with_blocked: bool) -> str:
    """Return one paragraph for each part that has something to say."""
    return "\n\n".join(_parts(now, with_blocked=with_blocked))


def _parts(now: Status, *, with_blocked: bool) -> Iterator[str]:
    yield f"{now.service} ({now.transport}) at {now.at:%Y-%m-%d %H:%M:%S} UTC"
    age = f", the oldest for {display.duration(now.oldest_age)}" if now.queue.pending else ""
    yield f"Waiting to be sent: {now.queue.pending:,}{age}; {now.queue.blocked:,} blocked keys"
    if with_blocked:
        yield _table(
            "Blocked keys",
            ("topic", "key", "version", "tries", "due", "waiting", "error"),
            [
                (
                    *(key.topic, key.key, str(key.version), str(key.attempts)),
                    *(f"{key.due_at:%H:%M:%S}", str(key.waiting), display.first_line(key.error)),
                )
                for key in now.blocked
            ],
        )
    yield _table(
        "Relays",
        ("relay", "since", "slots", "state"),
        [
            (
                *(relay.owner, f"{relay.started_at:%Y-%m-%d %H:%M:%S}", str(relay.slots)),
                "alive" if relay.is_alive else "its time is up",
            )
            for relay in now.relays
        ],
    )
    if now.slot is not None:
        yield _slot(now.slot)
    yield (
        f"Kafka does not answer: {now.kafka_fault}"
        if now.kafka_fault
        else _table(
            "Consumers",
            ("group", "topic", "behind"),
            [(lag.group, lag.topic, f"{lag.behind:,}") for lag in now.lags],
        )
    )
    yield _table(
        "Parked records",
        ("group", "topic", "records", "failed", "due"),
        [
            (
                *(each.group, each.topic, f"{each.records:,}", f"{each.failed:,}"),
                f"{each.due_at:%Y-%m-%d %H:%M:%S}",
            )
            for each in now.parked
        ],
    )
    yield _table(
        "Dead letters to decide upon",
        ("count", "stage", "topic", "group", "kind", "state", "oldest"),
        [
            (
                *(f"{each.count:,}", each.stage, each.topic, each.group or "-", each.kind),
                *(each.state, f"{each.oldest_at:%Y-%m-%d %H:%M:%S}"),
            )
            for each in now.letters
        ],
    )


def _slot(slot: SlotReport) -> str:
    if slot.wal_status == MISSING and not slot.fault:
        return f"Replication slot {slot.name}: none yet; apply_connector makes it"
    seen = f"{slot.confirmed_at:%Y-%m-%d %H:%M:%S}" if slot.confirmed_at else "nothing yet"
    text = f"Replication slot {slot.name}: all rows before {seen} are on the raw topic"
    if slot.lag_bytes is not None:
        reader = "being read" if slot.is_active else "NOT being read"
        text += f"; {slot.lag_bytes:,} bytes behind, WAL {slot.wal_status}, {reader}"
    return f"{text}\nFAULT: {slot.fault}" if slot.fault else text


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"{title}\n{display.table(heads, rows)}" if rows else f"{title}: none"
