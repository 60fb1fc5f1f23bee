from __future__ import annotations

import copy
import json
import time
from contextlib import closing

import jwt
import pytest

from bench import servers
from bench.__main__ import given, parse
from bench.claims import BARE, GATEWAY, ORDERS, PLAIN, Reference
from bench.crowd import BROKEN, Attempt, Buyer, read_answer, request_of
from bench.results import Result
from bench.sale import (
    RESERVED,
    Account,
    Sale,
    buyers_of,
    choices,
    is_refusal,
    measure,
    place_of_winner,
    run_of,
    violations_of,
)

REFUSAL = json.dumps({"errors": [{"code": RESERVED}]}).encode()
TINY = Sale(clients=12, tickets=4, buyers=20, connections=4, accounts=3, repeat=2)


def attempt(*, order="", ticket="t", account="a", status=400, body=REFUSAL, sent=0.0, took=0.5):
    if order:
        status, body = 201, json.dumps({"id": order}).encode()
    return Attempt(Buyer(account, "token", [ticket]), ticket, sent, sent + took, status, body)


def renamed(bare, name):
    other = copy.copy(bare)
    other.name = name
    return other


def test_answer_is_read_once_it_is_whole():
    whole = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nbody"

    assert [read_answer(whole[:length]) for length in (10, len(whole) - 1)] == [None, None]
    assert read_answer(whole) == (201, b"body", True)


def test_answer_may_end_the_connection():
    received = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\ncontent-length: 0\r\n\r\n"

    assert read_answer(received) == (400, b"", False)


def test_answer_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match="Content-Length"):
        read_answer(b"HTTP/1.1 200 OK\r\n\r\n")


def test_request_carries_session_ticket_and_length():
    head, _, body = request_of(Buyer("a", "token", ["t"]), "t").partition(b"\r\n\r\n")

    assert json.loads(body) == {"ticketId": "t", "buyerId": "a"}
    assert b"Cookie: session=token" in head
    assert f"Content-Length: {len(body)}".encode() in head


def test_buyers_try_different_tickets_and_the_same_ones_again_with_the_same_seed():
    tickets = [str(number) for number in range(10)]

    tried = choices(TINY, tickets, 7)

    assert tried == choices(TINY, tickets, 7) != choices(TINY, tickets, 8)
    assert len(tried) == TINY.buyers
    assert all(len(set(each)) == TINY.tries for each in tried)


def test_buyers_of_few_tickets_try_all_of_them():
    assert all(sorted(each) == ["a", "b"] for each in choices(TINY, ["a", "b"], 1))


def test_accounts_take_turns():
    accounts = [Account("a", "A"), Account("b", "B")]

    buyers = buyers_of(accounts, [["1"], ["2"], ["3"]])

    assert [(buyer.account, buyer.wanted) for buyer in buyers] == [
        ("a", ["1"]),
        ("b", ["2"]),
        ("a", ["3"]),
    ]


@pytest.mark.parametrize(
    ("status", "body", "is_one"),
    [
        (400, REFUSAL, True),
        (500, REFUSAL, False),
        (400, b'{"errors": [{"code": "required"}]}', False),
        (400, b'{"errors": []}', False),
        (400, b"<html>", False),
        (BROKEN, b"", False),
    ],
)
def test_refusal_says_that_the_ticket_is_reserved(status, body, is_one):
    assert is_refusal(attempt(status=status, body=body)) is is_one


def test_nothing_is_wrong_when_each_sale_was_told_and_kept():
    attempts = [attempt(order="1"), attempt(), attempt(order="2", ticket="u", account="b")]

    assert violations_of(attempts, [("1", "t", "a"), ("2", "u", "b")]) == []


@pytest.mark.parametrize(
    ("attempts", "claims", "what"),
    [
        ([attempt(status=502, body=b"down")], [], "answered 502"),
        ([attempt(status=BROKEN, body=b"lost")], [], "answered 0"),
        ([attempt(order="1")], [], "told and not kept"),
        ([attempt()], [("1", "t", "a")], "kept and not told"),
        ([attempt(order="1")], [("1", "t", "another")], "told and not kept"),
        ([attempt(order="1"), attempt(order="2")], [("1", "t", "a")], "ticket t is told 2 times"),
        ([attempt(order="1"), attempt(order="1", ticket="u")], [], "order 1 is told 2 times"),
        ([attempt(order="1")], [("1", "t", "a"), ("2", "t", "a")], "ticket t is kept 2 times"),
    ],
)
def test_what_must_not_be_is_found(attempts, claims, what):
    assert any(what in each for each in violations_of(attempts, claims))


def test_place_of_the_winner_is_counted_in_the_order_of_sending():
    attempts = [attempt(sent=3.0), attempt(sent=2.0, order="1"), attempt(sent=1.0)]

    assert place_of_winner(attempts) == 2
    assert place_of_winner(attempts[:1]) == 0


def test_figures_of_a_scene_are_of_all_answers_and_of_those_that_reserved():
    attempts = [
        attempt(sent=0.0, took=1.0, order="1"),
        attempt(sent=1.0, took=3.0),
        attempt(sent=2.0, took=1.0, status=BROKEN),
    ]

    run = run_of("who", attempts, {"web": 0.3, "harness": 0.03, "others": 2.0})

    assert (run.events, run.rate, run.others) == (3, 0.8, 0.5)
    assert run.cpu_us == {"web": 100_000.0}
    assert run.values["harness_us"] == 10_000.0
    assert (run.values["reserved"], run.values["reserved_per_second"]) == (1, 1.0)
    assert (run.values["errors"], run.values["p99_ms"]) == (1, 3000.0)


def test_sizes_are_the_usual_ones_unless_they_are_given():
    options = parse(["sale", "--clients", "7", "--repeat", "2"])

    assert given(vars(Sale()), options) == {"clients": 7, "repeat": 2, "seed": 1}


def account(key, name):
    now = int(time.time())
    claims = {"sub": name, "email": "a@b.test", "iat": now, "exp": now + 3600}
    return Account(name, jwt.encode(claims, key, algorithm="HS256"))


def test_sale_is_played_and_proved_by_the_references(tmp_path):
    stack = servers.running()
    key = stack.config.secrets["JWT_KEY"]
    accounts = [account(key, str(number)) for number in range(TINY.accounts)]
    with (
        closing(Reference(stack.config, BARE)) as bare,
        closing(Reference(stack.config, PLAIN)) as plain,
    ):
        asked = (bare, plain, renamed(bare, ORDERS), renamed(plain, GATEWAY))
        result, violations = measure(TINY, "python -m bench sale", asked, accounts, stack.mark)

    assert violations == []
    assert len(result.tables) == 3
    assert Result.read(result.write(tmp_path)).names() == [
        f"{who}, {scene}"
        for scene in ("hot ticket", "sale", "one each")
        for who in (BARE, PLAIN, ORDERS, GATEWAY)
    ]
    assert all(run.values["reserved"] == 1 for run in result.of(f"{PLAIN}, hot ticket"))
    assert all(run.cpu_us["postgres for it"] > 0 for run in result.runs)
