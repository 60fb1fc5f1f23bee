"""The proxy does to a connection what it is told, and lets bytes through otherwise."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from deploy.local.ports import find_free
from prove import proxy
from prove.proxy import Mode, Proxy

SECONDS = 30


@pytest.fixture
def server_port() -> Iterator[int]:
    """Return the port of a server that sends back what it gets."""

    def echo(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1024):
                connection.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=echo, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def port() -> int:
    return find_free(())


@pytest.fixture
def links(port: int, server_port: int) -> Iterator[Proxy]:
    with proxy.running({"server": (port, server_port)}) as links:
        yield links


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"hello")
    return connection.recv(16)


def is_answered(connection: socket.socket) -> bool:
    try:
        return bool(ask(connection))
    except TimeoutError:
        return False


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(16) == b""
    except ConnectionError:
        return True


def test_bytes_pass(links: Proxy, port: int) -> None:
    with connect(port) as connection:
        assert ask(connection) == b"hello"


def test_cut_resets_what_is_connected_and_lets_nobody_in(links: Proxy, port: int) -> None:
    with connect(port) as connection:
        ask(connection)

        links.switch("server", Mode.CUT)

        assert is_closed(connection)
    with connect(port) as late:
        assert is_closed(late)


def test_stalled_connection_stays_and_goes_on_later(links: Proxy, port: int) -> None:
    with connect(port) as connection:
        ask(connection)

        links.switch("server", Mode.STALLED)
        # The proxy obeys when it has read the word: until then, bytes may still pass.
        connection.settimeout(1)
        while is_answered(connection):
            pass
        links.switch("server", Mode.OPEN)
        connection.settimeout(SECONDS)

        assert connection.recv(16) == b"hello"


def test_connections_are_taken_again_after_a_cut(links: Proxy, port: int) -> None:
    with connect(port) as connection:
        ask(connection)
        links.switch("server", Mode.CUT)
        assert is_closed(connection)

    links.switch("server", Mode.OPEN)

    def again() -> bytes:
        with contextlib.suppress(ConnectionError), connect(port) as connection:
            return ask(connection)
        return b""

    while again() != b"hello":
        pass


def test_a_server_that_resets_a_connection_resets_it_for_its_client(port: int) -> None:
    """As one does that is killed before it has read all that it was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ways = {"server": (port, listener.getsockname()[1])}
        with proxy.running(ways), connect(port) as client:
            server, _ = listener.accept()
            client.sendall(b"hello")
            server.recv(1)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            server.close()

            assert is_closed(client)
