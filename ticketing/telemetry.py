"""OpenTelemetry's SDK, which records spans and sends them on; off unless the environment asks.

The exporter reads its own variables: OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS and the like, and the
sampler OTEL_TRACES_SAMPLER.
"""

from __future__ import annotations

from django.conf import settings

from ticketing.env import env_bool, env_str


def set_up() -> None:
    """Record the spans of this process, once it is the one that does the work: after any fork."""
    exporter = env_str("OTEL_TRACES_EXPORTER", "otlp" if _has_endpoint() else "none")
    if exporter == "none" or env_bool("OTEL_SDK_DISABLED", default=False):
        return
    if exporter not in {"otlp", "console"}:
        raise ValueError(f"OTEL_TRACES_EXPORTER is {exporter!r}: otlp, console or none is known.")

    # Half a second of imports, which nobody waits for who records nothing.
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
    )

    name = env_str("OTEL_SERVICE_NAME", settings.SERVICE_NAME)
    provider = TracerProvider(
        resource=Resource.create({"service.name": name, "service.namespace": "ticketing"})
    )
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter() if exporter == "otlp" else ConsoleSpanExporter())
    )
    trace.set_tracer_provider(provider)


def _has_endpoint() -> bool:
    return any(
        env_str(name, "")
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )
