"""A tracker as a process, and our peers in this one."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from client.blobs import BlobStore
from client.peers.swarm import BlobSwarm
from tests.interop.tracking import tracker as tracker_process

Member = tuple[BlobSwarm, BlobStore]
Join = Callable[[], "asynccontextmanager[Member]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a program installs it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[str]:
    """The base URL of a tracker that takes any torrent."""
    with tracker_process(tmp_path / "tracker") as url:
        yield url


@pytest.fixture
def content() -> bytes:
    """What is exchanged: several pieces, the last one short."""
    return os.urandom(1_234_567)
