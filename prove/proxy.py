"""Stands between the services and one server each, and is told to disturb the connections.

A process of its own, so that the load does not slow the links: `python -m prove.proxy
mongod:20001:20002 kafka:20003:20004` listens on each first port for the server on the second, and
reads lines such as `mongod slow` from its standard input. It ends with that input.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

CHUNK = 64 * 1024
SLOW_SECONDS = 0.2
HOST = "127.0.0.1"
READY = "ready"


class Mode(StrEnum):
    OPEN = "open"
    CUT = "cut"
    """What is connected is reset, and nobody is let in."""
    SLOW = "slow"
    """Each chunk is held for SLOW_SECONDS in each direction."""
    STALLED = "stalled"
    """Half open: connections stay and are taken, and no byte passes."""


class Link:
    """The way to one server.

    Args:
        name: of the server.
        port: where it listens for clients.
        server_port: where the server listens.
    """

    def __init__(self, name: str, port: int, server_port: int) -> None:
        self.name = name
        self.port = port
        self.server_port = server_port
        self.mode = Mode.OPEN
        self.passing = asyncio.Event()
        self.passing.set()
        self.writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        await asyncio.start_server(self.serve, HOST, self.port)

    def switch(self, mode: Mode) -> None:
        self.mode = mode
        if mode is Mode.STALLED:
            self.passing.clear()
        else:
            self.passing.set()
        if mode is Mode.CUT:
            for writer in self.writers:
                writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.CUT:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(HOST, self.server_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back}
        self.writers |= both
        try:
            await asyncio.gather(self.pass_on(reader, back), self.pass_on(there, writer))
        finally:
            self.writers -= both
            for each in both:
                each.transport.abort()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                await self.passing.wait()
                if self.mode is Mode.SLOW:
                    await asyncio.sleep(SLOW_SECONDS)
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
        except OSError:
            # Reset by one side: the other one hears of it, instead of waiting for ever.
            writer.transport.abort()


async def run(links: Mapping[str, Link]) -> None:
    for link in links.values():
        await link.listen()
    print(READY, flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def obey() -> None:
        for line in sys.stdin:
            name, mode = line.split()
            loop.call_soon_threadsafe(links[name].switch, Mode(mode))
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=obey, daemon=True).start()
    await ended.wait()


class Proxy:
    """The proxy's process, as its owner sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def switch(self, name: str, mode: Mode) -> None:
        """Let the link to a server do this from now on."""
        if self.process.stdin is not None:
            self.process.stdin.write(f"{name} {mode}\n")
            self.process.stdin.flush()


@contextmanager
def running(ways: Mapping[str, tuple[int, int]]) -> Iterator[Proxy]:
    """Keep a proxy running.

    Args:
        ways: for each server the port for its clients, and its own.
    """
    words = [f"{name}:{port}:{server}" for name, (port, server) in ways.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "prove.proxy", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None or process.stdout.readline().strip() != READY:
            raise RuntimeError("The proxy did not start.")
        yield Proxy(process)
    finally:
        process.kill()
        process.communicate()


def main(words: list[str]) -> None:
    links = {}
    for word in words:
        name, port, server_port = word.split(":")
        links[name] = Link(name, int(port), int(server_port))
    asyncio.run(run(links))


if __name__ == "__main__":
    main(sys.argv[1:])
