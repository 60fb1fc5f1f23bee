"""Write the figures of docs/benchmarks.md out of the raw numbers, and draw its pictures.

The text is written by hand. What stands between `<!-- relay -->` and `<!-- /relay -->` is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.plots import plot_all
from bench.results import RESULTS, Goal, Result, Table
from deploy.local.config import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
PICTURES = ROOT / "docs" / "images"


def write(results: Path = RESULTS, page: Path = PAGE, pictures: Path = PICTURES) -> None:
    found = {path.stem: Result.read(path) for path in sorted(results.glob("*.json"))}
    text = fill_in(page.read_text(encoding="utf-8"), found)
    page.write_text(text, encoding="utf-8")
    for path in (page, *plot_all(found, pictures)):
        print(path)


def fill_in(text: str, results: Mapping[str, Result]) -> str:
    """Return the page with each result between its marks; what has no result stays as it is."""
    for name, result in results.items():
        text = _between(text, name, section(result))
    goals = [(result, goal) for result in results.values() for goal in result.goals]
    return _between(text, "goals", markdown(goals_table(goals)))


def section(result: Result) -> str:
    parameters = ", ".join(f"{name}: {_shown(value)}" for name, value in result.parameters.items())
    parts = [f"`{result.command}`, {result.at[:10]} ({parameters})"]
    parts += [markdown(table) for table in result.tables]
    parts += result.notes
    facts = "; ".join(f"{name}: {value}" for name, value in result.machine.items())
    parts.append(f"<sub>{facts}</sub>")
    return "\n\n".join(parts)


def goals_table(goals: list[tuple[Result, Goal]]) -> Table:
    rows = [
        (
            goal.what,
            f"{'at most' if goal.is_most else 'at least'} {goal.wanted:g}",
            f"{goal.found:.3g}",
            goal.verdict,
            f"`{result.name}`",
        )
        for result, goal in goals
    ]
    return ("what", "wanted", "found", "", "benchmark"), rows


def markdown(table: Table) -> str:
    headings, rows = table
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return " / ".join(_shown(each) for each in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _between(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)
