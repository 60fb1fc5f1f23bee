"""Ask the code of one service, in a process that has a container's environment and nothing else.

Reads {"environment": ..., "commands": [...], "paths": [...]} from standard input, and answers with
what the settings have read, what is wrong with the commands, and which views the paths lead to.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from typing import Any


class Recorded(dict[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def fault(command: list[str]) -> str:
    """Say what is wrong with the command; nothing if its program would take its arguments."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parse(command)
    except SystemExit:
        return said.getvalue()
    except Exception as exc:  # noqa: BLE001 (whatever it is, it is the answer)
        return f"{type(exc).__name__}: {exc}"
    return ""


def parse(command: list[str]) -> None:
    match command:
        case ["python", "manage.py", name, *arguments]:
            from django.core.management import get_commands, load_command_class  # noqa: PLC0415

            found = load_command_class(get_commands()[name], name)
            found.create_parser("manage.py", name).parse_args(arguments)
        case ["python", "-m", "gunicorn", application, *arguments]:
            from gunicorn.config import Config  # noqa: PLC0415

            Config().parser().parse_args([application, *arguments])
            assert callable(importlib.import_module(application).application)
        case ["python", "-m", "celery", "-A", application, name, *arguments]:
            from celery.bin.celery import celery  # noqa: PLC0415

            module = importlib.import_module(application)
            found = celery.commands[name]
            context = found.context_class(found, obj=None)
            found.make_parser(context).parse_args(arguments)
            assert module.app.conf.broker_url
        case _:
            raise ValueError(f"No program of ours: {command}")


def main() -> None:
    question = json.load(sys.stdin)
    recorded = Recorded(dict(os.environ) | question["environment"])
    os.environ = recorded  # type: ignore[assignment]  # noqa: B003 (only reading is recorded)
    import django  # noqa: PLC0415

    recorded.asked.clear()
    django.setup()
    import ticketing.telemetry  # noqa: PLC0415

    ticketing.telemetry.set_up()
    from django.conf import settings  # noqa: PLC0415
    from django.urls import resolve  # noqa: PLC0415

    faults = {" ".join(command): fault(command) for command in question["commands"]}
    answer = {
        "asked": sorted(recorded.asked),
        "faults": {command: said for command, said in faults.items() if said},
        "hosts": list(settings.ALLOWED_HOSTS),
        "views": {path: resolve(path).view_name for path in question["paths"]},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
