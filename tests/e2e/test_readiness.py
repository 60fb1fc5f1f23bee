"""What Kubernetes asks each process before it lets the next one of a roll-out be replaced."""

from __future__ import annotations

import httpx
import pytest

from deploy.local.ports import OBSERVED
from tests.e2e.stack import Stack, eventually


@pytest.mark.parametrize("name", OBSERVED)
def test_a_process_that_works_says_that_it_is_ready(stack: Stack, name: str) -> None:
    address = f"http://127.0.0.1:{stack.config.ports[f'{name}-metrics']}/readyz"

    def is_ready() -> bool:
        try:
            return httpx.get(address, timeout=20).is_success
        except httpx.TransportError:
            return False

    eventually(is_ready, what=f"{name} to be ready")
