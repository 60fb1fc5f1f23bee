"""Every event class of every service and every schema, as the contract tests compare them."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
AVRO_DIR = ROOT / "avro"
SERVICES = ("auth", "tickets", "orders", "payments", "expiration")

Schema = dict[str, Any]


def list_events(service: str) -> list[type]:
    """Return the classes of the service's events.py that are events, not what they share."""
    module = importlib.import_module(f"apps.{service}.events")
    return [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and is_dataclass(cls) and "type" in vars(cls)
    ]


def owner_of(event: type) -> str:
    return event.namespace.removeprefix("ticketing.")


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def schema_path(event: type) -> Path:
    return AVRO_DIR / owner_of(event) / f"{snake(event.__name__)}.avsc"


def read_schema(path: Path) -> Schema:
    return json.loads(path.read_text(encoding="utf-8"))


PUBLISHED = {
    f"{service}: {event.__name__}": event
    for service in SERVICES
    for event in list_events(service)
    if owner_of(event) == service
}
FOREIGN = {
    f"{service} reads {event.__name__}": (service, event)
    for service in SERVICES
    for event in list_events(service)
    if owner_of(event) != service
}
SCHEMAS = {
    path.relative_to(AVRO_DIR).as_posix(): path for path in sorted(AVRO_DIR.glob("*/*.avsc"))
}


def released_versions(path: Path) -> dict[str, Schema]:
    """Return the schema as it was in each release, and as last committed, by the git reference.

    Empty outside a git checkout, where the registry's own check still stands.
    """
    tags = _git("tag", "--list", "v*")
    versions = {}
    for reference in [*tags.split(), "HEAD"]:
        if text := _git("show", f"{reference}:{path.relative_to(ROOT).as_posix()}"):
            versions[reference] = json.loads(text)
    return versions


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return "" if done.returncode else done.stdout
