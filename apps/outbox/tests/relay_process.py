"""A relay in a process of its own, for tests that kill it; its options come as JSON.

At SIGUSR1 its clock, which never goes back, jumps on by an hour.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import django
from django.conf import settings
from django.db import connection

if __name__ == "__main__":
    django.setup()
    options = json.loads(sys.argv[1])
    connection.settings_dict["NAME"] = options["database"]
    settings.AVRO_DIR = Path(options["avro_dir"])

    from apps.outbox.codec import Codec
    from apps.outbox.kafka import Sender
    from apps.outbox.registry import Registry
    from apps.outbox.relay import Relay
    from apps.outbox.stores import open_store
    from apps.outbox.worker import run_until_signalled

    ahead = 0.0

    def jump(*_):
        global ahead  # noqa: PLW0603 (the clock of this process)
        ahead += 3600.0

    signal.signal(signal.SIGUSR1, jump)
    run_until_signalled(
        Relay(
            open_store(),
            Codec(Registry.from_settings()),
            Sender(is_fenced=options.get("is_fenced", False)),
            owner=options["owner"],
            batch=options["batch"],
            lease_seconds=options["lease_seconds"],
            clock=lambda: time.monotonic() + ahead,
        )
    )
