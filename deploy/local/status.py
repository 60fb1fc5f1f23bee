"""The table of `make status`, and the one that closes `make run`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from deploy.local.config import SERVICES, Config
from deploy.local.output import bold, duration, table

STATES = {
    "RUNNING": "running",
    "STARTING": "starting",
    "BACKOFF": "died, waits to restart",
    "EXITED": "died",
    "FATAL": "gave up",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
}
MEGABYTE = 1_000_000


def restarts_path(config: Config) -> Path:
    return config.run / "restarts.json"


def read_restarts(config: Config) -> dict[str, int]:
    try:
        known: dict[str, int] = json.loads(restarts_path(config).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return known


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def memory(processes: Iterable[psutil.Process]) -> int:
    """Return the bytes they hold together; memory that several share is counted once."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            try:
                total += process.memory_full_info().pss
            except (psutil.AccessDenied, AttributeError):
                total += process.memory_info().rss
    return total


def status_table(config: Config, infos: dict[str, dict[str, Any]]) -> str:
    restarts = read_restarts(config)
    rows = []
    total = 0
    for name, info in infos.items():
        held = memory(family(info["pid"])) if info["pid"] else 0
        total += held
        since = info["start"] if info["pid"] else info["stop"]
        rows.append(
            (
                name,
                STATES.get(info["statename"], info["statename"].lower()),
                duration(max(0, info["now"] - since)) if since else "-",
                str(restarts.get(name, 0)),
                f"{held / MEGABYTE:.0f} MB" if held else "-",
                f"127.0.0.1:{port}" if (port := config.ports.get(f"{name}-metrics")) else "-",
            )
        )
    head = ("PROCESS", "STATE", "SINCE", "RESTARTS", "MEMORY", "METRICS")
    return f"{table(head, rows)}\n{len(rows)} processes, {total / MEGABYTE:.0f} MB"


def closing_table(config: Config) -> str:
    """Return what a person needs to begin."""
    url, secrets = config.public_url, config.secrets
    payments = (
        "sandbox: pay with tok_visa, or tok_chargeDeclined"
        if config.sandboxed
        else "Stripe, with the STRIPE_KEY that was given"
    )
    rows = (
        ("open", f"{url}/"),
        ("seller", f"seller@example.com  {secrets['DEMO_SELLER_PASSWORD']}"),
        ("buyer", f"buyer@example.com   {secrets['DEMO_BUYER_PASSWORD']}"),
        ("staff", f"admin@example.com   {secrets['DEMO_STAFF_PASSWORD']}"),
        *(("admin" if not n else "", f"{url}/{name}/admin/") for n, name in enumerate(SERVICES)),
        *(("API" if not n else "", f"{url}/{name}/api/docs/") for n, name in enumerate(SERVICES)),
        ("payments", payments),
        ("logs", str(config.logs)),
    )
    lines = (f"  {bold(f'{name:<10}')}{value}" for name, value in rows)
    return "\n".join(
        ("", *lines, "", "  Ctrl-C stops everything. make status, make logs P=NAME", "")
    )
