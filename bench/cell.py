"""What the two sandbox benchmarks share: an engine, the runtime image, and a trivial program."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import docker

from bench.row import Setting
from sandbox import image
from sandbox.engine import engine
from sandbox.runner import Limits, Program, Task

LIMITS = Limits(cpu_seconds=30, wall_seconds=60, memory_bytes=128 << 20, output_bytes=1 << 20)
TRIVIAL = ("sh", "-c", ":")
"""Starts a process that does nothing; the runtime image has no smaller program."""

TASK = Task(TRIVIAL, (), (), None)


@dataclass(frozen=True, slots=True)
class Place:
    """An engine that answers, with the runtime image in it."""

    url: str
    version: str
    image: str

    @property
    def program(self) -> Program:
        """A program without files."""
        return Program(self.image, (), LIMITS)

    def identity(self) -> str:
        """The engine's own name of the runtime image."""
        with docker.APIClient(base_url=self.url, version="auto") as api:
            found = image.find(api, self.image)
            assert found is not None
            return str(found["Id"])


@contextmanager
def place(setting: Setting) -> Iterator[Place]:
    """The machine's engine, or a private one. Raises ``UnavailableError``; installs none."""
    with engine(setting.cache / "engine", setting.say, install=False) as found:
        hash_ = image.runtime(found.url, setting.cache, setting.say)
        yield Place(found.url, found.version, hash_)
