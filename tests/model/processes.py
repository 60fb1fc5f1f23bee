"""The services as processes of their own, and the provider beside them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pymongo
from psycopg import sql

from deploy.sandbox.webhooks import sign

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("tickets", "orders", "payments", "expiration")
KEY = f"sk_test_{secrets.token_hex(24)}"
SECRET = f"whsec_{secrets.token_hex(24)}"
GIVE_BACK_SECONDS = 600
PATIENCE_SECONDS = 60


class WorkerDied(Exception):
    """The process ended in the middle of a call."""


@dataclass(frozen=True)
class Reply:
    """What became of a call: exactly one of a result, a refusal, a crash or an error."""

    result: Any = None
    refused: str = ""
    crashed: bool = False
    error: str = ""
    records: tuple[dict[str, Any], ...] = ()

    @property
    def is_done(self) -> bool:
        return not (self.refused or self.crashed or self.error)


class Worker:
    """A service in a process that is started again when it was killed.

    Args:
        service: its name.
        environment: what its settings need.
        logs: a directory.
    """

    def __init__(self, service: str, environment: dict[str, str], logs: Path) -> None:
        self.service = service
        self._environment = environment
        self._log = logs / f"{service}.log"
        self._start()

    def plant(self, defect: str) -> None:
        """Go on in a process that has a bug; in one without any if there is no name."""
        self.stop()
        self._environment = self._environment | {"MODEL_DEFECT": defect}
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.model.worker"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def call(
        self,
        name: str,
        now: datetime,
        *,
        crash_at: int = 0,
        by_kill: bool = False,
        **arguments: Any,
    ) -> Reply:
        """Have the process do something, at a time, and die on the way if it is to.

        Raises:
            WorkerDied: of its own accord.
        """
        self.send(name, now, arguments, crash_at=crash_at, by_kill=by_kill)
        return self.answer(now, by_kill=by_kill)

    def send(
        self,
        name: str,
        now: datetime,
        arguments: dict[str, Any],
        *,
        crash_at: int = 0,
        by_kill: bool = False,
    ) -> None:
        """Have it begin; `answer` waits for its end."""
        assert self._process.stdin is not None
        order = {"call": name, "now": now.isoformat(), "arguments": arguments}
        line = json.dumps(order | {"crash_at": crash_at, "by_kill": by_kill})
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self, now: datetime, *, by_kill: bool = False) -> Reply:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            reply = json.loads(line)
            return Reply(**reply | {"records": tuple(reply["records"])})
        self.stop()
        if not by_kill:
            text = self._log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise WorkerDied(f"{self.service} died:\n{text}")
        self._end_transactions()
        self._start()
        # What it had committed lies in the outbox, and is sent by whoever comes after it.
        return Reply(crashed=True, records=self.call("drained", now).records)

    def _end_transactions(self) -> None:
        """Let go of what the process was writing, as mongod does by itself after some seconds."""
        if uri := self._environment.get("MONGODB_URI"):
            with pymongo.MongoClient[dict[str, Any]](uri) as client:
                client.admin.command("killAllSessions", [])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


class Provider:
    """The sandbox as a process, whose webhooks are carried by whoever asks for its events."""

    def __init__(self, data: Path) -> None:
        log = data / "log"
        data.mkdir(parents=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.sandbox", "--bind=127.0.0.1:0", f"--data={data}"],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"STRIPE_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET},
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "listening on " not in (text := log.read_text()):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise WorkerDied(f"The sandbox did not start:\n{text}")
            time.sleep(0.05)
        self.url = text.partition("listening on ")[2].split()[0]

    def ask(self, method: str, path: str, **params: Any) -> Any:
        data = urllib.parse.urlencode(params)
        query = f"?{data}" if data and method == "GET" else ""
        request = urllib.request.Request(
            f"{self.url}{path}{query}",
            data=data.encode() if method == "POST" else None,
            headers={"Authorization": f"Bearer {KEY}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            body = answer.read()
        return json.loads(body) if body.startswith(b"{") else None

    def list_all(self, kind: str, before: str = "") -> list[dict[str, Any]]:
        """Return what there is of a kind that is newer than the object of this id, oldest first."""
        found: list[dict[str, Any]] = []
        since = {"ending_before": before} if before else {}
        page = self.ask("GET", f"/v1/{kind}", limit=100, **since)
        found += page["data"]
        while page["has_more"]:
            more = (
                {"ending_before": page["data"][0]["id"]}
                if before
                else {"starting_after": page["data"][-1]["id"]}
            )
            page = self.ask("GET", f"/v1/{kind}", limit=100, **more)
            found = page["data"] + found if before else found + page["data"]
        return found[::-1]

    def newest(self, kind: str) -> str:
        page = self.ask("GET", f"/v1/{kind}", limit=1)["data"]
        return str(page[0]["id"]) if page else ""

    def fault(self, kind: str, operation: str) -> None:
        self.ask("POST", "/_sandbox/faults", kind=kind, operation=operation)

    def forget_faults(self) -> None:
        self.ask("DELETE", "/_sandbox/faults")

    def confirm(self, url: str, *, approve: bool) -> None:
        """Say yes or no on the bank's page, as its form does; one that is over changes nothing."""
        data = b"answer=approve" if approve else b"answer=refuse"
        request = urllib.request.Request(url, data=data, method="POST")

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_args: Any) -> None:
                return None

        try:
            urllib.request.build_opener(Stay).open(request, timeout=PATIENCE_SECONDS).close()
        except urllib.error.HTTPError as exc:
            exc.close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=PATIENCE_SECONDS)


def signature_of(payload: str) -> str:
    return sign(payload, SECRET, int(time.time()))


class Stack:
    """All of it: four services and the provider, for as many scenarios as there are.

    Args:
        directory: for logs and the provider's data.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.provider = Provider(directory / "provider")
        self.workers = {
            service: Worker(service, _environment(service, self.provider.url), directory)
            for service in SERVICES
        }

    def at_once(self, name: str, now: datetime) -> dict[str, Reply]:
        """Have all services do the same at the same time."""
        for worker in self.workers.values():
            worker.send(name, now, {})
        replies = {service: worker.answer(now) for service, worker in self.workers.items()}
        for service, reply in replies.items():
            assert reply.is_done, f"{service}: {name}: {reply}"
        return replies

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        self.provider.stop()


@contextmanager
def running(directory: Path) -> Iterator[Stack]:
    """Have a stack with its databases made, for as long as it is used."""
    stack = Stack(directory)
    try:
        stack.at_once("prepare", datetime.now(UTC))
        yield stack
    finally:
        stack.stop()


def _environment(service: str, provider_url: str) -> dict[str, str]:
    url, _, database = os.environ["DATABASE_URL"].rpartition("/")
    if service == "orders":
        _create_database(f"{url}/postgres", database)
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": f"ticketing.settings.{service}",
        "MONGODB_DATABASE": f"{os.environ['MONGODB_DATABASE']}_{service}",
        "STRIPE_KEY": KEY,
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "STRIPE_API_BASE": provider_url,
        "EXPIRATION_WINDOW_SECONDS": "900",
        "PAID_ORDER_CANCELLATION_SECONDS": str(GIVE_BACK_SECONDS),
    }


def _create_database(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if there.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
