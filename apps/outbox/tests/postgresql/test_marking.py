from __future__ import annotations

import re

import pytest
from django.db import connection
from django.utils import timezone

from apps.outbox.models import OutboxEvent
from apps.outbox.stores.postgresql import PUBLISHED

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 5000


@pytest.mark.parametrize("waiting", [100, MANY])
def test_rows_are_marked_by_their_keys_however_many_wait(waiting):
    now = timezone.now()
    rows = OutboxEvent.objects.bulk_create(
        OutboxEvent(
            topic="test.gates",
            key=f"k-{number}",
            slot=number % 64,
            aggregate_type="gate",
            aggregate_id=f"k-{number}",
            version=1,
            type="t",
            record="r",
            payload=b"{}" * 100,
            occurred_at=now,
            due_at=now,
            state="pending" if number < waiting else "published",
        )
        for number in range(MANY)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_event")
        for some in (rows[:100], rows[:1]):
            ids = ",".join(row.pk.hex for row in some)
            cursor.execute(f"EXPLAIN {PUBLISHED}", {"ids": f"{{{ids}}}"})
            plan = " ".join(line for (line,) in cursor.fetchall())

            assert re.findall("outbox_event_[a-z]+", plan) == ["outbox_event_pkey"]
