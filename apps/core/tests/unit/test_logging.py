from __future__ import annotations

import json
import logging
import time
import uuid

import pytest
import structlog
from django.conf import settings as django_settings

from apps.core.logging import configure
from apps.outbox.context import Trace, current_trace, traced


@pytest.fixture
def lines(capsys):
    """Return what was logged as JSON since; the real configuration comes back afterwards."""
    handlers = logging.getLogger().handlers[:]
    configure({"level": "INFO", "format": "json", "service": "orders"})
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    configure(django_settings.LOGGING)
    logging.getLogger().handlers[:] = handlers


def test_a_line_says_which_service_wrote_it(lines):
    structlog.get_logger("a").info("hello", ticket_id="7")

    (line,) = lines()
    assert line["service"] == "orders"
    assert line["event"] == "hello"
    assert line["ticket_id"] == "7"
    assert line["level"] == "info"


def test_a_library_that_knows_only_the_standard_library_logs_alike(lines):
    with traced(Trace(correlation_id="request-1"), event_id="e-1"):
        logging.getLogger("library").warning("%s is slow", "it", extra={"seconds": 3})

    (line,) = lines()
    assert line["event"] == "it is slow"
    assert line["correlation_id"] == "request-1"
    assert line["event_id"] == "e-1"
    assert line["seconds"] == 3


def test_a_failure_is_logged_with_its_traceback(lines):
    try:
        int("no")
    except ValueError:
        structlog.get_logger("a").exception("failed")

    (line,) = lines()
    assert line["exception"][0]["exc_type"] == "ValueError"


@pytest.mark.parametrize("kind", ["console", "json"])
def test_a_traceback_does_not_tell_what_the_variables_held(kind, lines, capsys):
    configure({"level": "INFO", "format": kind, "service": "orders"})
    password = uuid.uuid4().hex
    try:
        int(password[:0])
    except ValueError:
        logging.getLogger("library").exception("failed")

    written = capsys.readouterr().err
    assert "invalid literal" in written
    assert password not in written


def test_a_traceback_of_a_thousand_frames_is_written_at_once(lines, capsys):
    configure({"level": "INFO", "format": "console", "service": "orders"})

    def fall(facts):
        return fall([facts])

    began = time.perf_counter()
    try:
        fall([])
    except RecursionError:
        logging.getLogger("library").exception("failed")

    assert time.perf_counter() - began < 2
    assert "RecursionError" in capsys.readouterr().err


def test_what_belongs_to_a_message_ends_with_it(lines):
    with traced(Trace(correlation_id="outer")):
        with traced(Trace(correlation_id="inner", causation_id="event-1")):
            assert current_trace().causation_id == "event-1"
        assert current_trace() == Trace(correlation_id="outer")
    structlog.get_logger("a").info("outside")

    (line,) = lines()
    assert "correlation_id" not in line
    assert current_trace() == Trace()
