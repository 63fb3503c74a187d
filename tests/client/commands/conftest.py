"""A real tracker in a process of its own, and users with empty homes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.client.commands.shell import Shell


@dataclass(frozen=True, slots=True)
class Tracker:
    """A running tracker."""

    url: str
    data: Path


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    data = tmp_path_factory.mktemp("tracker")
    words = ["tracker", "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-m", "openswarm.cli", *words], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"http://\S+", line):
                    yield Tracker(found[0], data)
                    break
            else:
                raise AssertionError("the tracker did not start")
        finally:
            process.terminate()


@pytest.fixture
def shell(tracker: Tracker, tmp_path: Path) -> Shell:
    """A user without credits."""
    return Shell(tmp_path / "home", tracker.url)


@pytest.fixture
def rich_shell(tracker: Tracker, shell: Shell) -> Shell:
    """A user with 1,000 credits."""
    shell.good("tracker", "grant", shell.key(), "1000", "--data", tracker.data)
    return shell
