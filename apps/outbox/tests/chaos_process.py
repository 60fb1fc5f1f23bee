"""A writer or consumer in a process of its own, for chaos; its options come as JSON."""

from __future__ import annotations

import json
import sys

import django

if __name__ == "__main__":
    django.setup()

    from apps.outbox.tests.chaos_parts import play

    play(sys.argv[1], json.loads(sys.argv[2]))
