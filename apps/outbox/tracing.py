"""One order is one trace: from a request over its events to their effects, and on.

Spans are OpenTelemetry's, and made only in a process that has set its SDK up. Elsewhere the trace
context is passed on as it came, which costs next to nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, ProxyTracerProvider, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .context import Trace, current_trace, trace_headers, traced
from .dead_letters import EVENT_ID, Record

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
LONGEST_TRACESTATE = 512
# The last bit of a traceparent: whoever began the trace has it recorded.
SAMPLED = frozenset("13579bdf")

Attributes = Mapping[str, str | int]

_tracer = trace.get_tracer(__name__)
_propagator = TraceContextTextMapPropagator()


def is_on() -> bool:
    """Say whether this process has an SDK, which makes spans of what is done here."""
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider)


@contextmanager
def serving(name: str, given: Trace, attributes: Attributes) -> Iterator[Span]:
    """Run the block as a request: in the trace of its caller, else in a new one."""
    if not TRACEPARENT.fullmatch(given.traceparent):
        given = replace(given, traceparent="", tracestate="")
    if len(given.tracestate) > LONGEST_TRACESTATE:
        given = replace(given, tracestate="")
    if not given.traceparent and not is_on():
        # The last two digits say that nobody records it.
        begun = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        given = replace(given, traceparent=begun)
    with _spanned(name, given, SpanKind.SERVER, attributes) as span:
        yield span


@contextmanager
def resuming(name: str, begun: Trace, **log_fields: str) -> Iterator[None]:
    """Run the block as a part of work that began earlier and has waited, in a database say.

    Its span is a child of the span in which that work began, and links to the span that it takes
    over from, such as the request that woke it up. Where the work in hand is in that trace anyway,
    its own span stays the parent.

    Args:
        name: of the span, such as "settle payment".
        begun: what the work belongs to, as it was remembered. Without a valid traceparent (it was
            remembered by an older release, say) the work in hand keeps its own.
        log_fields: more to put into the log lines, such as order_id.
    """
    now = current_trace()
    if begun.trace_id == now.trace_id or not TRACEPARENT.fullmatch(begun.traceparent):
        begun = replace(begun, traceparent=now.traceparent, tracestate=now.tracestate)
        with traced(begun, **log_fields):
            yield
        return
    active = trace.get_current_span().get_span_context()
    links = [Link(active)] if active.is_valid else []
    with (
        _spanned(name, begun, SpanKind.INTERNAL, {}, links),
        structlog.contextvars.bound_contextvars(**log_fields),
    ):
        yield


@contextmanager
def creating(topic: str, key: str, event_id: str) -> Iterator[dict[str, str]]:
    """Run the block as the making of an event, and yield the headers that tell where it is from."""
    if not is_on():
        yield trace_headers()
        return
    is_active = trace.get_current_span().get_span_context().is_valid
    with _tracer.start_as_current_span(
        f"create {topic}",
        None if is_active else _below(current_trace()),
        SpanKind.PRODUCER,
        _attributes("create", topic, key, event_id),
    ):
        yield trace_headers() | _active_headers()


def sent(records: Iterable[Record], began: int) -> None:
    """Note in the traces that are recorded that a broker has these records.

    Each is a span of its own in its event's trace. One for the batch with links to all of them
    would lie in a trace of its own, where nobody looks, and has room for 128 links.

    Args:
        records: what was handed over together.
        began: when they were handed over, by time.time_ns().
    """
    if not is_on():
        return
    for record in records:
        given = _given(record)
        if given.traceparent[-1:] not in SAMPLED:
            continue
        _tracer.start_span(
            f"send {record.topic}",
            _below(given),
            SpanKind.CLIENT,
            _attributes_of(record, "send"),
            start_time=began,
        ).end()


@contextmanager
def processing(record: Record, group: str, event_id: str) -> Iterator[None]:
    """Run the block as the work of a consumer group on the record's event."""
    given = _of(record, event_id)
    if not is_on():
        with traced(given):
            yield
        return
    attributes = _attributes_of(record, "process") | {
        "messaging.consumer.group.name": group,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset or 0,
    }
    with _spanned(f"process {record.topic}", given, SpanKind.CONSUMER, attributes):
        yield


@contextmanager
def processing_together(records: Sequence[Record], group: str, event_id: str) -> Iterator[None]:
    """Run the block as the work of a consumer group on the events of several records at once.

    What is published meanwhile is caused by the last of them, and its span is in the last one's
    trace; it links to all of them.

    Args:
        records: two or more, of the same topic.
        group: the consumer group.
        event_id: of the last record.
    """
    last = records[-1]
    given = _of(last, event_id)
    if not is_on():
        with traced(given):
            yield
        return
    attributes = _attributes_of(last, "process") | {
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": len(records),
    }
    contexts = [
        trace.get_current_span(_below(_given(record))).get_span_context() for record in records
    ]
    links = [Link(context) for context in contexts if context.is_valid]
    with _spanned(f"process {last.topic}", given, SpanKind.CONSUMER, attributes, links):
        yield


@contextmanager
def _spanned(
    name: str, given: Trace, kind: SpanKind, attributes: Attributes, links: Sequence[Link] = ()
) -> Iterator[Span]:
    if not is_on():
        with traced(given):
            yield INVALID_SPAN
        return
    with (
        _tracer.start_as_current_span(name, _below(given), kind, attributes, links) as span,
        traced(replace(given, **_active_headers())),
    ):
        yield span


def _of(record: Record, event_id: str) -> Trace:
    """Return what the work on the record's event belongs to."""
    return replace(
        _given(record),
        correlation_id=record.header("ce_correlationid") or "",
        causation_id=event_id,
    )


def _given(record: Record) -> Trace:
    return Trace(
        traceparent=record.header("traceparent") or "",
        tracestate=record.header("tracestate") or "",
    )


def _below(given: Trace) -> Context:
    """Return the context whose spans are children of the one that is given; malformed is none."""
    return _propagator.extract({"traceparent": given.traceparent, "tracestate": given.tracestate})


def _active_headers() -> dict[str, str]:
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers


def _attributes_of(record: Record, operation: str) -> dict[str, str | int]:
    key = (record.key or b"").decode("utf-8", "replace")
    return _attributes(operation, record.topic, key, record.header(EVENT_ID) or "")


def _attributes(operation: str, topic: str, key: str, event_id: str) -> dict[str, str | int]:
    """OpenTelemetry's names: https://opentelemetry.io/docs/specs/semconv/messaging/kafka/."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": topic,
        "messaging.kafka.message.key": key,
        "messaging.message.id": event_id,
    }
