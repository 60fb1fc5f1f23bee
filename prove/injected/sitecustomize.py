"""What every Python process of the run imports first: its clock can be set from outside.

At SIGNAL a process reads from the file with its id by how many seconds its clock is to be ahead of
the true one, sets it, and removes the file. The time of day is what moves, wherever Python code
asks for it; what only goes on (time.monotonic) stays as it is, as when a real clock is set.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from time_machine import Traveller

SIGNAL = signal.SIGRTMIN + 1  # which nobody else uses
STACK = "TICKETING_STACK"


def clocks(stack: Path) -> Path:
    """Return where the processes of a stack find what their clocks are to be set to."""
    return stack / "run" / "clocks"


def listen(directory: Path) -> None:
    """Set this process's clock, and that of what it forks, whenever SIGNAL comes."""
    traveller: Traveller | None = None
    ahead = 0.0

    def obey(_number: int, _frame: object) -> None:
        nonlocal traveller, ahead
        order = directory / str(os.getpid())
        if not order.exists():
            return
        wanted = float(order.read_text(encoding="utf-8"))
        traveller = traveller or start_travelling()
        traveller.shift(wanted - ahead)
        ahead = wanted
        order.unlink()

    signal.signal(SIGNAL, obey)


def start_travelling() -> Traveller:
    """Take the clock over, which shows the true time still."""
    # time-machine is a plug-in of pytest, too, and would load it here.
    cast("dict[str, Any]", sys.modules).setdefault("pytest", None)
    import time_machine  # noqa: PLC0415 (only in processes whose clock is set)

    # A thread that asks for the time between the steps of this would be refused.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1.0)
    try:
        traveller = time_machine.travel(time.time()).start()
        time.time()  # from here on it ticks
    finally:
        sys.setswitchinterval(interval)
    return traveller


if __name__ == "sitecustomize" and STACK in os.environ:
    listen(clocks(Path(os.environ[STACK])))
