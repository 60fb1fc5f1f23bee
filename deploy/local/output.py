"""What the stack tells a person: progress, one log of everything, tables."""

from __future__ import annotations

import os
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

# Of the 256 colours, ones that can be read on black and on white.
COLOURS = (32, 33, 35, 36, 64, 67, 70, 98, 104, 130, 133, 136, 139, 166, 168, 172, 173, 179, 31, 37)
NAME_WIDTH = 20
LONGEST_LINE = 2000
_printing = threading.Lock()


def coloured(stream: TextIO = sys.stdout) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR; elsewhere only with FORCE_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    return stream.isatty() or bool(os.environ.get("FORCE_COLOR"))


def colour_of(name: str) -> int:
    return COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]


def paint(text: str, colour: int) -> str:
    return f"\x1b[38;5;{colour}m{text}\x1b[0m" if coloured() else text


def bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if coloured() else text


def say(text: str) -> None:
    with _printing:
        print(text, flush=True)


def log_line(name: str, text: str) -> str:
    return f"{paint(f'{name:<{NAME_WIDTH}}|', colour_of(name))} {text[:LONGEST_LINE]}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows in columns as wide as their widest cell."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def duration(seconds: float) -> str:
    minute, hour, day = 60, 3600, 86400
    if seconds < minute:
        return f"{seconds:.0f} s"
    if seconds < hour:
        return f"{seconds // minute:.0f} min {seconds % minute:.0f} s"
    if seconds < day:
        return f"{seconds // hour:.0f} h {seconds % hour // minute:.0f} min"
    return f"{seconds // day:.0f} d {seconds % day // hour:.0f} h"


def last_lines(path: Path, count: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


class Follower:
    """New lines of several log files, which may not be there yet, or be rotated away."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.paths = dict(paths)
        self.places: dict[str, tuple[int, int]] = {}
        self.rests: dict[str, bytes] = {}
        for name, path in self.paths.items():
            if path.exists():
                stat = path.stat()
                self.places[name] = (stat.st_ino, stat.st_size)

    def new_lines(self) -> Iterator[tuple[str, str]]:
        """Give (name, line) for every line that was completed since the last call."""
        for name, path in self.paths.items():
            try:
                with path.open("rb") as file:
                    stat = os.fstat(file.fileno())
                    inode, place = self.places.get(name, (stat.st_ino, 0))
                    if inode != stat.st_ino or place > stat.st_size:
                        place = 0
                    file.seek(place)
                    content = self.rests.pop(name, b"") + file.read()
                    self.places[name] = (stat.st_ino, file.tell())
            except FileNotFoundError:
                continue
            *lines, rest = content.split(b"\n")
            if rest:
                self.rests[name] = rest
            for line in lines:
                yield name, line.decode(errors="replace")
