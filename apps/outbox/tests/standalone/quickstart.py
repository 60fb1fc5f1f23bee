"""Following the README to the letter, as a stranger would, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
CHAPTER = "## From nothing to a first event"
STORES = {"postgresql": "on PostgreSQL", "mongodb": "on MongoDB"}
FLAGS = re.MULTILINE | re.DOTALL
SECONDS = 120
BIN = Path(sys.executable).parent
# What a shell knows that has never seen this project.
OURS = re.compile("DJANGO_|PYTHON|VIRTUAL_ENV|COV|PYTEST|TICKETING")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code, and the line that leads to it."""

    language: str
    intro: str
    text: str

    @property
    def path(self):
        return re.findall(r"`([^`]+)`", self.intro)[-1]


def blocks(store):
    """Return the chapter's blocks of code for one store, in their order."""
    chapter = README.read_text(encoding="utf-8").partition(CHAPTER)[2].partition("\n## ")[0]
    found = re.findall(
        r"^(\S[^\n]*)\n\n```(sh|python|json)\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL
    )
    others = [words for name, words in STORES.items() if name != store]
    return [
        Block(language=language, intro=intro, text=text)
        for intro, language, text in found
        if not any(words in intro for words in others)
    ]


class Stranger:
    """Somebody with an empty folder, who replaces the README's addresses by those of their own.

    Args:
        folder: where everything happens.
        replacements: text of the README, and what stands in its place.
    """

    def __init__(self, folder, replacements):
        self.folder = folder
        self.replacements = replacements
        kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
        # Not ours, or pip would install into it.
        path = [each for each in os.environ["PATH"].split(":") if each != str(BIN)]
        self.environment = kept | {"PATH": ":".join([f"{folder}/.venv/bin", *path])}

    def have_packages_at_hand(self):
        """Let pip find in its new environment what ours has, instead of fetching it again."""
        self.run(f"{sys.executable} -m venv --without-pip .venv")
        (site,) = self.folder.glob(".venv/lib/python3.*/site-packages")
        (site / "at_hand.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
        pip = self.folder / ".venv/bin/pip"
        pip.write_text('#!/bin/sh\nexec python -m pip "$@"\n', encoding="utf-8")
        pip.chmod(0o755)
        return site

    def run(self, script):
        done = self._shell(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def succeeds_soon(self, script):
        deadline = time.monotonic() + SECONDS
        while (done := self._shell(script)).returncode != 0:
            assert time.monotonic() < deadline, f"{script}\n{done.stdout}"
        return done.stdout

    def follow(self, block):
        """Write the block's file, or run its commands."""
        text = self.adapted(block.text)
        if block.language == "sh":
            return self.run(text)
        path = self.folder / self.adapted(block.path)
        path.parent.mkdir(exist_ok=True)
        before = path.read_text(encoding="utf-8") if "end of" in block.intro else ""
        path.write_text(before + text, encoding="utf-8")
        return None

    @contextmanager
    def terminals(self, block):
        """Keep each line of the block running."""
        with ExitStack() as stack:
            for number, line in enumerate(self.adapted(block.text).splitlines()):
                output = stack.enter_context((self.folder / f"terminal-{number}").open("wb"))
                stack.enter_context(self._running(line, output))
            yield

    def adapted(self, text):
        for theirs, ours in self.replacements.items():
            text = text.replace(theirs, ours)
        return text

    def _shell(self, script):
        return subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @contextmanager
    def _running(self, line, output):
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=SECONDS)
            finally:
                process.kill()
