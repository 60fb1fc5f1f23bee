"""Stand-ins for what is outside of the process, and a way to break what is inside."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

from ..failures import Poison, Unavailable
from ..registry import SchemaMissing
from ..schemas import LocalSchema, local_schemas

T = TypeVar("T")


class FakeRegistry:
    """A schema registry that knows the schemas of AVRO_DIR, in memory: `Codec(FakeRegistry())`.

    Its ids are the schemas' places by name. While `is_away`, it answers as one that is down; what
    is in `missing` (full names of records), nobody has registered yet.
    """

    def __init__(self) -> None:
        self.is_away = False
        self.missing: set[str] = set()

    def schema_id(self, _topic: str, schema: LocalSchema) -> int:
        self._answer()
        if schema.name in self.missing:
            raise SchemaMissing(f"{schema.name} is not registered.")
        return 1 + sorted(local_schemas()).index(schema.name)

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        self._answer()
        names = sorted(local_schemas())
        if not 1 <= schema_id <= len(names):
            raise Poison("unknown_schema", f"There is no schema {schema_id}.")
        return local_schemas()[names[schema_id - 1]].parsed

    def versions(self, _topic: str, record: str) -> list[tuple[int, LocalSchema]]:
        self._answer()
        schema = None if record in self.missing else local_schemas().get(record)
        return [(self.schema_id("", schema), schema)] if schema else []

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("The registry is away.")


class FakeClock:
    """Seconds that pass when a test says so: `Consumer(clock=…)` and `Relay(clock=…)` take it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Crashed(BaseException):
    """The end of the process, seen from within: no `except Exception` stops it."""


def crash() -> NoReturn:
    raise Crashed


def kill() -> NoReturn:
    """End this process as the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise Crashed  # never reached


def crashing(
    target: T,
    *,
    before: str = "",
    after: str = "",
    on_call: int = 1,
    by: Callable[[], object] = crash,
) -> T:
    """Return the collaborator with one point at which the process ends.

    The names of its methods name the points, so that the production code knows of none:

    | where | how |
    |---|---|
    | rows read, nothing sent | `crashing(sender, before="begin")` |
    | sent, and nobody knows | `crashing(store, before="settle")` |
    | sent and marked | `crashing(store, after="settle")` |
    | the effect is committed, the offset is not | `crashing(client, before="commit")` |
    | the dead letter is kept, its record is not on the topic | `send=crash` |

    Args:
        target: a store, sender, codec, client or whatever else is handed to a relay or consumer.
        before: the method that is not reached any more.
        after: the method that is the last one.
        on_call: of how many calls of that method this one is the fatal.
        by: what ends the process: `crash` raises Crashed, `kill` is SIGKILL.
    """
    return cast("T", _Crashing(target, before, after, on_call, by))


class _Crashing:
    def __init__(
        self, target: object, before: str, after: str, on_call: int, by: Callable[[], object]
    ) -> None:
        for name in filter(None, (before, after)):
            if not callable(getattr(target, name)):
                raise TypeError(f"{name} of {target!r} is no method.")
        self._target = target
        self._before, self._after = before, after
        self._calls_left = on_call
        self._by = by

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (any attribute of any target)
        attribute = getattr(self._target, name)
        if name not in {self._before, self._after}:
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self._calls_left -= 1
            if self._calls_left == 0 and name == self._before:
                self._by()
            result = attribute(*args, **kwargs)
            if self._calls_left == 0:
                self._by()
            return result

        return call
