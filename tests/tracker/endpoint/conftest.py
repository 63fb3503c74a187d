"""Fixtures for tests of the APIs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tracker.endpoint.serving import Serving, served


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    """APIs on a real port."""
    async with served(tmp_path / "endpoint") as running:
        yield running
