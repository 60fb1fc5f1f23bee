from __future__ import annotations

import pytest

from deploy.local.output import Follower, colour_of, duration, last_lines, log_line, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_is_told_in_two_units_at_most(seconds, text):
    assert duration(seconds) == text


def test_a_table_is_as_wide_as_its_widest_cells():
    assert table(("A", "B"), [("long", "x")]) == "A     B\nlong  x"


def test_a_name_keeps_its_colour(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert colour_of("orders-web") == colour_of("orders-web")
    assert log_line("orders-web", "hello").startswith(f"\x1b[38;5;{colour_of('orders-web')}m")


def test_nothing_is_coloured_where_nobody_looks(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    assert "\x1b" not in log_line("orders-web", "hello")


def test_lines_are_followed_once_they_are_complete(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("old\n")
    follower = Follower({"a": log, "later": tmp_path / "later.log"})

    with log.open("a") as file:
        file.write("one\ntw")
    assert list(follower.new_lines()) == [("a", "one")]

    with log.open("a") as file:
        file.write("o\n")
    (tmp_path / "later.log").write_text("new\n")
    assert list(follower.new_lines()) == [("a", "two"), ("later", "new")]


def test_a_rotated_log_is_followed_from_its_new_beginning(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("old and long\n")
    follower = Follower({"a": log})

    log.rename(tmp_path / "a.log.1")
    log.write_text("new\n")

    assert list(follower.new_lines()) == [("a", "new")]


def test_the_last_lines_of_a_log_that_is_not_there_are_none(tmp_path):
    assert last_lines(tmp_path / "none.log", 3) == []
