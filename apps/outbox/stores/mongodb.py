"""The outbox on MongoDB."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

import structlog
from django.db import connection
from pymongo import ASCENDING, ReturnDocument
from pymongo.change_stream import CollectionChangeStream
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from apps.outbox.failures import Unavailable
from apps.outbox.models import OutboxEvent
from apps.outbox.records import Row
from apps.outbox.stores import Lease, LeaseLost, Page, Settlement
from apps.outbox.transactions import run_in_transaction

log = structlog.get_logger(__name__)

State = OutboxEvent.State
SNAPSHOT_UNAVAILABLE = 246
LONGEST_AWAIT_MS = 1000
Document = dict[str, Any]


class MongoStore:
    """See `Store`. Django keeps UUIDs here as 32 hexadecimal digits.

    Args:
        name: of the lease.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream: CollectionChangeStream[Document] | None = None

    def acquire(self, owner: str, seconds: float) -> Lease | None:
        is_over = {"_id": self._name, "$expr": {"$lt": ["$expires_at", "$$NOW"]}}
        taken = self._take(is_over, owner, seconds)
        if taken is None:
            # Either it is held or nobody ever held it; an upsert knows the difference.
            never = {"_id": self._name, "epoch": {"$exists": False}}
            try:
                taken = self._take(never, owner, seconds, upsert=True)
            except DuplicateKeyError:
                return None
        return None if taken is None else Lease(owner=owner, epoch=taken["epoch"])

    def _take(
        self, where: Document, owner: str, seconds: float, *, upsert: bool = False
    ) -> Document | None:
        take = {
            "owner": {"$literal": owner},
            "epoch": {"$add": [{"$ifNull": ["$epoch", 0]}, 1]},
            "expires_at": _in(seconds),
        }
        return self._leases().find_one_and_update(
            where, [{"$set": take}], upsert=upsert, return_document=ReturnDocument.AFTER
        )

    def renew(self, lease: Lease, seconds: float) -> None:
        self._hold(lease, seconds, None)

    def release(self, lease: Lease) -> None:
        self._leases().update_one(
            {"_id": self._name, "owner": lease.owner, "epoch": lease.epoch},
            {"$set": {"expires_at": datetime.fromtimestamp(0, UTC)}},
        )

    def pending(self, page: Page | None, limit: int) -> list[Row]:
        query: Document = {"state": State.PENDING.value}
        if page is not None:
            query["aggregate_id"] = {("$gte" if page.is_unfinished else "$gt"): page.after}
        client = self._events().database.client
        try:
            # Without a snapshot the scan may see a version without the one before it, which was
            # committed behind the cursor meanwhile.
            with client.start_session(snapshot=True) as session:
                found = (
                    self._events()
                    .find(query, session=session)
                    .sort([("aggregate_id", ASCENDING), ("version", ASCENDING)])
                    .hint("outbox_event_pending")
                    .limit(limit)
                    .batch_size(limit)
                )
                return [_row(document) for document in found]
        except OperationFailure as exc:
            if exc.code == SNAPSHOT_UNAVAILABLE:  # the collection was just made or changed
                raise Unavailable(str(exc)) from exc
            raise

    def settle(self, lease: Lease, seconds: float, settlement: Settlement) -> None:
        run_in_transaction(lambda: self._settle(lease, seconds, settlement))

    def arm(self) -> None:
        if self._stream is None:
            self._stream = self._events().watch(
                [{"$match": {"operationType": "insert"}}, {"$project": {"documentKey": 1}}],
                max_await_time_ms=LONGEST_AWAIT_MS,
            )

    def wait(self, seconds: float, known: set[uuid.UUID]) -> None:
        """Wait at the change stream, or just wait when it fails: the next scan finds all rows."""
        deadline = time.monotonic() + seconds
        try:
            while self._stream is not None and time.monotonic() < deadline:
                change = self._stream.try_next()
                if change is None:
                    known.clear()
                elif uuid.UUID(hex=str(change["documentKey"]["_id"])) not in known:
                    return
        except (PyMongoError, ValueError) as exc:
            log.info("outbox_watch_ended", error=str(exc))
            self.close()
            time.sleep(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _settle(self, lease: Lease, seconds: float, settlement: Settlement) -> None:
        conn: Any = connection
        self._hold(lease, seconds, conn.session)
        events = self._events()
        now = datetime.now(UTC)
        if settlement.published:
            events.update_many(
                {"_id": {"$in": [each.hex for each in settlement.published]}},
                {"$set": {"state": State.PUBLISHED.value, "published_at": now}},
                session=conn.session,
            )
        for event_id, error in settlement.dead:
            events.update_one(
                {"_id": event_id.hex},
                {"$set": {"state": State.DEAD.value, "last_error": error}, "$inc": {"attempts": 1}},
                session=conn.session,
            )
        for delay in settlement.delayed:
            events.update_one(
                {"_id": delay.event_id.hex},
                {
                    "$set": {"due_at": delay.due_at, "last_error": delay.error},
                    "$inc": {"attempts": 1},
                },
                session=conn.session,
            )

    def _hold(self, lease: Lease, seconds: float, session: Any) -> None:  # noqa: ANN401
        held = self._leases().update_one(
            {"_id": self._name, "owner": lease.owner, "epoch": lease.epoch},
            [{"$set": {"expires_at": _in(seconds)}}],
            session=session,
        )
        if not held.matched_count:
            raise LeaseLost(f"{lease.owner} (epoch {lease.epoch})")

    def _events(self) -> Collection[Document]:
        return _collection("outbox_event")

    def _leases(self) -> Collection[Document]:
        return _collection("outbox_relay_lease")


def _collection(name: str) -> Collection[Document]:
    conn: Any = connection
    conn.ensure_connection()
    collection: Collection[Document] = conn.database[name]
    return collection


def _in(seconds: float) -> Document:
    return {
        "$dateAdd": {
            "startDate": "$$NOW",
            "unit": "millisecond",
            "amount": round(seconds * 1000),
        }
    }


def _row(document: Document) -> Row:
    return Row(
        event_id=uuid.UUID(hex=document["_id"]),
        topic=document["topic"],
        key=document["key"],
        version=document["version"],
        type=document["type"],
        record=document["record"],
        payload=bytes(document["payload"]),
        headers=document["headers"],
        occurred_at=document["occurred_at"].replace(tzinfo=UTC),
        aggregate_id=document["aggregate_id"],
        attempts=document["attempts"],
        due_at=document["due_at"].replace(tzinfo=UTC),
    )
