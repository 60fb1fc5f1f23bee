"""A raw worker in a process of its own, for tests that stop and kill it; its options are JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import django
from django.conf import settings
from django.db import connection

if __name__ == "__main__":
    django.setup()
    options = json.loads(sys.argv[1])
    connection.settings_dict["NAME"] = options["database"]
    settings.AVRO_DIR = Path(options["avro_dir"])

    from apps.outbox import raw
    from apps.outbox.topics import Topic
    from apps.outbox.worker import run_until_signalled

    settings.OUTBOX_TRANSPORT = "debezium"
    settings.OUTBOX_RAW_TOPIC = options["raw_topic"]
    settings.OUTBOX_CONNECTOR = options["connector"]
    settings.OUTBOX_TOPICS = (Topic(options["topic"], 3, "", namespace="test.gates"),)
    raw.BATCH = options["batch"]
    run_until_signalled(raw.build_raw_worker())
