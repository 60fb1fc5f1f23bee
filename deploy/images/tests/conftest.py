from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deploy.images.engine import Engine, build_services
from deploy.images.tests.containers import PROCESSES, Containers, Gateway, gateway, run_all
from deploy.local.config import directories, load


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine.from_environment()


@pytest.fixture(scope="session")
def images(engine) -> tuple[str, str]:
    """Build the service image and the demo image; give their names."""
    _, cache = directories(os.environ)
    return build_services(engine, cache)


@pytest.fixture(scope="session")
def front() -> Iterator[Gateway]:
    """Keep the gateway running."""
    with gateway(load()) as running:
        yield running


@pytest.fixture(scope="session")
def containers(engine, images, front) -> Iterator[Containers]:
    """Start every process in a container, on the servers that the part was given."""
    every = Containers(engine, images[0], front.config)
    try:
        run_all(every)
        yield every
    finally:
        for entry in PROCESSES:
            engine.docker("rm", "--force", "--volumes", every.name(entry))
