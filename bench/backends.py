"""What PostgreSQL's processes use that serve one web process, and no consumer or connector."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg

EVERY_SECONDS = 0.5


class Backends:
    """Adds up the processor time of the server processes that a web process is connected to.

    Django closes its connections after a minute, and the processes behind them end: they are looked
    at again and again, so that what they used is not lost but for the last moment.

    Args:
        url: of the database.
        web: the process that is connected to it, or whose children are.
    """

    def __init__(self, url: str, web: int) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._web = psutil.Process(web)
        self._is_ours: dict[int, bool] = {}
        self._used: dict[int, float] = {}

    async def watch(self) -> None:
        while True:
            self.read()
            await asyncio.sleep(EVERY_SECONDS)

    def read(self) -> float:
        """Return the seconds that all of them have used that were ever seen."""
        found = self._connection.execute(
            "SELECT pid, client_port FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND client_port > 0"
        ).fetchall()
        if any(pid not in self._is_ours for pid, _ in found):
            ports = self._ports()
            for pid, port in found:
                self._is_ours.setdefault(pid, port in ports)
        for pid, _ in found:
            if self._is_ours[pid]:
                with suppress(OSError):  # it has ended since
                    self._used[pid] = _seconds(pid)
        return sum(self._used.values())

    def close(self) -> None:
        self._connection.close()

    def _ports(self) -> set[int]:
        """Return the ports from which the web process is connected to anything."""
        return {
            each.laddr.port
            for process in (self._web, *self._web.children())
            for each in process.net_connections("tcp")
        }


def _seconds(pid: int) -> float:
    """Return the processor time of a process of one thread, finer than in hundredths of a second.

    https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
    """
    fields = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    return int(fields[0]) / 1e9
