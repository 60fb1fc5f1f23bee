"""The bare loop: rows out of memory, encoded and produced. No relay can be faster in one thread."""

from __future__ import annotations

import os
import signal
import sys
import uuid

from bench.rows import Load
from bench.sending import Counter, Encoder, producer


def main(topic: str, run: str, events: int, keys: int, schema_id: int) -> None:
    rows = list(Load(events, keys, topic, uuid.UUID(run)).rows())
    encoder, counter = Encoder(schema_id), Counter()
    client = producer(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    for row in rows:
        event_id, _, key, _, _, subject, version, kind, _, payload, extra, occurred_at, *_ = row
        headers = encoder.headers((str(event_id), kind, occurred_at, subject, version, extra))
        while True:
            try:
                client.produce(
                    topic,
                    key=key,
                    value=encoder.value(payload),
                    headers=headers,
                    on_delivery=counter,
                )
                break
            except BufferError:
                client.poll(0.05)
        client.poll(0)
    client.flush()
    # It stays until it is stopped, so that its processor time can be read.
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(each) for each in sys.argv[3:6]))
