from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.core.paginator import Paginator
from django.template import engines
from django.test import RequestFactory

from apps.core.templatetags.core import money


def render(source, path="/", **context):
    template = engines["django"].from_string("{% load core %}" + source)
    return template.render(context, RequestFactory().get(path))


@pytest.mark.parametrize(
    ("cents", "currency", "expected"),
    [
        (1250, "usd", "$12.50"),
        (5, "eur", "€0.05"),
        (1_234_567, "GBP", "£12,345.67"),
        (-1250, "usd", "-$12.50"),
        (1250, "chf", "12.50 CHF"),
        (0, "usd", "$0.00"),
        (None, "usd", ""),
    ],
)
def test_money_is_written_in_its_currency(cents, currency, expected):
    assert money(cents, currency) == expected


def test_a_countdown_tells_the_deadline_where_scripts_do_not_run():
    html = render("{% countdown at %}", at=datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC))

    assert "until 12:30:15 UTC" in html
    assert 'data-deadline="1772368215000"' in html


@pytest.mark.parametrize(
    ("status", "words"),
    [("created", "Reserved, not paid"), ("sold", "Sold"), ("some_thing", "Some thing")],
)
def test_a_status_is_shown_in_words(status, words):
    html = render('{% include "core/_status.html" %}', status=status)

    assert f"badge--{status}" in html
    assert words in html


def test_a_link_to_another_page_keeps_the_search():
    html = render("{% page_link 3 %}", path="/?q=a%26b&page=2")

    assert html == "?q=a%26b&amp;page=3"


def test_pages_are_offered_around_the_current_one():
    page = Paginator(range(200), 10).page(10)

    html = render('{% include "core/_pagination.html" %}', path="/?page=10", page_obj=page)

    assert 'aria-current="page">10<' in html
    for number in (1, 9, 11, 20):
        assert f"?page={number}" in html
    assert "?page=5" not in html


def test_one_page_needs_no_pagination():
    html = render('{% include "core/_pagination.html" %}', page_obj=Paginator([1], 10).page(1))

    assert "<nav" not in html


@pytest.mark.parametrize(
    ("path", "expected"), [("/orders/", True), ("/orders/1/", True), ("/", False)]
)
def test_the_navigation_marks_where_the_visitor_is(path, expected):
    html = render('<a{% here "/orders/" %}>', path=path)

    assert ("aria-current" in html) is expected
