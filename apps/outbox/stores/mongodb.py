"""The outbox on MongoDB."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from bson import MinKey
from django.db import connection
from pymongo import ASCENDING, ReturnDocument, UpdateOne, timeout
from pymongo.change_stream import CollectionChangeStream
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError

from ..actions import sent_after_all
from ..failures import LeaseLost, Unavailable
from ..records import Row
from ..slots import SLOTS
from ..transactions import run_in_transaction
from . import Holding, Member, Page, Settlement, Share

log = structlog.get_logger(__name__)

Document = dict[str, Any]

SNAPSHOT_UNAVAILABLE = 246
LONGEST_AWAIT_MS = 1000
WAITING = "outbox_event_waiting"
BY_ID = "_id_"
PENDING: Document = {"state": "pending"}
NOT_DEAD: Document = {"state": {"$ne": "dead"}}
IN_ORDER = [("slot", ASCENDING), ("aggregate_id", ASCENDING), ("version", ASCENDING)]
IS_OVER = {"$lt": ["$expires_at", "$$NOW"]}


class MongoStore:
    """See `Store`. Django keeps UUIDs here as 32 hexadecimal digits."""

    def __init__(self) -> None:
        self._stream: CollectionChangeStream[Document] | None = None
        self._watched: tuple[Share, ...] = ()
        # Whose lease ends when, as was seen last: to renew it for each batch costs a second write.
        self._lease = "", datetime.min.replace(tzinfo=UTC)

    def join(self, owner: str, seconds: float) -> None:
        slots = _slots()
        if slots.count_documents({}) < SLOTS:
            make = {"$setOnInsert": {"owner": "", "epoch": 0}}
            slots.bulk_write(
                [UpdateOne({"_id": number}, make, upsert=True) for number in range(SLOTS)]
            )
        _members().update_one(
            {"_id": owner},
            [{"$set": {"started_at": "$$NOW", "expires_at": _in(seconds)}}],
            upsert=True,
        )

    def renew(self, owner: str, seconds: float) -> None:
        self._lease = owner, _hold(owner, seconds, None)

    def members(self) -> list[Member]:
        found = _members().find({}, {"is_over": IS_OVER}, sort=[("_id", ASCENDING)])
        return [Member(document["_id"], document["is_over"]) for document in found]

    def evict(self, owner: str) -> bool:
        return bool(_members().delete_one({"_id": owner, "$expr": IS_OVER}).deleted_count)

    def leave(self, owner: str) -> None:
        # A slot whose owner is gone is free; a crash in between does no harm.
        _slots().update_many({"owner": owner}, {"$set": {"owner": ""}})
        _members().delete_one({"_id": owner})

    def share_out(self, owner: str, seconds: float, wanted: range) -> Holding:
        return run_in_transaction(lambda: self._share_out(owner, seconds, wanted))

    def pending(self, page: Page, last_slot: int, limit: int) -> list[Row]:
        try:
            # Without a snapshot the scan may see a version without the one before it, which was
            # committed behind the cursor meanwhile.
            with _events().database.client.start_session(snapshot=True) as session:
                found = (
                    _events()
                    .find(PENDING, COLUMNS, session=session)
                    .hint(WAITING)
                    .min(_at(*page))
                    .max(_at(last_slot + 1, MinKey(), MinKey()))
                    .sort(IN_ORDER)
                    .limit(limit)
                    .batch_size(limit)
                )
                documents = list(found)
            early = _early([each["_id"] for each in documents if _was_put_off(each)])
            return [_row(document, early) for document in documents]
        except OperationFailure as exc:
            if exc.code == SNAPSHOT_UNAVAILABLE:  # the collection was just made or changed
                raise Unavailable(str(exc)) from exc
            raise

    def settle(self, owner: str, seconds: float, settlement: Settlement) -> bool:
        """See `Store`. What was only published is marked without a transaction.

        In a transaction MongoDB 6 reads the collection's whole catalog entry anew for every row and
        index that it changes, which costs more than the change. The lease guards the update all the
        same: the server itself compares its clock as the update begins, and ends it in time.
        """
        if settlement.dead or settlement.delayed:
            run_in_transaction(lambda: self._settle(owner, seconds, settlement))
            return True
        known_owner, until = self._lease
        published = settlement.published
        if known_owner == owner and _publish_before(until, seconds / 2, published):
            return False
        self.renew(owner, seconds)
        _, until = self._lease
        if not _publish_before(until, seconds / 2, published):
            raise LeaseLost(owner)
        return True

    def backlog(self, slots: Sequence[int]) -> Mapping[str, datetime]:
        found = _events().aggregate(
            [
                {"$match": PENDING | {"slot": {"$in": list(slots)}}},
                {"$group": {"_id": "$topic", "oldest": {"$min": "$occurred_at"}}},
            ],
            hint=WAITING,
        )
        return {each["_id"]: each["oldest"].replace(tzinfo=UTC) for each in found}

    def has_captured(self) -> bool:
        return False

    def arm(self, shares: Sequence[Share]) -> None:
        if self._stream is not None and self._watched != tuple(shares):
            self.close()
        if self._stream is None:
            self._watched = tuple(shares)
            slots = [
                {"fullDocument.slot": {"$gte": share.first, "$lte": share.last}} for share in shares
            ]
            self._stream = _events().watch(
                [
                    {"$match": {"operationType": "insert", "$or": slots}},
                    {"$project": {"documentKey": 1}},
                ],
                max_await_time_ms=LONGEST_AWAIT_MS,
            )

    def wait(self, seconds: float, known: set[uuid.UUID]) -> bool:
        """Wait at the change stream, or just wait when it fails: the next scan finds all rows."""
        deadline = time.monotonic() + seconds
        try:
            while self._stream is not None and time.monotonic() < deadline:
                change = self._stream.try_next()
                if change is None:
                    known.clear()
                elif uuid.UUID(hex=str(change["documentKey"]["_id"])) not in known:
                    return True
        except (PyMongoError, ValueError) as exc:
            log.info("outbox_watch_ended", error=str(exc))
            self.close()
        time.sleep(max(0.0, deadline - time.monotonic()))
        return False

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _share_out(self, owner: str, seconds: float, wanted: range) -> Holding:
        session = _session()
        _hold(owner, seconds, session)
        _slots().update_many(
            {"owner": owner, "_id": {"$nin": list(wanted)}},
            {"$set": {"owner": ""}},
            session=session,
        )
        # The transaction sees one moment: an owner without a document is dead, since it had one
        # when it took the slot, and no name is used twice.
        alive = {document["_id"] for document in _members().find({}, {"_id": 1}, session=session)}
        mine: list[int] = []
        free: dict[int, str] = {}
        for slot in _slots().find({"_id": {"$in": list(wanted)}}, session=session):
            if slot["owner"] == owner:
                mine.append(slot["_id"])
            elif slot["owner"] not in alive:
                free[slot["_id"]] = slot["owner"]
        if free:
            _slots().update_many(
                {"_id": {"$in": list(free)}},
                {"$set": {"owner": owner}, "$inc": {"epoch": 1}},
                session=session,
            )
        return Holding(
            slots=tuple(sorted([*mine, *free])),
            orphans=frozenset(number for number, holder in free.items() if holder),
        )

    def _settle(self, owner: str, seconds: float, settlement: Settlement) -> None:
        session = _session()
        _hold(owner, seconds, session)
        if settlement.published:
            marked = _events().update_many(
                {"_id": {"$in": [each.hex for each in settlement.published]}} | NOT_DEAD,
                {"$set": {"state": "published"}, "$currentDate": {"published_at": True}},
                session=session,
            )
            if marked.matched_count < len(settlement.published):
                sent_after_all(settlement.published)
        others = [
            UpdateOne(
                {"_id": event_id.hex} | NOT_DEAD,
                {"$set": {"state": "dead", "last_error": error}, "$inc": {"attempts": 1}},
            )
            for event_id, error in settlement.dead
        ]
        others += [
            UpdateOne(
                {"_id": each.event_id.hex} | NOT_DEAD,
                [{"$set": _delay(each.seconds, each.error)}],
            )
            for each in settlement.delayed
        ]
        if others:
            _events().bulk_write(others, ordered=False, session=session)


def _hold(owner: str, seconds: float, session: Any) -> datetime:  # noqa: ANN401
    """Renew the relay's lease and return its end, by the server's clock."""
    held = _members().find_one_and_update(
        {"_id": owner},
        [{"$set": {"expires_at": _in(seconds)}}],
        return_document=ReturnDocument.AFTER,
        session=session,
    )
    if held is None:
        raise LeaseLost(owner)
    until: datetime = held["expires_at"]
    return until


def _publish_before(until: datetime, spare: float, published: Sequence[uuid.UUID]) -> bool:
    """Mark rows, unless the lease that ends then is within its last seconds: say whether.

    Raises:
        PyMongoError: the server is away or took too long; some may be marked.
    """
    if not published:
        return True
    rows = {"_id": {"$in": [each.hex for each in published]}} | PENDING
    in_time = {"$expr": {"$lt": ["$$NOW", until - timedelta(seconds=spare)]}}
    marks = {"$set": {"state": "published"}, "$currentDate": {"published_at": True}}
    # The server stops after this time, so that it marks nothing once the lease is over.
    with timeout(spare):
        marked = _events().update_many(rows | in_time, marks, hint=BY_ID).matched_count
    if marked < len(published):
        if _events().find_one(rows, {"_id": 1}) is not None:
            return False
        # A person has discarded one of them meanwhile.
        run_in_transaction(lambda: sent_after_all(published))
    return True


def _session() -> Any:  # noqa: ANN401 (the engine's own attribute)
    conn: Any = connection
    return conn.session


def _events() -> Collection[Document]:
    return _collection("outbox_event")


def _members() -> Collection[Document]:
    return _collection("outbox_relay_member")


def _slots() -> Collection[Document]:
    return _collection("outbox_relay_slot")


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


def _delay(seconds: float, error: str) -> Document:
    return {
        "due_at": _in(seconds),
        "last_error": {"$literal": error},
        "attempts": {"$add": ["$attempts", 1]},
    }


COLUMNS: Document = {
    **dict.fromkeys(("topic", "key", "version", "type", "record", "payload", "headers"), 1),
    **dict.fromkeys(("occurred_at", "due_at", "aggregate_id", "attempts", "slot"), 1),
}


def _at(*place: Any) -> list[Any]:  # noqa: ANN401 (keys of any type)
    """Name a place in the index; `min` includes it and `max` does not."""
    return [(name, value) for (name, _), value in zip(IN_ORDER, place, strict=True)]


def _was_put_off(document: Document) -> bool:
    return bool(document["due_at"] != document["occurred_at"])


def _early(put_off: list[str]) -> frozenset[str]:
    """Return those of the rows whose time is not come, by the server's clock.

    To have it compare every row's in the first query would double what reading costs there.
    """
    if not put_off:
        return frozenset()
    early = {"_id": {"$in": put_off}, "$expr": {"$gt": ["$due_at", "$$NOW"]}}
    return frozenset(each["_id"] for each in _events().find(early, {"_id": 1}))


def _row(document: Document, early: frozenset[str]) -> Row:
    return Row(
        uuid.UUID(hex=document["_id"]),
        document["topic"],
        document["key"],
        document["version"],
        document["type"],
        document["record"],
        bytes(document["payload"]),
        document["headers"],
        document["occurred_at"].replace(tzinfo=UTC),
        document["aggregate_id"],
        document["attempts"],
        document["slot"],
        document["_id"] in early,
    )
