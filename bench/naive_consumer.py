"""The naive consumer: one message, one transaction with the note that it was received, commit."""

from __future__ import annotations

import io
import os
import sys

import django
import fastavro
import orjson
from confluent_kafka import Consumer

from bench.topic import SCHEMA


def main(topic: str) -> None:
    django.setup()

    from django.utils import timezone  # noqa: PLC0415 (Django has to be set up)

    from apps.outbox.models import ReceivedEvent  # noqa: PLC0415
    from apps.outbox.transactions import run_in_transaction  # noqa: PLC0415
    from bench.events import OrderCreated  # noqa: PLC0415
    from bench.handlers import on_order_created  # noqa: PLC0415

    schema = fastavro.parse_schema(orjson.loads(SCHEMA.read_bytes()))
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": f"{topic}.naive",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error() is not None:
            continue
        event = OrderCreated(
            **fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), schema, None)
        )
        event_id = dict(message.headers())["ce_id"].decode()

        def take_effect(event: OrderCreated = event, event_id: str = event_id) -> None:
            ReceivedEvent.objects.create(
                id=f"naive/{event_id}",
                type=event.type,
                topic=topic,
                partition=0,
                offset=0,
                key=event.order_id,
                version=event.version,
                received_at=timezone.now(),
            )
            on_order_created(event)

        run_in_transaction(take_effect)
        consumer.commit(message, asynchronous=True)


if __name__ == "__main__":
    main(sys.argv[1])
