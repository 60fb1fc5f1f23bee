from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.auth.mail.letters import plain, write_letter
from apps.auth.models import Mail

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ORDER = "0193a5b0-0000-7000-8000-000000000001"
Kind = Mail.Kind


def make_mail(kind, **facts):
    given = {
        "ticket_id": "65f1c0ffee65f1c0ffee65f1",
        "title": "Front row",
        "price_cents": 4250,
        "currency": "usd",
        "expires_at": (NOW + timedelta(minutes=15)).isoformat(),
    }
    return Mail(kind=kind, order_id=ORDER, user_id="buyer", facts=given | facts)


def make_refund(**facts):
    given = {
        "amount_cents": 4250,
        "refund_cents": 4250,
        "refunded_total_cents": 4250,
        "currency": "usd",
        "reason": "The ticket was no longer available.",
        "refunded_at": NOW.isoformat(),
    }
    return Mail(kind=Kind.REFUNDED, order_id=ORDER, user_id="buyer", facts=given | facts)


def read(letter):
    return "\n".join((letter.heading, *letter.paragraphs))


def test_a_reservation_says_what_to_pay_until_when_and_where(settings):
    letter = write_letter(make_mail(Kind.RESERVED), now=NOW)

    assert letter.subject == "Reserved for you: Front row"
    assert "if you pay $42.50 by 23 November 2026, 12:15 UTC" in read(letter)
    assert letter.button == "Pay $42.50"
    assert letter.address == f"{settings.PUBLIC_URL}/orders/{ORDER}/"


@pytest.mark.parametrize(
    ("others", "now"),
    [((), NOW + timedelta(hours=2)), ((make_mail(Kind.PAID),), NOW)],
    ids=["the time is over", "it was paid meanwhile"],
)
def test_a_reservation_whose_mail_comes_late_does_not_ask_to_pay(others, now):
    letter = write_letter(make_mail(Kind.RESERVED), others=others, now=now)

    assert "says how it stands now" in read(letter)
    assert "Pay" not in letter.button


def test_a_paid_ticket_says_how_it_is_used():
    assert "attached" in read(write_letter(make_mail(Kind.PAID), has_ticket=True, now=NOW))


def test_a_ticket_that_could_not_be_drawn_is_not_called_attached():
    assert "attached" not in read(write_letter(make_mail(Kind.PAID), has_ticket=False, now=NOW))


def test_an_expired_order_says_that_nothing_was_charged():
    letter = write_letter(make_mail(Kind.EXPIRED, reason="expired"), now=NOW)

    assert "Nothing was charged" in read(letter)
    assert letter.address.endswith("/tickets/65f1c0ffee65f1c0ffee65f1/")


@pytest.mark.parametrize(
    ("reason", "was_paid", "words"),
    [
        ("buyer", False, "You cancelled your order of “Front row”. The ticket is free for others"),
        ("buyer", True, "Your money goes back to the card"),
        ("refunded", True, "Your order of “Front row” ended. The ticket that we"),
    ],
)
def test_a_cancelled_order_says_by_whom_and_what_of_the_money(reason, was_paid, words):
    mail = make_mail(Kind.CANCELLED, reason=reason, was_paid=was_paid)

    assert words in read(write_letter(mail, now=NOW))


def test_a_refund_says_how_much_for_what_and_why():
    letter = write_letter(make_refund(), others=(make_mail(Kind.RESERVED),), now=NOW)

    assert letter.subject == "Refunded: $42.50 for Front row"
    assert "The $42.50 that you paid for “Front row” went back to you on 23 Nov" in read(letter)
    assert "Why: The ticket was no longer available." in read(letter)


def test_a_refund_in_part_says_of_how_much_and_how_much_in_all():
    refund = make_refund(refund_cents=1000, refunded_total_cents=2000)

    letter = write_letter(refund, others=(make_mail(Kind.PAID),), now=NOW)

    assert "$10.00 of the $42.50 that you paid for “Front row”" in read(letter)
    assert ("Refunded in all", "$20.00 of $42.50") in letter.details


def test_a_refund_of_an_order_that_nothing_else_is_known_of_names_its_number():
    letter = write_letter(make_refund(), now=NOW)

    assert letter.subject == "Refunded: $42.50"
    assert ("Order number", ORDER) in letter.details


@pytest.mark.parametrize("kind", [Kind.RESERVED, Kind.PAID, Kind.EXPIRED, Kind.CANCELLED])
def test_no_title_reaches_another_line_of_the_subject(kind):
    title = "Front\r\nBcc: everybody@example.com\u2028\u0085\x00 row \u202egnp.exe"

    letter = write_letter(make_mail(kind, title=title, reason="buyer", was_paid=False), now=NOW)

    assert letter.subject.isprintable()
    assert "Front Bcc: everybody@example.com row gnp.exe" in letter.subject


def test_a_title_in_any_script_is_kept():
    for title in ("東京ドーム", "Щедрик", "حفلة", "👨‍👩‍👧 família", "क्‍ष"):
        assert plain(title) == title


def test_a_long_title_is_cut_in_the_subject_and_whole_in_the_mail():
    letter = write_letter(make_mail(Kind.PAID, title="W" * 5000), now=NOW)

    assert len(letter.subject) < 120
    assert ("Ticket", "W" * 5000) in letter.details


def test_what_a_seller_wrote_is_no_markup():
    letter = write_letter(make_mail(Kind.PAID, title="<b>Rock & Roll</b>"), now=NOW)

    assert "&lt;b&gt;Rock &amp; Roll&lt;/b&gt;" in letter.as_html()
    assert "<b>" not in letter.as_html()
    assert "<b>Rock & Roll</b>" in letter.as_text()


def test_every_link_is_absolute(settings):
    letter = write_letter(make_mail(Kind.RESERVED), now=NOW)

    assert settings.PUBLIC_URL.startswith("http")
    assert letter.as_html().count("href=") == letter.as_html().count(f'href="{settings.PUBLIC_URL}')
    assert f"Pay $42.50: {settings.PUBLIC_URL}/orders/{ORDER}/" in letter.as_text()
