from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.outbox.models import OutboxEvent
from apps.tickets import selectors
from apps.tickets.tests.factories import new_id

pytestmark = pytest.mark.django_db(transaction=True)


def seed(*arguments: str) -> str:
    output = StringIO()
    call_command("seed_demo", *arguments, stdout=output)
    return output.getvalue()


def test_demo_is_seeded_once_however_often_it_is_run():
    seller_id = new_id()

    assert "120 of 120 demo tickets are new" in seed("--count", "120", "--seller-id", seller_id)
    assert "0 of 120 demo tickets are new" in seed("--count", "120", "--seller-id", seller_id)
    assert "5 of 125 demo tickets are new" in seed("--count", "125")

    assert len(selectors.list_free_tickets()) == 125
    assert len(selectors.list_seller_tickets(seller_id)) > 5
    assert OutboxEvent.objects.filter(type="ticketing.tickets.ticket.created.v1").count() == 125


@pytest.mark.parametrize("count", ["0", "-1", "10001"])
def test_absurd_count_is_refused(count):
    with pytest.raises(CommandError, match="--count must be from 1 to 10000"):
        seed("--count", count)


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        call_command("seed_demo", "--help")

    assert "manage.py seed_demo --count 500" in capsys.readouterr().out
