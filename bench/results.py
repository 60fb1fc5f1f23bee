"""What came of a benchmark: its runs as they were, the figures that they mean, and the goals."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("confluent-kafka", "django", "django-mongodb-backend", "fastavro", "psycopg", "pymongo")
SERVERS = "Kafka 4.3.1, Debezium 3.7.0, PostgreSQL 16.2, MongoDB 6.0.5, one of each"


def describe_machine() -> dict[str, str]:
    """Say what it was measured on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processors": f"{os.cpu_count()} x {model or platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "servers": SERVERS,
    }


@dataclass(frozen=True, kw_only=True)
class Run:
    """One repetition.

    Args:
        name: who was measured.
        rate: events a second.
        cpu_us: microseconds of processor an event, by process.
        others: how many processors everything else on the machine kept busy meanwhile.
        values: whatever else was measured.
    """

    name: str
    events: int
    rate: float = 0.0
    cpu_us: dict[str, float] = field(default_factory=dict)
    others: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """Return the processor time of an event, all processes together."""
        return sum(self.cpu_us.values())


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What was to be reached.

    Args:
        what: a sentence.
        wanted: the bound.
        found: what was measured.
        is_most: whether the bound is an upper one.
    """

    what: str
    wanted: float
    found: float
    is_most: bool = False
    is_prize: bool = False

    @property
    def is_reached(self) -> bool:
        return self.found <= self.wanted if self.is_most else self.found >= self.wanted

    @property
    def verdict(self) -> str:
        if self.is_reached:
            return "won" if self.is_prize else "reached"
        return "not won" if self.is_prize else "MISSED"


Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The headings and the rows."""


@dataclass(kw_only=True)
class Result:
    """All of one benchmark."""

    name: str
    title: str
    command: str
    parameters: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: dict[str, str] = field(default_factory=describe_machine)

    def of(self, name: str) -> list[Run]:
        return [run for run in self.runs if run.name == name]

    def best(self, name: str) -> Run:
        """Return the quietest repetition, which is the fastest: noise only ever slows down."""
        return max(self.of(name), key=lambda run: run.rate)

    def names(self) -> list[str]:
        return list(dict.fromkeys(run.name for run in self.runs))

    def ratio(self, name: str, reference: str) -> float:
        return self.best(name).rate / self.best(reference).rate

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Result:
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["runs"] = [Run(**run) for run in fields["runs"]]
        fields["goals"] = [Goal(**goal) for goal in fields["goals"]]
        return cls(**fields)


def rates_table(result: Result, references: Mapping[str, Sequence[str]]) -> Table:
    """Return each competitor's rate and processor time, and its ratio to its references."""
    rows = []
    for name in result.names():
        best = result.best(name)
        ratios = [
            f"{result.ratio(name, other):.2f} of {other}" for other in references.get(name, ())
        ]
        parts = ", ".join(
            f"{who} {micros:.0f}" for who, micros in best.cpu_us.items() if micros >= 1
        )
        rows.append(
            (
                name,
                f"{best.rate:,.0f}",
                " ".join(f"{run.rate / 1000:.1f}k" for run in result.of(name)),
                f"{min(run.cpu for run in result.of(name)):.0f}",
                parts,
                "; ".join(ratios),
            )
        )
    headings = ("who", "events/s", "all repetitions", "CPU µs/event", "of it", "ratio")
    return headings, rows


def quantiles(values: Iterable[float], count: int = 1000) -> list[float]:
    """Return count + 1 values at even steps from the smallest to the largest."""
    ordered = sorted(values)
    if not ordered:
        return []
    last = len(ordered) - 1
    return [round(ordered[round(i * last / count)], 3) for i in range(count + 1)]


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> float:
    """Return by what share the smallest is below the largest."""
    return 1 - min(values) / max(values) if values and max(values) else 0.0


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def show(result: Result) -> str:
    """Return the result for a terminal."""
    lines = [f"\n{result.title}", f"  {result.command}   ({_parameters(result.parameters)})"]
    for headings, rows in result.tables:
        table = [tuple(headings), *(tuple(row) for row in rows)]
        widths = [max(len(str(row[i])) for row in table) for i in range(len(headings))]
        lines.append("")
        lines += [
            "  "
            + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in table
        ]
    lines.append("")
    lines += [f"  {note}" for note in result.notes]
    lines += [
        f"  {goal.verdict:>8}  {goal.what}: {goal.found:.2f} (wanted: "
        f"{'at most' if goal.is_most else 'at least'} {goal.wanted:g})"
        for goal in result.goals
    ]
    return "\n".join(line.rstrip() for line in lines)


def _parameters(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())
