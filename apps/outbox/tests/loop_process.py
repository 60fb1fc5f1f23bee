"""A loop in a process of its own, for tests that stop and probe it; its settings come as JSON.

Usage: loop_process.py SETTINGS goes_round|hangs|outage
"""

from __future__ import annotations

import json
import sys
import threading

from django.conf import settings

if __name__ == "__main__":
    settings.configure(
        **{
            "SERVICE_NAME": "gates",
            "LIVENESS_FILE": "",
            "LIVENESS_SECONDS": 60,
            "METRICS_ADDRESS": "",
            "STOP_GRACE_SECONDS": 60,
        }
        | json.loads(sys.argv[1])
    )

    from apps.outbox import monitoring
    from apps.outbox.worker import liveness, run_until_signalled

    class Loop:
        def __init__(self, kind):
            self.kind = kind
            self.alive = liveness()
            self.stopped = threading.Event()

        def run(self):
            self.round()
            print("runs", flush=True)  # noqa: T201
            if self.kind == "hangs":
                threading.Event().wait()
            while not self.stopped.wait(0.02):
                self.round()
            print("finished", flush=True)  # noqa: T201

        def round(self):
            self.alive()
            if self.kind == "outage":
                monitoring.outage("loop", ConnectionError("nobody answers"))
            else:
                monitoring.well()

        def stop(self):
            self.stopped.set()

    run_until_signalled(Loop(sys.argv[2]))
