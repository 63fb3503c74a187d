"""Fixtures for tests that need a real Docker engine: import them in a conftest.

The machine's engine is used where there is one; otherwise a private engine is started (root on
Debian or Ubuntu), shared by every test process, and stopped by the last one.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import image
from sandbox.engine import Engine, engine


def cache_folder() -> Path:
    """Where engine data and the runtime image outlive a test run."""
    default = Path.home() / ".cache" / "openswarm-test"
    return Path(os.environ.get("SWARM_TEST_CACHE") or default)


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """A Docker engine that answers, for the whole session."""
    with engine(cache_folder() / "engine", print) as found:
        yield found


@pytest.fixture(scope="session")
def runtime_image(docker_engine: Engine) -> str:
    """Content hash of the runtime image, which the engine has."""
    return image.runtime(docker_engine.url, cache_folder(), print)


@pytest.fixture
def dockerd(docker_engine: Engine) -> None:
    """For tests that start engines of their own; looked for after the shared one was installed."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("needs root and dockerd")
