"""Sets the clocks of running Python processes, which must have prove/injected on their path."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from prove.injected.sitecustomize import SIGNAL

INJECTED = Path(__file__).parent / "injected"
SECONDS_TO_OBEY = 60.0
SECONDS_BETWEEN_LOOKS = 0.02


def set_clocks(pids: Collection[int], ahead: float, directory: Path) -> None:
    """Set the clocks of these processes, and return when all of them go by it.

    Who has ended meanwhile, or is so young that it does not listen yet, is left out.

    Args:
        pids: of the processes.
        ahead: seconds before the true time; behind it if negative; 0 sets them right.
        directory: where they find it (sitecustomize.clocks).

    Raises:
        RuntimeError: one of them does not obey.
    """
    directory.mkdir(exist_ok=True)
    told: dict[int, Path] = {}
    for pid in pids:
        if not listens(pid):
            continue
        order = directory / str(pid)
        order.write_text(str(ahead), encoding="utf-8")
        with suppress(ProcessLookupError):
            os.kill(pid, SIGNAL)
        told[pid] = order
    deadline = time.monotonic() + SECONDS_TO_OBEY
    while told := {pid: order for pid, order in told.items() if order.exists() and listens(pid)}:
        if time.monotonic() > deadline:
            raise RuntimeError(f"These processes did not set their clocks: {sorted(told)}.")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def listens(pid: int) -> bool:
    """Whether a process is there and handles the signal, which would end it otherwise."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (SIGNAL - 1) & 1)
