"""End what an earlier run of this checkout left behind.

Parent-death signals leave nothing as a rule. This is for the rest: a process that had already
begun to double-fork, or that a debugger held.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "TICKETING_STACK"
SECONDS_TO_END = 5


def record(processes: Iterable[psutil.Process], path: Path) -> None:
    """Write down who runs: by pid and start time, since pids are used again."""
    rows = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            rows.append([process.pid, process.create_time()])
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(rows), encoding="utf-8")
    temporary.replace(path)


def recorded(path: Path) -> list[psutil.Process]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    found = []
    for pid, started in rows:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() == started:
                found.append(process)
    return found


def marked(directory: Path) -> list[psutil.Process]:
    """Return the processes whose environment says that they belong to the stack of `directory`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(directory):
                found.append(process)
    return found


def end_leftovers(directory: Path, record_path: Path) -> int:
    """End every process of an earlier run; return how many there were."""
    processes = {each.pid: each for each in (*recorded(record_path), *marked(directory))}
    for process in processes.values():
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(list(processes.values()), timeout=SECONDS_TO_END)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=SECONDS_TO_END)
    record_path.unlink(missing_ok=True)
    return len(processes)
