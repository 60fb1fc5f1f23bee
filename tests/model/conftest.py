from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.model.processes import Stack, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("model")) as stack:
        yield stack
