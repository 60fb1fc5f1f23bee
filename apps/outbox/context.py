"""The trace of the work in hand, as headers of the events that it publishes."""

from __future__ import annotations

from apps.core.context import current_trace


def trace_headers() -> dict[str, str]:
    """Return the headers that say where an event came from; those that are unknown are left out.

    `ce_correlationid` is the request that began it all, `ce_causationid` the event whose handler
    publishes this one, and `traceparent` the W3C trace context.
    """
    trace = current_trace()
    headers = {
        "ce_correlationid": trace.correlation_id,
        "ce_causationid": trace.causation_id,
        "traceparent": trace.traceparent,
    }
    return {name: value for name, value in headers.items() if value}
