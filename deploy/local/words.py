"""The words of stack.py: each makes one kind of entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pymongo

from deploy.local import probes
from deploy.local.config import Config
from deploy.local.entries import (
    Entry,
    Launch,
    Probe,
    Program,
    environment_of_service,
    mongodb_uri,
    python,
)
from deploy.local.errors import CannotContinue

MIGRATIONS = ("apps/**/migrations/*.py", "ticketing/settings/*.py", "requirements/base.txt")
SELLER = "seller@example.com"


def server(
    name: str,
    program: Program,
    *after: str,
    ready: Probe,
    wanted: Callable[[Config], bool] = lambda _config: True,
) -> Entry:
    return Entry(name, program, after, ready=ready, wanted=wanted)


def process(name: str, program: Program, *after: str, ready: Probe | None = None) -> Entry:
    """Return a process of ours, which serves its metrics and probes on a port of their own."""

    def launch(config: Config) -> Launch:
        plain = program.launch(config)
        address = f"127.0.0.1:{config.ports[f'{name}-metrics']}"
        return replace(plain, environment={**plain.environment, "METRICS_ADDRESS": address})

    return Entry(name, replace(program, launch=launch), after, ready=ready)


def once(name: str, program: Program, *after: str, unless_changed: tuple[str, ...] = ()) -> Entry:
    """Return a command that ends, run at each start unless its files are as they were."""
    return Entry(name, program, after, once=True, unless_changed=unless_changed)


def migrate(service: str, database: str) -> Entry:
    program = manage(service, "migrate", "--no-input", "--verbosity=1")
    return once(f"migrate-{service}", program, database, unless_changed=MIGRATIONS)


def web(service: str, *after: str) -> Entry:
    def launch(config: Config) -> Launch:
        return Launch(
            python(
                *("-m", "gunicorn", "ticketing.wsgi", "--access-logfile", "-"),
                *("--bind", f"127.0.0.1:{config.ports[f'{service}-web']}"),
                *("--bind", f"127.0.0.1:{config.ports[f'{service}-web-metrics']}"),
                # One process of threads: the pages wait for databases more than they compute.
                *("--worker-class", "gthread", "--workers", "1", "--threads", "8"),
                *("--graceful-timeout", "5", "--keep-alive", "75", "--no-control-socket"),
            ),
            environment_of_service(config, service),
        )

    ready = probes.answers(f"{service}-web", "/healthz")
    return process(f"{service}-web", Program(launch), *after, ready=ready)


def manage(service: str, *arguments: str) -> Program:
    """Return a management command of a service."""
    return Program(
        lambda config: Launch(
            python("manage.py", *arguments), environment_of_service(config, service)
        )
    )


def worker(service: str) -> Program:
    return celery(service, "worker", "--pool=threads", "--concurrency=4", "--without-mingle")


def beat(service: str) -> Program:
    return celery(service, "beat", "--pidfile=")


def celery(service: str, *arguments: str) -> Program:
    def launch(config: Config) -> Launch:
        command = python("-m", "celery", "-A", "ticketing.celery", *arguments, "--loglevel=info")
        return Launch(command, environment_of_service(config, service))

    return Program(launch)


def _seed(config: Config) -> Launch:
    # Only this place looks into another service's database: it sets a stage, as a person would by
    # copying the seller's id from auth's admin.
    with pymongo.MongoClient[dict[str, object]](mongodb_uri(config)) as client:
        seller = client["ticketing_auth"]["accounts_user"].find_one({"email": SELLER})
    if seller is None:
        raise CannotContinue(f"{SELLER} is gone from auth, so nobody can sell the demo tickets.")
    command = python("manage.py", "seed_demo", "--seller-id", str(seller["_id"]))
    return Launch(command, environment_of_service(config, "tickets"))


seed = Program(_seed)
