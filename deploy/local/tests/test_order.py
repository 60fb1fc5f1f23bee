from __future__ import annotations

import pytest

from deploy.local.config import load
from deploy.local.entries import Entry, Launch, Program
from deploy.local.errors import CannotContinue
from deploy.local.order import check, choose, levels, stopping_steps
from deploy.local.stack import SERVERS_ALONE, STACK

NOTHING = Program(lambda _config: Launch(()))


def entry(name, *after, **options):
    return Entry(name, NOTHING, after, **options)


@pytest.fixture
def config(tmp_path):
    return load({"TICKETING_DIR": str(tmp_path), "TICKETING_CACHE": str(tmp_path)})


def test_the_committed_list_can_start():
    check(STACK)


def test_every_process_of_every_service_is_in_the_list():
    names = {entry.name for entry in STACK}

    assert {f"{each}-web" for each in ("auth", "tickets", "orders", "payments")} <= names
    assert {f"{each}-relay" for each in ("auth", "tickets", "payments", "expiration")} <= names
    assert {"orders-raw", "payments-settler", "expiration-worker", "expiration-beat"} <= names
    assert set(SERVERS_ALONE) <= names


def test_nothing_is_sent_before_topics_and_schemas_are_there():
    for each in STACK:
        if each.name.endswith(("-relay", "-consumer", "-raw")):
            assert {"topics", "schemas"} <= set(each.after), each.name


def test_a_name_twice_is_refused():
    with pytest.raises(CannotContinue, match="redis twice"):
        check((entry("redis"), entry("redis")))


def test_waiting_for_a_name_that_is_not_there_is_refused():
    with pytest.raises(CannotContinue, match="web wait for databse"):
        check((entry("web", "databse"),))


def test_a_circle_is_refused():
    with pytest.raises(CannotContinue, match="in a circle"):
        check((entry("a", "b"), entry("b", "a")))


def test_each_step_needs_only_steps_before_it():
    steps = levels({"web": ["migrate"], "migrate": ["db"], "db": [], "redis": []})

    assert steps == [("db", "redis"), ("migrate",), ("web",)]


def test_who_needs_another_is_stopped_first_even_through_a_one_shot():
    entries = (
        entry("db"),
        entry("migrate", "db", once=True),
        entry("web", "migrate"),
        entry("gateway", "web"),
    )

    assert stopping_steps(entries) == [("gateway",), ("web",), ("db",)]


def test_an_entry_that_is_not_wanted_is_not_waited_for(config):
    entries = (entry("provider", wanted=lambda _config: False), entry("settler", "provider"))

    [settler] = choose(entries, config)

    assert settler.after == ()


def test_servers_alone_wait_for_servers_alone(config):
    chosen = choose(STACK, config, SERVERS_ALONE)

    assert {each.name for each in chosen} == set(SERVERS_ALONE)
    check(chosen)
