"""What the work in hand belongs to: set by a request or a message, read by publish and the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import orjson
import structlog


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Where the work came from.

    Args:
        correlation_id: the request or order that began it all.
        causation_id: the event that caused this work, empty in a request.
        traceparent: the W3C trace context that the work is done in.
        tracestate: what tracing systems add to it.
    """

    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        return self.traceparent[3:35]


NOTHING = Trace()
_trace: ContextVar[Trace] = ContextVar("trace", default=NOTHING)


def current_trace() -> Trace:
    """Return what the work in hand belongs to; empty outside of a request or message."""
    return _trace.get()


@contextmanager
def traced(trace: Trace, **log_fields: str) -> Iterator[None]:
    """Run the block as work of `trace`, and put it into every log line within.

    Args:
        trace: what the block belongs to.
        log_fields: more to put into the log lines, such as event_id or order_id.
    """
    fields = {
        name: value
        for name in ("correlation_id", "causation_id", "trace_id")
        if (value := getattr(trace, name))
    } | log_fields
    token = _trace.set(trace)
    try:
        with structlog.contextvars.bound_contextvars(**fields):
            yield
    finally:
        _trace.reset(token)


def trace_headers() -> dict[str, str]:
    """Return the headers that say where an event came from; those that are unknown are left out.

    `ce_correlationid` is the request that began it all, `ce_causationid` the event whose handler
    publishes this one, `traceparent` and `tracestate` the W3C trace context.
    """
    trace = current_trace()
    headers = {
        "ce_correlationid": trace.correlation_id,
        "ce_causationid": trace.causation_id,
        "traceparent": trace.traceparent,
        "tracestate": trace.tracestate,
    }
    return {name: value for name, value in headers.items() if value}


def correlation_id(headers: str) -> str | None:
    """Return what a row's headers say of where it belongs, for a log line, however bad they are."""
    try:
        return str(orjson.loads(headers)["ce_correlationid"])
    except (ValueError, LookupError, TypeError):
        return None
