"""Each complaint is found, unless a fault that ran at that time explains it."""

from __future__ import annotations

import json

import pytest

from prove.faults import OFTEN, Done, Fault
from prove.logs import AFTERMATH_SECONDS, EXPECTED, Reader, judge

AT = 1000.0
NAME = "orders-web"
OUTAGE = {"level": "error", "logger": "django.request", "event": "Service Unavailable: /orders/"}
DEAD = {"level": "error", "logger": "apps.outbox.burials", "event": "message_dead"}
TRACEBACK = """\
Traceback (most recent call last):
  File "manage.py", line 7, in <module>
    main()
KeyError: 'order'
"""


def make_done(kind: str, *, ended: float = AT) -> Done:
    fault = Fault(kind=kind, targets=("mongod",))
    return Done(fault=fault, began=ended - 5, ended=ended, is_mixed=False)


def read(*lines: str | dict, at: float = AT, name: str = NAME) -> list:
    reader = Reader()
    texts = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    found = [reader.read(at, name, line) for text in texts for line in text.splitlines()]
    return [each for each in found if each]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param({"level": "error", "event": "lost"}, id="error"),
        pytest.param({"level": "critical", "event": "lost"}, id="critical"),
        pytest.param(
            {
                "level": "warning",
                "event": "lost",
                "exception": [{"exc_type": "KeyError", "exc_value": "order"}],
            },
            id="logged traceback",
        ),
        pytest.param(TRACEBACK, id="traceback"),
        pytest.param("[2026-03-01 12:00:00 +0000] [42] [ERROR] Worker failed to boot.", id="own"),
    ],
)
def test_planted_complaint_is_found(line):
    [found] = judge(read(line), [make_done("kill")])

    assert (found.rule, found.subject) == ("logs", NAME)


@pytest.mark.parametrize(
    "line",
    [
        {"level": "warning", "event": "kafka_client", "error": "all brokers are down"},
        {"level": "info", "event": "request", "status": 200},
        "[2026-03-01 12:00:00 +0000] [42] [INFO] Booting worker",
        '127.0.0.1 - - [01/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 38 "-" "-"',
    ],
)
def test_line_that_complains_of_nothing_is_left_alone(line):
    assert read(line) == []


def test_last_line_of_a_traceback_names_it():
    [complaint] = read(TRACEBACK)

    assert complaint.text == "KeyError: 'order'"


def test_same_complaint_of_a_process_is_named_once():
    lines = [{"level": "error", "event": f"order {number} lost"} for number in range(3)]

    [found] = judge(read(*lines), [])

    assert found.evidence.startswith("3 times: ")


def test_fault_explains_what_is_expected_of_it_while_it_runs_and_a_little_later():
    assert list(judge(read(OUTAGE), [make_done("kill")])) == []
    assert list(judge(read(DEAD), [make_done("poison")])) == []

    late = read(OUTAGE, at=AT + AFTERMATH_SECONDS + 1)

    assert len(list(judge(late, [make_done("kill")]))) == 1


def test_fault_explains_nothing_before_it():
    early = read(OUTAGE, at=AT - 10)

    assert len(list(judge(early, [make_done("kill")]))) == 1


def test_other_fault_explains_nothing():
    assert len(list(judge(read(OUTAGE), [make_done("poison")]))) == 1
    assert len(list(judge(read(DEAD), [make_done("kill")]))) == 1


def test_what_is_expected_names_faults_that_there_are():
    assert {kind for each in EXPECTED for kind in each.kinds} <= OFTEN.keys()
