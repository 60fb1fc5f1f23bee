"""Whether a one-shot would only do again what it did: the files it depends on are as they were."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from deploy.local.config import Config
from deploy.local.entries import Entry


def fingerprint(root: Path, entry: Entry) -> str:
    """Return a digest of the names and contents of the files that the entry depends on."""
    digest = hashlib.sha256()
    for pattern in entry.unless_changed:
        for path in sorted(root.glob(pattern)):
            if path.is_file():
                digest.update(f"{path.relative_to(root)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def marks(config: Config) -> Path:
    # Among the data, so that they go when the data go, and what they speak of is done again.
    return config.data / "done.json"


def read_marks(config: Config) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(marks(config).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return known


def is_done(config: Config, entry: Entry) -> bool:
    if not entry.unless_changed:
        return False
    return read_marks(config).get(entry.name) == fingerprint(config.root, entry)


def mark_done(config: Config, entry: Entry) -> None:
    if entry.unless_changed:
        known = read_marks(config) | {entry.name: fingerprint(config.root, entry)}
        marks(config).write_text(json.dumps(known, indent=2), encoding="utf-8")
