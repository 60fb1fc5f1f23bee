"""A stack of three small processes, started as `make run` starts the large one.

Usage: python -m deploy.local.tests.small_stack [NAME OF THE SECOND PROCESS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.local.__main__ import guarded_call
from deploy.local.config import load
from deploy.local.entries import Entry, Launch, Program, python
from deploy.local.up import Stack, run

PROCESS = str(Path(__file__).with_name("small_process.py"))


def lasting(name, *after):
    def launch(config):
        return Launch(python(PROCESS, name, str(config.directory / "stopped")))

    return Entry(name, Program(launch), after)


def main(second):
    stack = (
        lasting("database"),
        Entry(
            "migrate",
            Program(lambda config: Launch(("touch", str(config.directory / "migrated")))),
            ("database",),
            once=True,
        ),
        lasting(second, "migrate"),
        lasting("gateway", second),
    )
    return run(Stack(load(), stack), lambda _config: "open the door")


if __name__ == "__main__":
    sys.exit(guarded_call(lambda: main(sys.argv[1] if len(sys.argv) > 1 else "web")))
