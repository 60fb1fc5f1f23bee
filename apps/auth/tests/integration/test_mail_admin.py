from __future__ import annotations

import pytest
from django.core.mail import get_connection
from django.test import Client

from apps.auth.management.mailer import Mailer
from apps.auth.models import Mail
from apps.auth.tests.factories import make_staff, make_user, token_of
from apps.auth.tests.orders import Story

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/auth/admin/accounts/mail/"


@pytest.fixture(autouse=True)
def no_mail_of_other_tests():
    Mail.objects.all().delete()


@pytest.fixture
def client():
    client = Client()
    client.cookies["session"] = token_of(make_staff())
    return client


@pytest.fixture
def sent(tmp_path):
    story = Story(title="<b>Front</b> row")
    story.pay()
    transport = {"backend": "apps.auth.mail.files.MailFiles", "directory": str(tmp_path)}
    Mailer(get_connection(**transport)).run_once()
    return story


def test_staff_see_a_mail_as_it_was_sent(client, sent):
    page = client.get(f"{LIST}{sent.mail.pk}/change/")

    assert page.status_code == 200
    assert 'sandbox=""' in page.text
    assert "&amp;lt;b&amp;gt;Front&amp;lt;/b&amp;gt; row" in page.text  # text, in a page in a page
    assert "<b>Front" not in page.text
    assert sent.buyer.email in page.text


def test_staff_get_the_mail_and_its_ticket_as_files(client, sent):
    mail = client.get(f"{LIST}{sent.mail.pk}/message.eml")
    ticket = client.get(f"{LIST}{sent.mail.pk}/ticket.pdf")

    assert mail["Content-Type"] == "message/rfc822"
    assert b"ticket.pdf" in mail.content
    assert ticket.content.startswith(b"%PDF-")


def test_nobody_else_sees_a_mail(sent):
    visitor = Client()
    visitor.cookies["session"] = token_of(make_user())

    for page in ("change/", "message.eml", "ticket.pdf"):
        assert visitor.get(f"{LIST}{sent.mail.pk}/{page}").status_code in {302, 403}


@pytest.mark.parametrize("query", ["order_id", "user_id", "recipient"])
def test_a_mail_is_found_by_its_ids_and_by_its_address(client, sent, query):
    page = client.get(LIST, {"q": getattr(sent.mail, query)})

    assert str(sent.mail.pk) in page.text


@pytest.mark.parametrize("path", ["", "message.eml", "ticket.pdf"])
def test_what_is_not_written_yet_has_no_files(client, path):
    story = Story()
    story.pay()

    page = client.get(f"{LIST}{story.mail.pk}/{path or 'change/'}")

    assert page.status_code == (404 if path else 200)


def test_a_mail_that_was_given_up_is_tried_again_from_the_list(client):
    story = Story()
    story.reserve()
    story.mail.give_up(why="Nobody answered.")

    page = client.post(
        LIST, {"action": "try_again", "_selected_action": [str(story.mail.pk)]}, follow=True
    )

    assert "Due now: 1." in page.text
    assert story.mail.state == Mail.State.QUEUED


def test_a_mail_that_was_sent_is_not_sent_again_from_the_list(client, sent):
    page = client.post(
        LIST, {"action": "try_again", "_selected_action": [str(sent.mail.pk)]}, follow=True
    )

    assert "was sent" in page.text
    assert sent.mail.state == Mail.State.SENT
