"""Publishes at an even pace as a service does, and notes when each commit was acknowledged."""

from __future__ import annotations

import json
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import django

from bench.rows import payload

KEYS = 250


def main(rate: float, seconds: float, path: Path) -> None:
    django.setup()

    from apps.outbox.publish import publish  # noqa: PLC0415 (Django has to be set up)
    from apps.outbox.transactions import run_in_transaction  # noqa: PLC0415
    from bench.events import OrderCreated  # noqa: PLC0415

    run = uuid.uuid4()
    names = [str(uuid.uuid5(run, str(i))) for i in range(KEYS)]
    fields = payload("", 0) | {"expires_at": datetime(2026, 3, 1, tzinfo=UTC)}
    committed: list[tuple[str, str, int, float]] = []
    began = time.monotonic()
    for i in range(int(rate * seconds)):
        time.sleep(max(0.0, began + i / rate - time.monotonic()))
        name, version = names[i % KEYS], i // KEYS + 1
        event = OrderCreated(**fields | {"order_id": name, "version": version})
        event_id = run_in_transaction(lambda event=event: publish(event))
        committed.append((str(event_id), name, version, time.time()))
    lasted = time.monotonic() - began
    path.write_text(json.dumps({"committed": committed, "seconds": lasted}), encoding="utf-8")


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
