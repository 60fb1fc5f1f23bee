"""The directory is a package by itself, under whatever name it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.outbox import apps

PACKAGE = Path(apps.__file__).parent
SOURCES = sorted(
    path.relative_to(PACKAGE)
    for path in PACKAGE.rglob("*")
    if path.suffix in {".py", ".html"} and path.relative_to(PACKAGE).parts[0] != "tests"
)


@pytest.mark.parametrize("name", ["apps.outbox", "ticketing"])
def test_no_source_says_what_it_is_called_here(name):
    named = [str(path) for path in SOURCES if name in (PACKAGE / path).read_text(encoding="utf-8")]

    assert named == []
