from __future__ import annotations

PARTS = ("stack",)


def run(parts: list[str]) -> int:
    raise NotImplementedError
