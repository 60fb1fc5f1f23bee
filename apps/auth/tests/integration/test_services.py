from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.auth import selectors, services
from apps.auth.models import User
from apps.auth.tests.factories import PASSWORD, make_user, new_email
from apps.auth.tests.hashers import CountingHasher
from apps.core.errors import NotFound, NotSignedIn
from apps.core.identity import read_token
from apps.outbox.models import OutboxEvent

pytestmark = pytest.mark.django_db

UNKNOWN = "65f1c0ffee65f1c0ffee65f1"


def events_of(user):
    rows = OutboxEvent.objects.filter(aggregate_type="user", aggregate_id=str(user.pk))
    return [(row.type, row.version, json.loads(row.payload)) for row in rows.order_by("version")]


def test_signing_up_publishes_what_others_may_know():
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    email = new_email()

    user = services.sign_up(email=email.upper(), password=PASSWORD, now=now)

    assert events_of(user) == [
        (
            "ticketing.auth.user.registered.v1",
            1,
            {
                "user_id": str(user.pk),
                "version": 1,
                "email": email,
                "is_active": True,
                "registered_at": int(now.timestamp() * 1000),
            },
        )
    ]


def test_a_password_is_kept_as_a_hash_alone(settings, real_hashers):
    settings.PASSWORD_HASHERS = real_hashers
    user = make_user()

    stored = connection.database["accounts_user"].find_one({"_id": user.pk})

    assert stored["password"].startswith("scrypt$")
    assert PASSWORD not in str(stored)
    assert all(PASSWORD not in json.dumps(payload) for _, _, payload in events_of(user))


def test_an_address_can_sign_up_once_whatever_its_case():
    user = make_user()

    with pytest.raises(services.EmailInUse):
        services.sign_up(email=user.email.upper(), password=PASSWORD, now=timezone.now())

    assert User.objects.filter(email=user.email).count() == 1
    assert len(events_of(user)) == 1


def test_of_many_who_sign_up_at_once_with_one_address_one_succeeds():
    email = new_email()
    start = threading.Barrier(8)
    outcomes = []

    def sign_up(number):
        written = email.upper() if number % 2 else email
        start.wait()
        try:
            services.sign_up(email=written, password=PASSWORD, now=timezone.now())
            outcomes.append("in")
        except services.EmailInUse:
            outcomes.append("refused")

    threads = [threading.Thread(target=sign_up, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["in"] + ["refused"] * 7
    (user,) = User.objects.filter(email=email)
    assert len(events_of(user)) == 1


def test_an_account_whose_event_cannot_be_published_is_not_made(monkeypatch, settings):
    email = new_email()
    settings.AVRO_DIR = settings.AVRO_DIR / "nothing-here"
    monkeypatch.setattr("apps.auth.events.UserRegistered.namespace", "ticketing.nowhere")

    with pytest.raises(Exception, match=r"ticketing\.nowhere|nothing-here|schema"):
        services.sign_up(email=email, password=PASSWORD, now=timezone.now())

    assert selectors.find_user_by_email(email=email) is None


def test_signing_in_takes_the_address_in_any_case():
    user = make_user()

    assert (
        services.sign_in(email=user.email.upper(), password=PASSWORD, now=timezone.now()).pk
        == user.pk
    )


def test_wrong_password_unknown_address_and_closed_account_look_the_same():
    user = make_user()
    closed = make_user(is_active=False)
    refusals = []

    for email, password in [
        (user.email, "wrong password"),
        (new_email(), PASSWORD),
        (closed.email, PASSWORD),
    ]:
        with pytest.raises(services.InvalidCredentials) as refusal:
            services.sign_in(email=email, password=password, now=timezone.now())
        refusals.append((refusal.value.message, refusal.value.error_code, refusal.value.field))

    assert len(set(refusals)) == 1


def test_each_cause_of_a_refusal_costs_one_hash(settings):
    settings.PASSWORD_HASHERS = ["apps.auth.tests.hashers.CountingHasher"]
    user = make_user()
    closed = make_user(is_active=False)

    def hashes_of(email, password):
        before = CountingHasher.hashes
        with pytest.raises(services.InvalidCredentials):
            services.sign_in(email=email, password=password, now=timezone.now())
        return CountingHasher.hashes - before

    assert hashes_of(user.email, "wrong password") == 1
    assert hashes_of(new_email(), PASSWORD) == 1
    assert hashes_of(closed.email, PASSWORD) == 1


def test_changing_the_address_publishes_and_signs_in_from_then_on():
    user = make_user()
    email = new_email()

    services.change_email(
        user_id=str(user.pk), email=email.upper(), current_password=PASSWORD, now=timezone.now()
    )

    assert services.sign_in(email=email, password=PASSWORD, now=timezone.now()).pk == user.pk
    type_, version, payload = events_of(user)[-1]
    assert (type_, version) == ("ticketing.auth.user.updated.v1", 2)
    assert payload["email"] == email


def test_an_address_cannot_be_changed_to_anothers():
    user = make_user()
    other = make_user()

    with pytest.raises(services.EmailInUse):
        services.change_email(
            user_id=str(user.pk),
            email=other.email.upper(),
            current_password=PASSWORD,
            now=timezone.now(),
        )

    assert selectors.find_user(user_id=str(user.pk)).email == user.email
    assert len(events_of(user)) == 1


def test_the_same_address_again_changes_nothing():
    user = make_user()

    services.change_email(
        user_id=str(user.pk), email=user.email, current_password=PASSWORD, now=timezone.now()
    )

    assert len(events_of(user)) == 1


def test_an_address_is_not_changed_without_the_password():
    user = make_user()

    with pytest.raises(services.WrongPassword):
        services.change_email(
            user_id=str(user.pk),
            email=new_email(),
            current_password="wrong password",
            now=timezone.now(),
        )


def test_changing_the_password_tells_nobody():
    user = make_user()

    services.change_password(
        user_id=str(user.pk), current_password=PASSWORD, new_password="another password"
    )

    assert services.sign_in(email=user.email, password="another password", now=timezone.now())
    with pytest.raises(services.InvalidCredentials):
        services.sign_in(email=user.email, password=PASSWORD, now=timezone.now())
    assert len(events_of(user)) == 1


def test_closing_an_account_is_published_once():
    user = make_user()

    for _ in range(2):
        services.set_active(user_id=str(user.pk), is_active=False, now=timezone.now())

    assert [(version, state["is_active"]) for _, version, state in events_of(user)] == [
        (1, True),
        (2, False),
    ]


def test_versions_have_no_gap_when_many_change_one_account_at_once():
    user = make_user()
    start = threading.Barrier(4)

    def flip(is_active):
        start.wait()
        for _ in range(5):
            services.set_active(user_id=str(user.pk), is_active=is_active, now=timezone.now())

    threads = [threading.Thread(target=flip, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    user.refresh_from_db()
    assert [version for _, version, _ in events_of(user)] == list(range(1, user.version + 1))


@pytest.mark.parametrize("user_id", [UNKNOWN, "junk", "", "a" * 25])
def test_nobody_is_found_by_an_unknown_or_malformed_id(user_id):
    assert selectors.find_user(user_id=user_id) is None
    with pytest.raises(NotSignedIn):
        selectors.get_active_user(user_id=user_id)


def test_what_is_done_to_an_unknown_account_is_refused():
    with pytest.raises(NotFound):
        services.set_active(user_id=UNKNOWN, is_active=False, now=timezone.now())
    with pytest.raises(NotFound):
        services.set_staff(user_id=UNKNOWN, is_staff=True)


def test_a_renewed_token_says_how_the_user_stands_today():
    user = make_user()
    old = read_token(services.token_for(user, now=timezone.now() - timedelta(days=8)))
    services.set_staff(user_id=str(user.pk), is_staff=True)

    assert read_token(services.renew_token(old, now=timezone.now())).is_staff

    services.set_active(user_id=str(user.pk), is_active=False, now=timezone.now())
    assert services.renew_token(old, now=timezone.now()) == ""


@pytest.mark.parametrize("index_key", ["email"])
def test_people_are_looked_up_by_an_index(index_key):
    plan = User.objects.filter(**{index_key: new_email()}).explain()

    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan


def test_the_newest_people_are_listed_by_an_index():
    plan = User.objects.order_by("-registered_at")[:50].explain()

    assert "IXSCAN" in plan
    assert "$sort" not in plan.split('"command"')[0]


def fail_to_sign_in(user, times, now):
    for _ in range(times):
        with pytest.raises(services.InvalidCredentials):
            services.sign_in(email=user.email, password="wrong password", now=now)


def test_too_many_wrong_passwords_lock_the_account_for_a_while(settings):
    settings.SIGNIN_FAILURES_LIMIT, settings.SIGNIN_LOCK_SECONDS = 3, 600
    user, now = make_user(), timezone.now()

    fail_to_sign_in(user, 3, now)

    with pytest.raises(services.AccountLocked, match="Try again in 10 minutes"):
        services.sign_in(email=user.email, password=PASSWORD, now=now)
    later = now + timedelta(seconds=601)
    assert services.sign_in(email=user.email, password=PASSWORD, now=later).pk == user.pk


def test_the_right_password_forgives_the_wrong_ones_before_it(settings):
    settings.SIGNIN_FAILURES_LIMIT = 3
    user, now = make_user(), timezone.now()

    for _ in range(2):
        fail_to_sign_in(user, 2, now)
        assert services.sign_in(email=user.email, password=PASSWORD, now=now)


def test_an_operator_unlocks_an_account_and_so_does_a_new_password(settings):
    settings.SIGNIN_FAILURES_LIMIT = 1
    user, now = make_user(), timezone.now()

    fail_to_sign_in(user, 1, now)
    services.unlock(user=user)
    assert services.sign_in(email=user.email, password=PASSWORD, now=now)

    fail_to_sign_in(user, 1, now)
    services.reset_password(user=user, password="another password")
    assert services.sign_in(email=user.email, password="another password", now=now)
