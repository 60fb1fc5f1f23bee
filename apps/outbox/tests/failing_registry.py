"""A schema registry that is out of order."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread


class Failing(BaseHTTPRequestHandler):
    """A schema registry that answers nothing but 500."""

    def do_GET(self):
        body = b'{"error_code": 50001, "message": "out of order"}'
        self.send_response(500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep quiet."""


def failing_registry():
    """Run such a registry, and yield its address."""
    server = HTTPServer(("127.0.0.1", 0), Failing)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
