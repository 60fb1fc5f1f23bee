from __future__ import annotations

import pytest

from apps.auth.mail.ticket import MARGIN, WIDTH, Ticket, draw_ticket, wrap

ADDRESS = "http://127.0.0.1:8000/orders/verify/" + "x" * 140 + "/"
FULL = WIDTH - 2 * MARGIN


def make_ticket(title="Front row"):
    facts = (("Order number", "0193a5b0-0000-7000-8000-000000000001"),)
    return Ticket(brand="Gatefold", title=title, facts=facts, address=ADDRESS)


@pytest.mark.parametrize(
    "title",
    [
        "",
        "Front row",
        "W" * 5000,
        "Příliš žluťoučký kůň, Щедрик, Ἰφιγένεια ἐν Αὐλίδι",
        "東京ドーム 最前列 🎫",
        "حفلة موسيقية",
        "(parentheses) \\ and %s {braces} <b>&amp;",
        "\U000e0041\ue000\ufffe",
        "\ud800",
    ],
)
def test_any_title_makes_a_ticket_of_one_page(title):
    pdf = draw_ticket(make_ticket(title))

    assert pdf.startswith(b"%PDF-")
    assert b"/Count 1" in pdf


def test_the_same_ticket_is_the_same_file():
    assert draw_ticket(make_ticket()) == draw_ticket(make_ticket())


def test_words_stay_whole_where_a_line_holds_them():
    lines = wrap("Front row of the balcony, left of the stairs " * 3, 22)

    assert len(lines) > 1
    assert " ".join(lines) == " ".join(
        ("Front row of the balcony, left of the stairs " * 3).split()
    )


def test_a_word_wider_than_a_line_is_broken():
    assert "".join(wrap("W" * 100, 22)) == "W" * 100
    assert len(wrap("W" * 100, 22)) > 1


def test_one_letter_wider_than_the_line_ends_the_line_all_the_same():
    assert wrap("WW", 22, width=1) == ["W", "W"]
