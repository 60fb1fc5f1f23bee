"""The only way to a transaction, on PostgreSQL and MongoDB alike (docs/adr/0003).

Django's own `atomic` does nothing on MongoDB, and the backend's never retries and leaves its thread
without transactions after one failed commit. So nobody imports either; ruff bans both by name.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import pymongo
from django.db import DatabaseError, IntegrityError, OperationalError, connection
from django.db.transaction import TransactionManagementError
from django.db.transaction import atomic as sql_atomic  # noqa: TID251 (this is the one place)
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError, PyMongoError

P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT_SECONDS = 10.0
MAX_ATTEMPTS = 20
FIRST_DELAY_SECONDS = 0.005
LONGEST_DELAY_SECONDS = 0.5
# serialization_failure and deadlock_detected: PostgreSQL asks for the whole to be run again.
TRANSIENT_SQL_STATES = frozenset({"40001", "40P01"})
MONGODB = "mongodb"


class TransactionRequired(TransactionManagementError):
    """Something was written that only makes sense within a transaction, and none is open."""


class TransactionAbandoned(TransactionManagementError):
    """A database error was caught inside a transaction, which the server had ended by then."""


def transactional(function: Callable[P, R]) -> Callable[P, R]:
    """Run each call of the function as one transaction of the service's store.

    The function may run several times, since it is retried whole on a transient conflict: it loads
    and builds inside, calls nothing outside of the store, and catches no database error. Called
    inside another such function it joins that one's transaction, which then stands or falls whole.

    Raises (beside what the function raises):
        IntegrityError: a constraint was broken; nothing was written.
        DatabaseError: the store is away, or a conflict outlived its retries; nothing was written,
            unless the error says that the outcome of the commit is unknown.
        TransactionAbandoned: a database error was swallowed; nothing was written.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return run_in_transaction(lambda: function(*args, **kwargs))

    return call


def run_in_transaction(body: Callable[[], R]) -> R:
    """Run `body` in one transaction, or as a part of the open one; see `transactional`."""
    if is_open():
        return _join(body)
    return _run_on_mongodb(body) if connection.vendor == MONGODB else _run_on_sql(body)


def is_open() -> bool:
    """Say whether a real transaction is open: one that a rollback would undo."""
    conn: Any = connection
    if conn.vendor == MONGODB:
        return bool(conn.in_atomic_block_mongo)
    # A test case wraps each test in a transaction that never commits, and so hands out nothing.
    return any(not block._from_testcase for block in conn.atomic_blocks)  # noqa: SLF001


def require() -> None:
    """Refuse to go on without an open transaction.

    Raises:
        TransactionRequired: none is open.
    """
    if not is_open():
        raise TransactionRequired(
            "This must happen in a transaction. Mark the service function that does it "
            "@transactional."
        )


def on_commit(hook: Callable[[], object]) -> None:
    """Run the hook after the commit; never if the transaction is rolled back.

    What it raises is logged and goes no further: the data is committed already.

    Raises:
        TransactionRequired: no transaction is open.
    """
    require()
    connection.on_commit(hook, robust=True)


def _join(body: Callable[[], R]) -> R:
    conn: Any = connection
    try:
        return body()
    except (DatabaseError, PyMongoError) as exc:
        # The server has ended the transaction. Should the caller swallow this, it must not
        # believe in a commit that cannot come.
        conn.outbox_database_error = exc
        raise


def _refuse_abandoned() -> None:
    conn: Any = connection
    swallowed = getattr(conn, "outbox_database_error", None)
    is_broken = False
    if conn.vendor != MONGODB:
        # Django would roll back without a word, and PostgreSQL answers COMMIT with ROLLBACK.
        status = conn.connection.info.transaction_status
        is_broken = conn.needs_rollback or status == conn.Database.pq.TransactionStatus.INERROR
    if swallowed is not None or is_broken:
        raise TransactionAbandoned(
            "A database error was caught inside of a transaction. Let it out, and catch it around "
            "the @transactional function: by then the server has undone everything."
        ) from swallowed


def _run_on_sql(body: Callable[[], R]) -> R:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    attempt = 1
    while True:
        try:
            return _attempt_on_sql(body)
        except OperationalError as exc:
            delay = random.uniform(0, _longest_delay(attempt))  # noqa: S311 (jitter, no secret)
            is_late = attempt >= MAX_ATTEMPTS or time.monotonic() + delay > deadline
            if not _is_transient(exc) or is_late:
                raise
        time.sleep(delay)
        attempt += 1


def _attempt_on_sql(body: Callable[[], R]) -> R:
    conn: Any = connection
    conn.outbox_database_error = None
    try:
        with sql_atomic(durable=True):
            result = body()
            _refuse_abandoned()
            return result
    finally:
        conn.outbox_database_error = None


def _longest_delay(attempt: int) -> float:
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**attempt)


def _is_transient(exc: OperationalError) -> bool:
    return getattr(exc.__cause__, "sqlstate", None) in TRANSIENT_SQL_STATES


def _run_on_mongodb(body: Callable[[], R]) -> R:
    """Run the body in PyMongo's `with_transaction`, with the backend's connection in its session.

    PyMongo retries the whole on a conflict and the commit alone while its outcome is unknown. It
    recognises its own errors only, so those that the backend wrapped are unwrapped for it.
    """
    conn: Any = connection
    if conn.in_atomic_block:
        raise TransactionManagementError(
            "Django's atomic() is open, which does nothing on MongoDB: a failure would leave half "
            "of the writes behind. Call the @transactional function outside of it."
        )
    conn.ensure_connection()
    attempts = 0
    hooks: list[Any] = []
    last: PyMongoError | None = None

    def attempt(session: ClientSession) -> R:
        nonlocal attempts, hooks, last
        attempts += 1
        if attempts > MAX_ATTEMPTS:
            raise TransactionAbandoned(
                f"Gave up after {MAX_ATTEMPTS} attempts. Either the document is fought over by too "
                "many, or a database error is caught inside of the transaction: let it out."
            ) from last
        conn.session, conn.in_atomic_block_mongo, conn.run_on_commit = session, True, []
        conn.outbox_database_error = None
        try:
            result = body()
            _refuse_abandoned()
            hooks = conn.run_on_commit
        except DatabaseError as exc:
            last = _driver_error(exc)
            if last is not None and last.has_error_label("TransientTransactionError"):
                # Without `from exc`, which would make the chain of causes a circle.
                raise last from last.__cause__
            raise
        finally:
            conn.session, conn.in_atomic_block_mongo, conn.run_on_commit = None, False, []
            conn.nested_atomics = 0
            conn.outbox_database_error = None
        return result

    try:
        with pymongo.timeout(TIMEOUT_SECONDS), conn.connection.start_session() as session:
            result: R = session.with_transaction(attempt)
    except DuplicateKeyError as exc:
        raise IntegrityError(str(exc)) from exc
    except PyMongoError as exc:
        raise DatabaseError(str(exc)) from exc
    conn.run_on_commit = hooks
    conn.run_and_clear_commit_hooks()
    return result


def _driver_error(exc: BaseException) -> PyMongoError | None:
    cause: BaseException | None = exc
    while cause is not None and not isinstance(cause, PyMongoError):
        cause = cause.__cause__
    return cause
