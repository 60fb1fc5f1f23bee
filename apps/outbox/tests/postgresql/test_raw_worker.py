from __future__ import annotations

import pytest

from apps.outbox.kafka import Sender
from apps.outbox.tests.postgresql.conftest import raw_count, work_until
from apps.outbox.tests.postgresql.test_debezium import columns, raw
from apps.outbox.tests.sending import versions_of, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

PAYLOAD = b'{"gate_id":"north","version":1,"width_cm":1,"opened_at":0,"keeper":null}'
OTHER_ID = "01a209d4-cd0a-7e1e-b8f5-cfb0bf88d4a7"


def test_row_that_debezium_sends_again_is_sent_once(captured):
    raw(captured, value=PAYLOAD, **columns(captured))
    raw(captured, value=PAYLOAD, **columns(captured))
    worker = captured.worker()
    work_until(worker, lambda: captured.sent() == 1)
    raw(captured, value=PAYLOAD, **columns(captured))
    raw(captured, value=PAYLOAD, **columns(captured, id=OTHER_ID, version="2"))

    work_until(worker, lambda: captured.distinct() == 2)
    worker.close()

    assert versions_of(captured.records(count=2)) == {"north": [1, 2]}


def test_worker_that_died_between_sending_and_committing_leaves_no_record_twice(captured):
    raw(captured, value=PAYLOAD, **columns(captured))
    dead = captured.worker()
    dead._commit = lambda **_: None
    work_until(dead, lambda: captured.sent() == 1)
    dead.close()

    raw(captured, value=PAYLOAD, **columns(captured, id=OTHER_ID, version="2"))
    worker = captured.worker()
    work_until(worker, lambda: captured.distinct() == 2)
    worker.close()

    assert versions_of(captured.records(count=2)) == {"north": [1, 2]}


def test_rows_of_a_batch_that_could_not_be_sent_do_not_count_as_sent(captured):
    raw(captured, value=PAYLOAD, **columns(captured))
    worker = captured.worker()
    healthy = worker._sender
    worker._sender = Sender(timeout=0.5, options={"bootstrap.servers": "127.0.0.1:1"})
    work_until(worker, lambda: worker._outages)
    worker._sender.close()
    worker._sender = healthy

    work_until(worker, lambda: captured.sent() == 1)
    worker.close()


def test_rows_written_for_a_relay_are_left_to_it_where_no_slot_is_known(captured):
    raw(captured, value=PAYLOAD, **columns(captured, state="pending"))
    raw(captured, value=PAYLOAD, **columns(captured, id=OTHER_ID, version="2", state="captured"))
    wait_for(lambda: raw_count(captured) == 2)
    worker = captured.worker()

    work_until(worker, lambda: captured.sent() >= 1)
    worker.close()

    assert versions_of(captured.records(count=1)) == {"north": [2]}
