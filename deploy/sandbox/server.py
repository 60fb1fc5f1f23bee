"""The HTTP server around the API: threads of the standard library, one process, no dependency."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from deploy.sandbox import bank, pages
from deploy.sandbox.api import Answer, Api, Request
from deploy.sandbox.bank import Bank
from deploy.sandbox.errors import ApiError
from deploy.sandbox.faults import Faults
from deploy.sandbox.forms import decode
from deploy.sandbox.provider import Provider
from deploy.sandbox.store import Store
from deploy.sandbox.webhooks import Deliverer

LARGEST_BODY = 256 * 1024
HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json"}


class Sandbox(ThreadingHTTPServer):
    """The server, its store and its deliverer of webhooks.

    Args:
        address: host and port; port 0 takes a free one.
        data: the directory of the store.
        key: the secret key that is accepted.
        webhook_url: where events go; "" delivers none.
        webhook_secret: what signs them.
        public_url: where buyers' browsers reach this server; "" is where it listens.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(  # noqa: PLR0913 (all named)
        self,
        address: tuple[str, int],
        *,
        data: Path,
        key: str,
        webhook_url: str,
        webhook_secret: str,
        public_url: str = "",
    ) -> None:
        self.store = Store(data)
        self.faults = Faults()
        self.deliverer = Deliverer(self.store, webhook_url, webhook_secret)
        super().__init__(address, Handler)  # closes again what it cannot bind
        public_url = public_url or f"http://{address[0]}:{self.server_port}"
        provider = Provider(
            self.store,
            self.faults,
            delivers=bool(webhook_url),
            bank_url=f"{public_url}{bank.PATH}",
        )
        self.api = Api(
            self.store, provider, self.faults, key=key, wake_webhooks=self.deliverer.wake
        )
        self.bank = Bank(self.store, provider, wake_webhooks=self.deliverer.wake)
        self.deliverer.start()

    def server_close(self) -> None:
        super().server_close()
        self.deliverer.stop()


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, writes each answer in one piece."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 75
    server: Sandbox

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self._write(Answer(413, '{"error": {"message": "The body is too large."}}', JSON))
            return
        body = self.rfile.read(int(length))
        headers = {name.title(): value for name, value in self.headers.items()}
        request = Request(self.command, path, query, headers, body)
        if path.startswith("/v1/"):
            answer = self.server.api.answer(request)
        elif path.startswith(f"{bank.PATH}/"):
            answer = self.server.bank.answer(request)
        elif path.startswith("/_sandbox/"):
            answer = self._control(request)
        elif path == "/" and self.command == "GET":
            answer = Answer(200, pages.payments(self.server.store), HTML)
        else:
            answer = Answer(404, "Not Found", HTML)
        self._write(answer)

    def _control(self, request: Request) -> Answer:
        """Serve the controls for tests: /_sandbox/faults, /_sandbox/webhooks, /_sandbox/health."""
        if request.path == "/_sandbox/health":
            return Answer(200, '{"status": "ok"}', JSON)
        try:
            self.server.api.check_key(request.headers)
            if request.path == "/_sandbox/webhooks" and request.method == "GET":
                return Answer(200, json.dumps({"data": self.server.store.deliveries()}), JSON)
            if request.path == "/_sandbox/faults":
                if request.method == "POST":
                    self.server.faults.add(_control_params(request))
                elif request.method == "DELETE":
                    self.server.faults.clear()
                return Answer(200, json.dumps({"data": self.server.faults.pending()}), JSON)
        except ApiError as exc:
            return Answer(exc.status, json.dumps(exc.body("req_control")), JSON)
        return Answer(404, '{"error": {"message": "No such control."}}', JSON)

    def _write(self, answer: Answer) -> None:
        if answer.lost:
            time.sleep(answer.hang_seconds)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = answer.body.encode()
        reason = HTTPStatus(answer.status).phrase
        lines = [
            f"HTTP/1.1 {answer.status} {reason}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
            f"Content-Length: {len(body)}",
            *(["Connection: close"] if self.close_connection else []),
        ]
        head = "\r\n".join(lines).encode("latin-1", "replace")
        self.log_message('"%s" %s', self.requestline, answer.status)
        try:
            self.wfile.write(head + b"\r\n\r\n" + body)
        except OSError:
            self.close_connection = True  # whoever asked has gone


def _control_params(request: Request) -> dict[str, object]:
    text = request.body.decode("utf-8", "replace")
    if "json" not in request.headers.get("Content-Type", ""):
        return decode(text)
    try:
        params = json.loads(text)
    except ValueError as exc:
        raise ApiError(400, "The body is not JSON.") from exc
    if not isinstance(params, dict):
        raise ApiError(400, "The body must be an object.")
    return params
