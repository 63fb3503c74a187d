"""What every test here starts from: a tracker, and something to exchange."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.processes import tracker as tracker_process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a program installs it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[str]:
    """The base URL of a tracker that takes any torrent."""
    with tracker_process(tmp_path / "tracker", "--mode", "open") as url:
        yield url


@pytest.fixture
def content() -> bytes:
    """What is exchanged: several pieces, the last one short."""
    return os.urandom(1_234_567)
