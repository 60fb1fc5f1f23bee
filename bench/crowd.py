"""Many clients in one process, by plain HTTP/1.1: asking must cost little beside answering."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

HOST = "127.0.0.1"
PATH = "/api/orders"
CREATED = 201
REFUSED = 400
BROKEN = 0
"""In a status's place: the connection ended without an answer."""
SECONDS_FOR_A_SCENE = 900.0


@dataclass(frozen=True)
class Buyer:
    """Who buys.

    Args:
        account: the user's id.
        token: of the session.
        wanted: the tickets that are tried, one after the other, till one is theirs.
    """

    account: str
    token: str
    wanted: Sequence[str]


@dataclass(frozen=True)
class Attempt:
    """One request and its answer; instants are of `time.perf_counter`."""

    buyer: Buyer
    ticket: str
    sent: float
    came: float
    status: int
    body: bytes

    @property
    def seconds(self) -> float:
        return self.came - self.sent

    @property
    def is_reserved(self) -> bool:
        return self.status == CREATED


def request_of(buyer: Buyer, ticket: str) -> bytes:
    """Return the bytes of a request, the same ones for whoever is asked."""
    body = json.dumps({"ticketId": ticket, "buyerId": buyer.account}).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nCookie: session={buyer.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def read_answer(received: bytes) -> tuple[int, bytes, bool] | None:
    """Return status, body and whether the connection stays open; None while more is to come.

    Raises:
        ValueError: the answer does not say how long it is.
    """
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if "content-length" not in headers:
        raise ValueError(f"An answer without a Content-Length: {first}")
    length = int(headers["content-length"])
    if len(rest) < length:
        return None
    status = int(first.split(" ", 2)[1])
    return status, rest[:length], headers.get("connection", "").lower() != "close"


class Connection(asyncio.Protocol):
    """One connection, on which one request at a time is under way."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport
        self._received = b""
        self._answer: asyncio.Future[tuple[float, int, bytes]] | None = None

    @classmethod
    async def to(cls, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, HOST, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (for the type checker)
        self._transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            read = read_answer(self._received)
        except ValueError as exc:
            self._finish(BROKEN, str(exc).encode())
            self.close()
            return
        if read is not None:
            status, body, self.is_open = read
            self._finish(status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._finish(BROKEN, repr(exc or "closed without an answer").encode())

    def close(self) -> None:
        self.is_open = False
        self._transport.close()

    async def ask(self, buyer: Buyer, ticket: str) -> Attempt:
        request = request_of(buyer, ticket)
        if not self.is_open:
            now = time.perf_counter()
            return Attempt(buyer, ticket, now, now, BROKEN, b"closed before it was asked")
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        sent = time.perf_counter()
        self._transport.write(request)
        came, status, body = await self._answer
        return Attempt(buyer, ticket, sent, came, status, body)

    def _finish(self, status: int, body: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((time.perf_counter(), status, body))


async def all_at_once(port: int, buyers: Sequence[Buyer]) -> list[Attempt]:
    """Let each buyer ask for one ticket on a connection of their own, in this sequence.

    All connections are open before the first request is sent, and each buyer leaves with the
    answer: a server takes a thousand connections at once, and has others, too.
    """
    async with asyncio.timeout(SECONDS_FOR_A_SCENE):
        connections = [await Connection.to(port) for _ in buyers]
        try:
            asking = [
                asyncio.create_task(_ask_and_leave(connection, buyer))
                for connection, buyer in zip(connections, buyers, strict=True)
            ]
            return await asyncio.gather(*asking)
        finally:
            for connection in connections:
                connection.close()


async def _ask_and_leave(connection: Connection, buyer: Buyer) -> Attempt:
    attempt = await connection.ask(buyer, buyer.wanted[0])
    connection.close()
    return attempt


async def by_turns(port: int, buyers: Iterable[Buyer], count: int) -> list[Attempt]:
    """Let the buyers ask on `count` connections; the next one comes when one is through."""
    queue = iter(buyers)
    attempts: list[Attempt] = []
    async with asyncio.timeout(SECONDS_FOR_A_SCENE):
        connections = [await Connection.to(port) for _ in range(count)]
        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(_serve(port, connection, queue, attempts))
    return attempts


async def _serve(
    port: int, connection: Connection, queue: Iterator[Buyer], attempts: list[Attempt]
) -> None:
    for buyer in queue:
        for ticket in buyer.wanted:
            if not connection.is_open:
                connection.close()
                connection = await Connection.to(port)
            attempt = await connection.ask(buyer, ticket)
            attempts.append(attempt)
            if attempt.is_reserved:
                break
    connection.close()
