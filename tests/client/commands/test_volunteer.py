"""A volunteer, as the command runs it, computes a job; watch and results show what came of it."""

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from client.commands.invocation import Invocation
from client.commands.volunteer import Offer, Size, serve, usable_cpus, usable_memory
from client.config import Config
from client.tracker_api import TrackerApi
from sandbox.fake import FakeSandbox, Play, Played, Stage
from tests.client.commands.shell import BARE, IMAGE, Shell
from workunits.ids import JobId

OFFER = Offer(cpus=2, memory_bytes=1 << 30, disk_bytes=1 << 30, validator=False)


async def square(stage: Stage) -> Played:
    """Squares 2 and 3, and fails with 4."""
    number = int(stage.task.command[1])
    (stage.out / "out").write_text(f"{number * number}\n")
    return Played(status=number // 4)


async def large(stage: Stage) -> Played:
    """More than travels inline."""
    (stage.out / "out").write_bytes(stage.task.command[1].encode() * 100_000)
    return Played()


@asynccontextmanager
async def volunteering(shell: Shell, home: Path, play: Play) -> AsyncIterator[asyncio.Task[None]]:
    config = Config.make(home=home, tracker=shell.tracker, environment={"HOME": str(home)})
    sandbox = FakeSandbox(play, frozenset({IMAGE}))
    async with asyncio.TaskGroup() as group:
        worker = group.create_task(serve(Invocation(config, json=True), OFFER, sandbox))
        yield worker
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker
        await sandbox.close()


async def submit(shell: Shell, text: str = BARE) -> str:
    said = await shell.arun("submit", shell.job_file(text), "--json")
    assert said.status == 0, said
    return str(said.json["id"])


async def test_a_job_is_computed_watched_and_brought_home(
    rich_shell: Shell, tmp_path: Path
) -> None:
    job = await submit(rich_shell)
    out = tmp_path / "out"
    async with volunteering(rich_shell, tmp_path / "volunteer", square):
        watched = await rich_shell.arun("watch", job[:8])
        assert watched.status == 1
        assert "2 of 3 units accepted, 1 failed" in watched.err
        said = await rich_shell.arun("results", job[:8], out, "--json")
        peers = (await rich_shell.arun("peers", "--connected", "--json")).json
        assert [peer["role"] for peer in peers] == ["volunteer"]
        key = peers[0]["key"]
        assert (await rich_shell.arun("credits", key[:8], "--json")).json["balance"] == 3
        status = await rich_shell.arun("status", job[:8])
        assert "x=4" in status.out
        assert "exit status 1" in status.out
    assert said.json | {"outputs": 2} == {
        "job": job,
        "state": "finished",
        "units": 3,
        "accepted": 2,
        "failed": 1,
        "settled": 0,
        "outputs": 2,
        "missing": 0,
        "complete": False,
    }
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["parameters"] for row in rows] == [{"x": "2"}, {"x": "3"}, {"x": "4"}]
    assert [row["state"] for row in rows] == ["accepted", "accepted", "failed"]
    for row in rows[:2]:
        assert row["peers"] == [key]
        number = int(row["parameters"]["x"])
        assert (out / row["outputs"]["out"]["path"]).read_text() == f"{number * number}\n"


async def test_results_that_are_not_final_are_announced_and_not_handed_out(
    rich_shell: Shell, tmp_path: Path
) -> None:
    economy = 'policy = "economy"\n[verification.settings]\nreferee = 0\n'
    job = await submit(rich_shell, BARE.replace('policy = "trusted"\n', economy))
    finish = asyncio.Event()

    async def slow(stage: Stage) -> Played:
        if stage.task.command[1] == "4":
            await finish.wait()
        return await large(stage)

    out = tmp_path / "out"
    async with (
        volunteering(rich_shell, tmp_path / "one", slow),
        volunteering(rich_shell, tmp_path / "two", slow),
        asyncio.timeout(60),
    ):
        async with TrackerApi.connect(rich_shell.tracker) as tracker:
            async for view in tracker.events(JobId(bytes.fromhex(job))):
                if view.counts.settled == 2:
                    break
        assert "2 settled, final when all are" in (await rich_shell.arun("status", job)).out
        said = await rich_shell.arun("results", job, out)
        assert said.status == 0
        assert "0 outputs of 0 accepted units" in said.out
        assert "2 units more are settled" in said.err
        assert "`batch`" in said.err
        finish.set()
        assert (await rich_shell.arun("watch", job)).status == 0
        said = await rich_shell.arun("results", job, out)
    assert "3 outputs of 3 accepted units" in said.out


async def test_results_are_resumed_and_foreign_files_are_left_alone(
    rich_shell: Shell, tmp_path: Path
) -> None:
    job = await submit(rich_shell)
    out = tmp_path / "out"
    async with volunteering(rich_shell, tmp_path / "volunteer", square):
        said = await rich_shell.arun("results", job, out, "--watch")
        assert said.status == 1
        assert "1 failed" in said.err
        assert (out / "0" / "out").read_text() == "4\n"
    assert (await rich_shell.arun("results", job, out)).status == 0
    assert (out / "0" / "out").read_text() == "4\n"
    (out / "0" / "out").unlink()
    assert (await rich_shell.arun("results", job, out)).status == 0
    assert (out / "0" / "out").read_text() == "4\n"
    (out / "1" / "out").write_text("mine\n")
    said = await rich_shell.arun("results", job, out)
    assert said.status == 1
    assert "Move it away" in said.err
    assert (out / "1" / "out").read_text() == "mine\n"
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    said = await rich_shell.arun("results", job, other)
    assert "not empty" in said.err
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


async def test_large_results_come_from_the_peer_that_computed_them(
    rich_shell: Shell, tmp_path: Path
) -> None:
    job = await submit(rich_shell)
    out = tmp_path / "out"
    async with volunteering(rich_shell, tmp_path / "volunteer", large):
        assert (await rich_shell.arun("watch", job)).status == 0
        said = await rich_shell.arun("results", job, out)
    assert said.status == 0, said
    assert (out / "2" / "out").read_bytes() == b"4" * 100_000
    assert not list(out.glob(".swarm*"))


async def test_the_python_interface_submits_waits_and_reads(
    rich_shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openswarm

    monkeypatch.setenv("SWARM_HOME", str(rich_shell.home))
    monkeypatch.setenv("SWARM_TRACKER", rich_shell.tracker)
    file = rich_shell.job_file(BARE)
    assert openswarm.load_job(file).body.units == 3
    async with volunteering(rich_shell, tmp_path / "volunteer", square):
        job = await asyncio.to_thread(openswarm.submit, file)
        seen: list[openswarm.JobView] = []
        done = await asyncio.to_thread(openswarm.wait, job.id, progress=seen.append)
        assert done == seen[-1]
        assert done.counts.accepted == 2
    found = await asyncio.to_thread(lambda: list(openswarm.results(job.id, tmp_path / "out")))
    assert {(each.parameters["x"], each.files["out"].read_text()) for each in found} == {
        ("2", "4\n"),
        ("3", "9\n"),
    }
    assert await asyncio.to_thread(openswarm.job, job.id) == done
    assert done in await asyncio.to_thread(openswarm.jobs)
    own = await asyncio.to_thread(openswarm.account)
    assert own.account == await asyncio.to_thread(rich_shell.key)


async def test_the_first_signal_lets_the_running_unit_end(
    rich_shell: Shell, tmp_path: Path
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(stage: Stage) -> Played:
        started.set()
        await go_on.wait()
        return await square(stage)

    job = await submit(rich_shell, BARE.replace("[2, 3, 4]", "[3]"))
    async with volunteering(rich_shell, tmp_path / "volunteer", slow) as worker:
        async with asyncio.timeout(20):
            await started.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0)
            go_on.set()
            await worker
    assert (await rich_shell.arun("status", job, "--json")).json["counts"]["accepted"] == 1


async def test_the_second_signal_stops_at_once(rich_shell: Shell, tmp_path: Path) -> None:
    started = asyncio.Event()

    async def endless(stage: Stage) -> Played:
        started.set()
        await asyncio.Event().wait()
        return Played()

    job = await submit(rich_shell)
    async with volunteering(rich_shell, tmp_path / "volunteer", endless) as worker:
        async with asyncio.timeout(20):
            await started.wait()
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)
            assert not worker.done()
            os.kill(os.getpid(), signal.SIGINT)
            await worker
    await rich_shell.arun("cancel", job)


def test_sizes_are_read_and_the_machine_is_measured() -> None:
    assert Size().convert("2GiB", None, None) == 2 << 30
    assert Size().convert(5, None, None) == 5
    assert usable_cpus() >= 1
    assert usable_memory() > 1 << 20


async def test_a_large_input_comes_from_whoever_seeds_it(rich_shell: Shell, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)

    async def measure(stage: Stage) -> Played:
        text = hashlib.sha256((stage.inputs / "large.bin").read_bytes()).hexdigest()
        (stage.out / "out").write_text(text)
        return Played()

    text = BARE.replace("[2, 3, 4]", "[1]") + '[inputs]\n"large.bin" = "large.bin"\n'
    job_file = rich_shell.job_file(text)
    (job_file.parent / "large.bin").write_bytes(content)
    job = await submit(rich_shell, text)
    environment = {"SWARM_HOME": str(rich_shell.home), "SWARM_TRACKER": rich_shell.tracker}
    seeder = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openswarm.cli", "seed", str(job_file), env=os.environ | environment
    )
    try:
        async with volunteering(rich_shell, tmp_path / "volunteer", measure):
            assert (await rich_shell.arun("watch", job)).status == 0
    finally:
        seeder.send_signal(signal.SIGINT)
        assert await seeder.wait() == 130
    assert (await rich_shell.arun("results", job, tmp_path / "out")).status == 0
    assert (tmp_path / "out" / "0" / "out").read_text() == hashlib.sha256(content).hexdigest()
