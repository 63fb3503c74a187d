"""Real parts: a Docker engine, and every role as a process of its own."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest

from examples.demo.swarm import Peer, Swarm
from sandbox.engine import Engine
from tests.engine import cache_folder, docker_engine, runtime_image

__all__ = ["docker_engine", "runtime_image"]

WriteJob = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs an engine, and takes its time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture
def swarm(tmp_path: Path, docker_engine: Engine, runtime_image: str) -> Iterator[Swarm]:
    """A tracker that runs; peers are added by the test, and all of it ends with the test."""
    with ExitStack() as stack:
        running = Swarm(tmp_path, docker_engine.url, cache_folder(), stack)
        running.start_tracker()
        yield running


@pytest.fixture
def submitter(swarm: Swarm) -> Peer:
    """Someone with 10,000 credits."""
    peer = swarm.peer("submitter")
    swarm.grant(peer, 10_000)
    return peer


@pytest.fixture
def write_job(tmp_path: Path) -> WriteJob:
    """Writes a job file and its program; returns the file's path."""

    def write(program: str, parameters: str, **extra: str) -> Path:
        folder = tmp_path / "job"
        folder.mkdir()
        (folder / "work.py").write_text(program)
        command = ["python3", "work.py", *extra.get("arguments", "").split()]
        text = f"""
name = "test"
outputs = ["out.txt"]
[program]
image = "{extra.get("image", "runtime")}"
files = ["work.py"]
command = {json.dumps(command)}
{extra.get("program", "")}
[parameters]
{parameters}
[inputs]
{extra.get("inputs", "")}
[limits]
{extra.get("limits", 'cpu = "20s"')}
[verification]
policy = "{extra.get("policy", "pair")}"
"""
        path = folder / "job.toml"
        path.write_text(text)
        return path

    return write


def publish(swarm: Swarm, submitter: Peer, job_file: Path) -> str:
    """Submit a job and return its id."""
    answer = json.loads(swarm.run(submitter, "submit", str(job_file), "--json"))
    return str(answer["id"])


def finish(swarm: Swarm, submitter: Peer, job: str) -> dict[str, Any]:
    """Follow a job until it is over; returns its last view."""
    swarm.ask(submitter, "watch", job)
    view: dict[str, Any] = swarm.get(f"jobs/{job}")
    return view


def containers(engine: Engine, folder: Path) -> list[str]:
    """Names of the engine's containers that have anything of ``folder`` mounted."""
    client = docker.DockerClient(base_url=engine.url)
    try:
        found = client.containers.list(all=True, ignore_removed=True)
        return [
            str(container.name)
            for container in found
            if any(mount["Source"].startswith(str(folder)) for mount in container.attrs["Mounts"])
        ]
    finally:
        client.close()


def assert_books_balance(swarm: Swarm, minted: int = 10_000) -> None:
    """All accounts together hold what was minted."""
    ledger = swarm.get("status")["ledger"]
    accounts = swarm.get("accounts?limit=1000")["accounts"]
    held = sum(each["balance"] for each in accounts if each["account"] != "mint")
    assert ledger["total"] == 0
    assert held == ledger["minted"] == minted
