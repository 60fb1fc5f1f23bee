from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from django.core.mail import get_connection
from django.db import connection

from apps.auth import services
from apps.auth.mail import queueing
from apps.auth.mail.sending import LEASE, Outcome, send_mail, ticket_of
from apps.auth.management.mailer import Mailer
from apps.auth.models import Mail
from apps.auth.tests.factories import PASSWORD, make_user, new_email
from apps.auth.tests.mail_server import MailServer
from apps.auth.tests.orders import Story
from apps.core.passes import Pass, read_pass
from apps.outbox.models import OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)

State = Mail.State
TRACE = f"00-{'a' * 32}-{'1' * 16}-01"
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def no_mail_of_other_tests():
    Mail.objects.all().delete()


@pytest.fixture
def server():
    server = MailServer()
    server.start()
    yield server
    server.stop()


def send_all(server, *, later=timedelta()):
    """Send what is due, or will be, and return whether there was anything."""
    mailer = Mailer(get_connection(**server.transport), clock=lambda: datetime.now(UTC) + later)
    return mailer.run_once()


def eventually(holds):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_mail_arrives_as_text_and_html_for_the_buyer_alone(server):
    story = Story()
    story.reserve()

    assert send_all(server)

    ((recipients, message),) = server.taken
    assert recipients == (story.buyer.email,)
    assert message["Subject"] == "Reserved for you: Front row"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    assert "Pay $42.50" in message.get_body("plain").get_content()
    assert "Pay $42.50" in message.get_body("html").get_content()
    assert story.mail.state == State.SENT
    assert story.mail.sent_at is not None


def test_what_was_sent_is_not_sent_again(server):
    Story().reserve()
    send_all(server)

    assert not send_all(server, later=timedelta(days=30))

    assert len(server.taken) == 1


def test_the_ticket_goes_with_the_mail_of_the_payment(server):
    story = Story()
    story.pay()

    send_all(server)

    ((_, message),) = server.taken
    (ticket,) = message.iter_attachments()
    assert ticket.get_filename() == "ticket.pdf"
    assert ticket.get_content_type() == "application/pdf"
    assert ticket.get_content().startswith(b"%PDF-")


def test_a_ticket_that_cannot_be_drawn_does_not_keep_the_mail(server):
    story = Story()
    story.pay()
    facts = story.mail.facts
    del facts["ticket_id"]
    Mail.objects.filter(pk=story.mail.pk).update(facts=facts)

    send_all(server)

    ((_, message),) = server.taken
    assert list(message.iter_attachments()) == []
    assert "could not be drawn" in message.get_body("plain").get_content()


@pytest.mark.parametrize(
    "title", ["Front\r\nBcc: everybody@example.com", "東京ドーム 🎫", "é" * 3000, "a\x00b\u2028c"]
)
def test_any_title_is_sent_and_adds_no_header(server, title):
    story = Story(title=title)
    story.pay()

    send_all(server)

    ((recipients, message),) = server.taken
    assert recipients == (story.buyer.email,)
    assert message["Bcc"] is None
    assert message.keys().count("To") == 1
    assert "\n" not in message["Subject"]


def test_a_server_that_is_down_delays_the_mail(server):
    story = Story()
    story.reserve()
    server.stop()

    send_all(server)

    assert story.mail.state == State.QUEUED
    assert story.mail.attempts == 1
    assert "ConnectionRefused" in story.mail.last_error
    server.start()

    send_all(server, later=timedelta(hours=1))

    assert story.mail.state == State.SENT
    assert len(server.taken) == 1


def test_while_the_server_is_down_one_mail_is_tried_and_the_others_keep_their_place(server):
    stories = [Story() for _ in range(5)]
    for story in stories:
        story.reserve()
    server.stop()

    send_all(server)

    assert sorted(story.mail.attempts for story in stories) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("mood", ["busy", "unwanted", "unwilling"])
def test_a_mail_that_the_server_refuses_does_not_hold_up_the_next(server, mood):
    refused, other = Story(), Story()
    refused.reserve()
    server.mood = mood
    send_all(server)
    server.mood = "well"
    other.reserve()

    send_all(server)

    assert refused.mail.state == State.QUEUED
    assert refused.mail.due_at > datetime.now(UTC)
    assert other.mail.state == State.SENT


def test_what_is_refused_for_good_is_not_insisted_on(server):
    story = Story()
    story.reserve()
    server.mood = "unwanted"

    send_all(server)

    assert "No such person" in story.mail.last_error
    assert story.mail.due_at > datetime.now(UTC) + timedelta(minutes=55)


def test_the_wait_grows_up_to_an_hour(server):
    story = Story()
    story.reserve()
    server.mood = "busy"
    waits = []

    for hours in range(1, 15):
        later = timedelta(hours=2 * hours)
        send_all(server, later=later)
        waits.append(story.mail.due_at - datetime.now(UTC) - later)

    assert waits[0] <= timedelta(seconds=5)
    assert timedelta(minutes=29) < waits[-1] <= timedelta(hours=1)


def test_what_becomes_of_a_mail_is_told_in_its_orders_trace_and_without_its_address(server):
    story = Story()
    story.reserve("event-1")
    Mail.objects.filter(pk=story.mail.pk).update(traceparent=TRACE)
    server.mood = "busy"
    send_all(server, later=timedelta(days=4))
    server.mood = "well"
    queueing.try_again(mail_id=story.mail.pk, now=datetime.now(UTC))
    send_all(server)
    send_all(server, later=timedelta(days=30))

    rows = OutboxEvent.objects.filter(aggregate_id=str(story.mail.pk)).order_by("version")
    assert [row.record for row in rows] == ["ticketing.auth.MailGivenUp", "ticketing.auth.MailSent"]
    for row in rows:
        assert json.loads(row.headers) == {
            "ce_correlationid": "request",
            "ce_causationid": "event-1",
            "traceparent": TRACE,
        }
        facts = json.loads(bytes(row.payload))
        assert (facts["order_id"], facts["kind"]) == (story.order_id, "reserved")
        assert story.buyer.email not in str(facts)


def test_a_mail_is_given_up_after_days_and_sent_when_somebody_says_so(server):
    story = Story()
    story.reserve()
    server.mood = "busy"
    send_all(server, later=timedelta(days=4))

    assert story.mail.state == State.GIVEN_UP
    assert not send_all(server, later=timedelta(days=5))

    server.mood = "well"
    queueing.try_again(mail_id=story.mail.pk, now=datetime.now(UTC))
    send_all(server)

    assert story.mail.state == State.SENT
    with pytest.raises(queueing.NothingToTry):
        queueing.try_again(mail_id=story.mail.pk, now=datetime.now(UTC))


def test_a_server_that_hangs_up_before_it_answers_gets_the_same_mail_again(server):
    story = Story()
    story.pay()
    server.mood = "deaf"
    send_all(server)
    server.mood = "well"

    send_all(server, later=timedelta(hours=1))

    first, second = server.to(story.buyer.email)
    assert first["Message-ID"] == second["Message-ID"] != ""
    assert str(story.mail.pk) in first["Message-ID"]
    assert first.get_body("plain").get_content() == second.get_body("plain").get_content()
    assert story.mail.state == State.SENT


def test_a_mail_to_somebody_who_is_not_known_yet_waits(server):
    story = Story(buyer_id="65f1c0ffee65f1c0ffee65f1")
    story.reserve()
    send_all(server)
    assert server.taken == []
    assert "65f1c0ffee65f1c0ffee65f1" in story.mail.last_error
    user = make_user()
    Mail.objects.filter(pk=story.mail.pk).update(user_id=str(user.pk))

    send_all(server, later=timedelta(hours=1))

    assert len(server.to(user.email)) == 1


def test_a_mail_goes_to_where_the_person_is_reached_today(server):
    story = Story()
    story.reserve()
    server.mood = "unwanted"
    send_all(server)
    server.mood = "well"
    email = new_email()
    services.change_email(
        user_id=str(story.buyer.pk), email=email, current_password=PASSWORD, now=datetime.now(UTC)
    )

    send_all(server, later=timedelta(hours=2))

    assert len(server.to(email)) == 1


def test_a_mail_that_cannot_be_made_waits_and_the_next_is_sent(server):
    broken, other = Story(), Story()
    broken.reserve()
    Mail.objects.filter(pk=broken.mail.pk).update(facts={})
    other.reserve()

    send_all(server)

    assert broken.mail.state == State.QUEUED
    assert "KeyError" in broken.mail.last_error
    assert other.mail.state == State.SENT


def test_of_many_mailers_one_sends_each_mail(server):
    stories = [Story() for _ in range(20)]
    for story in stories:
        story.reserve()
    start = threading.Barrier(4)

    def work():
        start.wait()
        send_all(server)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(server.to(story.buyer.email)) for story in stories] == [1] * 20
    assert {story.mail.state for story in stories} == {State.SENT}


def test_a_mail_in_hand_is_not_taken_by_another(server):
    story = Story()
    story.reserve()
    now = datetime.now(UTC)
    first, second = story.mail, story.mail
    first.claim(now=now, until=now + LEASE)

    assert send_mail(mail=second, server=get_connection(**server.transport)) == Outcome.TAKEN
    assert send_mail(mail=story.mail, server=get_connection(**server.transport)) == Outcome.TAKEN


def test_a_mailer_that_was_too_slow_does_not_write_over_what_came_after(server):
    story = Story()
    story.reserve()
    slow = story.mail
    now = datetime.now(UTC)
    slow.claim(now=now, until=now + LEASE)
    server.mood = "busy"
    send_all(server, later=LEASE + timedelta(seconds=1))
    after = story.mail

    assert not slow.give_up(why="late")
    assert not slow.put_off(why="late", until=now)

    assert (story.mail.state, story.mail.due_at) == (State.QUEUED, after.due_at)
    assert "451" in story.mail.last_error


CRASH = """
import os, signal, sys
import django
django.setup()
from django.core.mail.backends.smtp import EmailBackend
from apps.auth.management.mailer import Mailer

step, port = sys.argv[1:]

class Mortal(EmailBackend):
    def send_messages(self, messages):
        if step == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().send_messages(messages)
        os.kill(os.getpid(), signal.SIGKILL)

Mailer(Mortal(host="127.0.0.1", port=int(port))).run_once()
"""


@pytest.mark.parametrize(("step", "copies"), [("before", 1), ("after", 2)])
def test_a_mailer_killed_between_claim_and_mark_leaves_a_mail_that_the_next_sends(
    server, step, copies
):
    story = Story()
    story.pay()
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CRASH, step, str(server.port)],
        cwd=django_settings.BASE_DIR,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert story.mail.state == State.SENDING
    assert not send_all(server)

    send_all(server, later=LEASE + timedelta(seconds=1))

    taken = server.to(story.buyer.email)
    assert len(taken) == copies
    assert len({message["Message-ID"] for message in taken}) == 1
    assert story.mail.state == State.SENT


def test_the_process_sends_what_comes_waits_out_an_outage_and_stops_when_told(server):
    story = Story()
    server.stop()
    story.reserve()
    environment_of_process = environment() | {"EMAIL_URL": f"smtp://127.0.0.1:{server.port}"}
    command = [sys.executable, "-W", "ignore", "manage.py", "send_mails"]
    process = subprocess.Popen(command, cwd=django_settings.BASE_DIR, env=environment_of_process)
    try:
        eventually(lambda: story.mail.last_error or process.poll() is not None)
        server.start()
        queueing.try_again(mail_id=story.mail.pk, now=datetime.now(UTC))
        eventually(lambda: story.mail.state == State.SENT or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()

    assert status == 0
    assert len(server.to(story.buyer.email)) == 1


def test_without_a_mail_server_each_mail_is_a_file(tmp_path):
    story = Story()
    story.pay()
    transport = {"backend": "apps.auth.mail.files.MailFiles", "directory": str(tmp_path / "mail")}
    server = get_connection(**transport)

    for _ in range(2):
        Mailer(server).run_once()
        Mail.objects.update(state=State.QUEUED, due_at=datetime.now(UTC))

    (file,) = (tmp_path / "mail").iterdir()
    assert file.name == f"{story.buyer.email}-{story.mail.pk}.eml"
    assert b"Subject: Your ticket: Front row" in file.read_bytes()


def test_the_code_on_the_ticket_is_the_pass_of_the_order():
    story = Story()
    story.pay()

    prefix, _, rest = ticket_of(story.mail).address.partition("/orders/verify/")

    assert prefix == django_settings.PUBLIC_URL
    assert read_pass(rest.removesuffix("/")) == Pass(
        story.order_id, story.facts["ticket_id"], str(story.buyer.pk)
    )


def environment():
    return os.environ | {"MONGODB_DATABASE": connection.settings_dict["NAME"]}
