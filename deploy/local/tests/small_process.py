"""A process that says when it is asked to stop, and has a child, as gunicorn has its workers.

Usage: python small_process.py NAME FILE
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

name, said = sys.argv[1:]
parent = os.getpid()
if name == "broken":
    sys.exit("no such setting: X")
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.1)
    sys.exit()


def stop(*_):
    with Path(said).open("a") as file:
        file.write(f"{name} ")
    sys.exit()


signal.signal(signal.SIGTERM, stop)
print(name, "is up", flush=True)
while True:
    time.sleep(0.1)
