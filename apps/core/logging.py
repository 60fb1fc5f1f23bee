"""Structured logs: lines for a person, or JSON for a log store. settings.LOGGING says which."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog
from django.conf import settings
from structlog.typing import EventDict, Processor, WrappedLogger

NOISY = ("pymongo", "asyncio", "urllib3", "httpx", "httpcore", "stripe", "celery.utils.functional")


class StandardErrorHandler(logging.StreamHandler[TextIO]):
    """Writes to the standard error of the moment: whoever replaces it gets the lines, too."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def configure(config: dict[str, Any]) -> None:
    """Send everything to standard error, each line with the service and what it belongs to.

    Args:
        config: {"level": "INFO", "format": "console" or "json"}; "service" is SERVICE_NAME
            unless it is given.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _name_service(str(config.get("service", settings.SERVICE_NAME))),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = StandardErrorHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(str(config.get("format", "console"))),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(str(config.get("level", "INFO")))
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # RequestContextMiddleware has logged each request already.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("django.server").setLevel(logging.WARNING)


def _name_service(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add


def _renderers(kind: str) -> list[Processor]:
    """Return what turns an event into a line.

    Tracebacks go without the variables, which structlog shows unless it is told not to: they hold
    passwords and tokens. Drawing those of a deep stack takes minutes, too, and meanwhile nobody
    else in the process can log.
    """
    if kind == "json":
        frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [
            structlog.processors.ExceptionRenderer(frames),
            structlog.processors.JSONRenderer(),
        ]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
