from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.chromium import get_chromium
from tests.e2e.people import Person, signed_up
from tests.e2e.stack import PATIENCE_SECONDS, Stack
from tests.e2e.topics import Watcher, watching


def pytest_configure(config: pytest.Config) -> None:
    config.option.screenshot = "only-on-failure"  # into test-results/
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)


@pytest.fixture(scope="session")
def stack() -> Stack:
    stack = Stack.from_environment()
    try:
        httpx.get(stack.base_url, timeout=PATIENCE_SECONDS).raise_for_status()
    except httpx.HTTPError as exc:
        pytest.exit(f"Nothing answers at {stack.base_url} ({exc}). Start it with `make run`.", 1)
    return stack


@pytest.fixture(scope="session")
def base_url(stack: Stack) -> str:
    return stack.base_url


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict:
    chromium = get_chromium()
    return {
        "executable_path": chromium.executable_path,
        "args": chromium.arguments,
        "env": chromium.environment,
    }


@pytest.fixture
def new_page(new_context: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """Open the browser of one more person, signed out."""
    return lambda **options: new_context(**options).new_page()


@pytest.fixture
def sign_up(base_url: str) -> Iterator[Callable[[], Person]]:
    """Make a new person with an account."""
    with ExitStack() as people:
        yield lambda: people.enter_context(signed_up(base_url))


@pytest.fixture
def seller(sign_up: Callable[[], Person]) -> Person:
    return sign_up()


@pytest.fixture
def buyer(sign_up: Callable[[], Person]) -> Person:
    return sign_up()


@pytest.fixture
def topics(stack: Stack) -> Iterator[Watcher]:
    """See what comes onto the topics from now on."""
    with watching(stack) as watcher:
        yield watcher
