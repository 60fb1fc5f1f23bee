"""What lands in a person's mailbox, which on the local stack is a directory of files."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from tests.e2e.people import Person
from tests.e2e.stack import Stack, eventually


@pytest.fixture
def mailbox(stack: Stack) -> Callable[[Person], list[EmailMessage]]:
    """Return the mails to a person so far."""

    def read(person: Person) -> list[EmailMessage]:
        files = stack.config.mail.glob(f"{person.email}-*.eml")
        return [
            email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            for path in files
        ]

    return read


def subjects(mails: list[EmailMessage]) -> list[str]:
    return sorted(str(mail["Subject"]) for mail in mails)


def test_a_buyer_gets_a_mail_of_the_reservation_and_one_with_the_ticket(
    seller: Person, buyer: Person, mailbox: Callable[[Person], list[EmailMessage]]
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    # A mail written after the order was paid would not say that it is to be paid.
    eventually(lambda: mailbox(buyer), what="the mail of the reservation")
    buyer.pay(order["id"])

    eventually(lambda: len(mailbox(buyer)) == 2, what="both mails")

    title = ticket["title"]
    assert subjects(mailbox(buyer)) == [f"Reserved for you: {title}", f"Your ticket: {title}"]
    (paid,) = (mail for mail in mailbox(buyer) if list(mail.iter_attachments()))
    (attached,) = paid.iter_attachments()
    assert attached.get_content().startswith(b"%PDF-")
    assert f"/orders/{order['id']}/" in paid.get_body("plain").get_content()
    assert mailbox(seller) == []


def test_a_buyer_who_cancels_gets_a_mail_of_it(
    seller: Person, buyer: Person, mailbox: Callable[[Person], list[EmailMessage]]
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    buyer.http.delete(f"/api/orders/{order['id']}")

    eventually(lambda: len(mailbox(buyer)) == 2, what="both mails")

    assert f"Your order is cancelled: {ticket['title']}" in subjects(mailbox(buyer))
