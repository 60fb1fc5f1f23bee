"""The tables of docs/states.md, for the tests that hold the code against them."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "states.md"


def table_of(heading: str) -> list[dict[str, str]]:
    """Return the rows of the table below a heading, each by the names of its columns."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert found, f"{PAGE.name} has no section {heading!r}"
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    names, *rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [dict(zip(names, row, strict=False)) for row in rows]


def transitions_of(heading: str) -> dict[tuple[str, str], str]:
    """Return the next state by state and transition."""
    return {(row["state"], row["transition"]): row["next"] for row in table_of(heading)}
