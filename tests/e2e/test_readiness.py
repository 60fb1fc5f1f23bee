"""What Kubernetes asks each process before it lets the next one of a roll-out be replaced."""

from __future__ import annotations

import pytest

from deploy.local.ports import OBSERVED
from tests.e2e.stack import Stack, eventually, says_ok


@pytest.mark.parametrize("name", OBSERVED)
def test_a_process_that_works_says_that_it_is_ready(stack: Stack, name: str) -> None:
    address = f"http://127.0.0.1:{stack.config.ports[f'{name}-metrics']}/readyz"

    eventually(lambda: says_ok(address), what=f"{name} to be ready")
