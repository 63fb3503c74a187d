"""What the sandbox tests share: a real sandbox, and a bench that makes running a script short."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest

from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.engine import Engine
from sandbox.runner import Cell, Limits, Mount, Outcome, Program, Sandbox, Task
from tests.engine import docker_engine, dockerd, runtime_image

__all__ = ["docker_engine", "dockerd", "runtime_image"]

MIB = 1 << 20
LIMITS = Limits(cpu_seconds=5, wall_seconds=10, memory_bytes=64 * MIB, output_bytes=MIB)


@dataclass(slots=True)
class Bench:
    """Runs Python scripts as units, all in one folder of the test."""

    sandbox: Sandbox
    image: str
    folder: Path
    runs: int = 0

    async def open(self, script: str, **limits: float) -> Cell:
        """A cell whose program is ``script``."""
        (self.folder / "unit.py").write_text(script, encoding="utf-8")
        files = (Mount("unit.py", self.folder / "unit.py"),)
        return await self.sandbox.open(
            Program(self.image, files, replace(LIMITS, **limits))  # type: ignore[arg-type]
        )

    async def run(
        self, cell: Cell, *words: str, outputs: tuple[str, ...] = (), inputs: tuple[Mount, ...] = ()
    ) -> Outcome:
        """Run the script with ``words``; its standard output is the output "said"."""
        self.runs += 1
        into = self.folder / f"out-{self.runs}"
        into.mkdir()
        task = Task(("python3", "/job/unit.py", *words), inputs, ("said", *outputs), "said")
        return await cell.run(task, into)

    async def once(self, script: str, *outputs: str, **limits: float) -> Outcome:
        """Run ``script`` in a cell of its own."""
        cell = await self.open(script, **limits)
        try:
            return await self.run(cell, outputs=outputs)
        finally:
            await cell.close()


def said(outcome: Outcome) -> str:
    """What the unit printed."""
    return outcome.outputs["said"].read_text(encoding="utf-8")


def ours(api: docker.APIClient, work: Path) -> list[str]:
    """Ids of the containers that show a folder under ``work``."""
    return [
        entry["Id"]
        for entry in api.containers(all=True, filters={"label": "openswarm=1"})
        if any(str(mount.get("Source", "")).startswith(str(work)) for mount in entry["Mounts"])
    ]


@pytest.fixture
def settings(docker_engine: Engine, tmp_path: Path) -> DockerSettings:
    """Settings of a real sandbox that works in the test's folder."""
    return DockerSettings(docker_engine.url, tmp_path / "work")


@pytest.fixture
async def sandbox(settings: DockerSettings) -> AsyncIterator[DockerSandbox]:
    """A real sandbox."""
    made = DockerSandbox(settings)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def bench(sandbox: DockerSandbox, runtime_image: str, tmp_path: Path) -> Bench:
    """A bench on the real sandbox."""
    return Bench(sandbox, runtime_image, tmp_path)


@pytest.fixture
def api(docker_engine: Engine) -> Iterator[docker.APIClient]:
    """The engine's own interface, to look behind the sandbox."""
    with docker.APIClient(base_url=docker_engine.url, version="auto") as client:
        yield client
