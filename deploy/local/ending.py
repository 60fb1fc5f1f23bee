"""How processes that were started here are ended."""

from __future__ import annotations

import subprocess


def end(process: subprocess.Popen[bytes], *, within: float) -> None:
    """Ask a process to end, and kill it if it has not within so many seconds."""
    process.terminate()
    try:
        process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
