"""The committed Caddyfile, in the real Caddy, in front of small services."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from deploy.local import servers
from deploy.local.config import SERVICES, directories, load
from deploy.local.ports import NAMES, find_free, variable
from deploy.local.probes import listens

BODY = b"0123456789" * 200


def serve(name, port):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("X-Service", name)
            for header in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"):
                self.send_header(f"Seen-{header}", self.headers.get(header, ""))
            self.end_headers()
            self.wfile.write(BODY)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.send_header("Content-Type", self.headers.get("Answer-As", "application/json"))
            self.send_header("X-Service", name)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gateway")
    taken = set()
    for _ in NAMES:
        taken.add(find_free(taken))
    ports = {variable(name): str(port) for name, port in zip(NAMES, taken, strict=True)}
    cache = str(directories(os.environ)[1])
    return load({"TICKETING_DIR": str(directory), "TICKETING_CACHE": cache} | ports)


@pytest.fixture(scope="module")
def services(config):
    started = {name: serve(name, config.ports[f"{name}-web"]) for name in SERVICES}
    yield started
    for server in started.values():
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def caddy(config):
    servers.prepare_gateway(config)
    launch = servers.gateway(config)
    log = (config.logs / "gateway.log").open("ab")
    process = subprocess.Popen(
        launch.command, env=dict(launch.environment), stdout=log, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + 20
        while not listens(config.ports["gateway"]):
            assert process.poll() is None, (config.logs / "gateway.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()


@pytest.fixture(scope="module")
def gateway(config, services):
    with caddy(config):
        yield


def get(config, path, data=None, **headers):
    url = f"http://127.0.0.1:{config.ports['gateway']}{path}"
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers, answer.read()


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/", "tickets"),
        ("/tickets/abc/", "tickets"),
        ("/api/tickets", "tickets"),
        ("/api/tickets/abc", "tickets"),
        ("/api/nothing", "tickets"),
        ("/favicon.ico", "tickets"),
        ("/api/users/signup", "auth"),
        ("/auth/signin/", "auth"),
        ("/api/orders", "orders"),
        ("/orders/abc/cancel/", "orders"),
        ("/api/payments", "payments"),
        ("/payments/webhook/", "payments"),
        ("/expiration/admin/", "expiration"),
        ("/static/site.css", "tickets"),
    ],
)
def test_each_path_reaches_its_service(config, gateway, path, service):
    _, headers, body = get(config, path)

    assert headers["X-Service"] == service
    assert body == BODY


def test_the_api_is_compressed_with_gzip_and_nothing_newer(config, gateway):
    accepted = {"Accept-Encoding": "zstd, br, gzip"}

    _, headers, body = get(config, "/api/tickets", **accepted)
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == BODY

    _, headers, _ = get(config, "/", **accepted)
    assert "Content-Encoding" not in headers


def test_services_learn_where_a_request_came_from_and_nobody_can_pretend(config, gateway):
    _, headers, _ = get(config, "/", **{"X-Forwarded-For": "6.6.6.6", "Host": "shop.example"})

    assert headers["Seen-X-Forwarded-For"] == "127.0.0.1"
    assert headers["Seen-X-Forwarded-Proto"] == "http"
    assert headers["Seen-X-Forwarded-Host"] == "shop.example"


@pytest.mark.parametrize("path", ["/api/users/signup", "/api/orders", "/auth/signin/"])
def test_a_huge_body_is_refused(config, gateway, path):
    # Unlike urllib, httpx reads the answer to what it could not send to its end.
    url = f"http://127.0.0.1:{config.ports['gateway']}{path}"
    answer = httpx.post(url, content=b"x" * 20 * 1024 * 1024, timeout=30)

    assert answer.status_code == 413
    if path.startswith("/api/"):
        assert answer.json()["errors"][0]["code"] == "too_large"
    else:
        assert "We cannot read that" in answer.text


def test_what_the_web_server_refuses_by_itself_has_the_shape_of_the_api(config, gateway):
    status, headers, body = get(config, "/api/orders", b"{", **{"Answer-As": "text/html"})
    assert (status, headers["Content-Type"]) == (400, "application/json")
    assert json.loads(body)["errors"][0]["code"] == "bad_request"

    status, _, body = get(config, "/orders/", b"{", **{"Answer-As": "text/html"})
    assert status == 400
    assert b"We cannot read that" in body


@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8"])
def test_what_a_service_refuses_passes_as_it_is(config, gateway, kind):
    status, headers, body = get(config, "/api/orders", b"{", **{"Answer-As": kind})

    assert (status, headers["Content-Type"], body) == (400, kind, b"{}")


def test_while_a_service_is_down_pages_and_api_say_so_and_static_files_come_from_another(
    config, services, tmp_path
):
    down = replace(config, ports={**config.ports, "tickets-web": find_free(())})
    down = replace(down, ports={**down.ports, "gateway": find_free(())})

    with caddy(down):
        status, headers, body = get(down, "/")
        assert (status, headers["Cache-Control"]) == (502, "no-store")
        assert b"Back in a moment" in body

        status, headers, body = get(down, "/api/tickets")
        assert (status, headers["Content-Type"]) == (502, "application/json")
        assert b'{"errors":[{"message":' in body

        _, headers, _ = get(down, "/static/site.css")
        assert headers["X-Service"] == "auth"
