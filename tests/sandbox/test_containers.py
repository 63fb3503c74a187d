"""Faults around the container: dead clients, dead engines, hostile images and harnesses."""

import asyncio
import os
import shutil
import signal
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from sandbox import image
from sandbox.cell import DockerCell
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.engine import Engine, Place, private_engine
from sandbox.profile import Share
from sandbox.runner import Ending, Limits, Outcome, Program, Task
from tests.engine import cache_folder
from tests.sandbox.conftest import MIB, Bench, ours, said
from workunits.errors import LocalError, UnavailableError

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]
LIMITS = Limits(5, 10, 64 * MIB, MIB)

CLIENT = """
import asyncio, sys
from pathlib import Path
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.runner import Limits, Program, Task

async def main():
    sandbox = DockerSandbox(DockerSettings(sys.argv[1], Path(sys.argv[2])))
    cell = await sandbox.open(Program(sys.argv[3], (), Limits(60, 60, 64 << 20, 1 << 20)))
    print("running", flush=True)
    await cell.run(Task(("python3", "-c", "import time; time.sleep(60)"), (), (), None), Path("."))

asyncio.run(main())
"""


@pytest.fixture
def work(settings: DockerSettings) -> Path:
    return settings.work


async def test_the_containers_of_a_killed_client_are_reaped(
    settings: DockerSettings, runtime_image: str, api: docker.APIClient, work: Path
) -> None:
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, settings.engine, str(work), runtime_image),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert client.stdout is not None
    assert await client.stdout.readline() == b"running\n"
    sandbox = DockerSandbox(settings)
    await sandbox.reap()
    assert len(ours(api, work)) == 1
    client.kill()
    await client.wait()
    # the container, which another process may have found first, and its folder
    assert await sandbox.reap() >= 1
    assert ours(api, work) == []
    assert list(work.iterdir()) == []
    await sandbox.close()


async def test_a_container_past_its_deadline_may_be_removed_by_anybody(
    settings: DockerSettings, runtime_image: str, api: docker.APIClient
) -> None:
    # shorter than those of other processes' tests, which must live
    short = DockerSandbox(replace(settings, lifetime_seconds=600))
    await short.open(Program(runtime_image, (), LIMITS))
    stranger = DockerSandbox(settings, now=lambda: time.time() + 300)
    await stranger.reap()
    assert len(ours(api, settings.work)) == 1
    later = DockerSandbox(settings, now=lambda: time.time() + 700)
    await later.reap()
    assert ours(api, settings.work) == []
    await short.close()
    await stranger.close()
    await later.close()


async def test_a_cell_renews_its_container_at_the_end_of_its_lifetime(
    settings: DockerSettings, runtime_image: str, tmp_path: Path, api: docker.APIClient
) -> None:
    clock = [0.0]
    sandbox = DockerSandbox(settings, clock=lambda: clock[0])
    bench = Bench(sandbox, runtime_image, tmp_path)
    cell = await bench.open("print('fine')")
    (first,) = ours(api, settings.work)
    assert said(await bench.run(cell)) == "fine\n"
    assert ours(api, settings.work) == [first]
    clock[0] = 3605.0
    assert said(await bench.run(cell)) == "fine\n"
    (second,) = ours(api, settings.work)
    assert second != first
    await sandbox.close()
    assert ours(api, settings.work) == []
    assert list(settings.work.iterdir()) == []


async def test_a_container_that_disappears_in_mid_unit_is_lost_and_replaced(
    bench: Bench, settings: DockerSettings, api: docker.APIClient
) -> None:
    script = "import sys, time\nif sys.argv[1] == 'sleep': time.sleep(60)\nprint('fine')"
    cell = await bench.open(script)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.run(cell, "sleep"))
        (container,) = ours(api, settings.work)
        await until(lambda: len(api.top(container)["Processes"]) == 2)
        await asyncio.to_thread(api.remove_container, container, force=True)
    assert running.result().ending is Ending.LOST
    assert said(await bench.run(cell, "well")) == "fine\n"


async def test_a_container_that_ends_while_it_waits_is_not_even_missed(
    bench: Bench, settings: DockerSettings, api: docker.APIClient
) -> None:
    cell = await bench.open("print('fine')")
    assert isinstance(cell, DockerCell)
    (container,) = ours(api, settings.work)
    await asyncio.to_thread(api.remove_container, container, force=True)
    line = cell._berth.line
    assert line is not None
    await until(lambda: line.is_over)
    assert said(await bench.run(cell)) == "fine\n"


async def test_a_command_that_cannot_run_has_the_status_that_shells_give(
    sandbox: DockerSandbox, runtime_image: str, tmp_path: Path
) -> None:
    cell = await sandbox.open(Program(runtime_image, (), LIMITS))
    for command, status in ((("absent",), 127), (("/absent/too",), 127), (("/etc",), 126)):
        outcome = await cell.run(Task(command, (), (), None), tmp_path)
        assert (outcome.ending, outcome.exit_status) == (Ending.EXITED, status)
        assert b"cannot run" in outcome.stderr
    killed = Task(("sh", "-c", "kill -9 $$"), (), (), None)
    assert (await cell.run(killed, tmp_path)).exit_status == 137


async def test_an_output_that_cannot_be_written_is_our_own_error(
    bench: Bench, tmp_path: Path
) -> None:
    cell = await bench.open("print('fine')")
    (tmp_path / "out-1").mkdir()
    (tmp_path / "out-1" / "said").write_text("kept")
    task = Task(("python3", "/job/unit.py"), (), ("said",), "said")
    with pytest.raises(LocalError) as caught:
        await cell.run(task, tmp_path / "out-1")
    assert caught.value.hint
    assert (tmp_path / "out-1" / "said").read_text() == "kept"
    (tmp_path / "fresh").mkdir()
    assert said(await cell.run(task, tmp_path / "fresh")) == "fine\n"


async def test_an_image_with_declared_volumes_is_refused(
    bench: Bench, tmp_path: Path, api: docker.APIClient
) -> None:
    tar = tmp_path / "volume.tar"
    shutil.copyfile(next(cache_folder().glob("runtime-*.tar")), tar)
    with tar.open("r+b") as file:
        # Zeroes after the end of an archive make another file of the same tree.
        file.seek(0, os.SEEK_END)
        file.write(bytes(10240))
    api.import_image_from_file(
        str(tar), repository="openswarm/test", tag="volume", changes=["VOLUME /data"]
    )
    try:
        bench.image = image.tar_hash(tar)
        assert bench.image not in await bench.sandbox.images()
        with pytest.raises(UnavailableError, match="/data"):
            await bench.open("")
        # The same tree without the declaration is welcome.
        api.import_image_from_file(str(tar), repository="openswarm/test", tag="plain")
        assert bench.image in await bench.sandbox.images()
        assert said(await bench.once("print('fine')")) == "fine\n"
    finally:
        for tag in ("volume", "plain"):
            api.remove_image(f"openswarm/test:{tag}", force=True)


async def test_an_image_without_python_is_refused_with_a_hint(
    bench: Bench, docker_engine: Engine, tmp_path: Path, api: docker.APIClient
) -> None:
    tar = tmp_path / "empty.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(__file__, "file")
    bench.image = image.load(docker_engine.url, tar, print)
    try:
        with pytest.raises(UnavailableError, match="python3"):
            await bench.open("")
    finally:
        api.remove_image(f"openswarm/image:{bench.image[7:19]}", force=True)


async def test_an_unknown_runtime_is_refused_with_a_hint(
    settings: DockerSettings, runtime_image: str, tmp_path: Path
) -> None:
    sandbox = DockerSandbox(replace(settings, runtime="absent"))
    with pytest.raises(UnavailableError) as caught:
        await sandbox.open(Program(runtime_image, (), LIMITS))
    assert "runtime" in caught.value.message
    assert caught.value.hint
    await sandbox.close()


async def test_cells_spread_over_the_given_shares(
    settings: DockerSettings, runtime_image: str, api: docker.APIClient
) -> None:
    shares = (Share(5 * 10**8, "0"), Share(25 * 10**7, "0"))
    sandbox = DockerSandbox(replace(settings, shares=shares))
    first = await sandbox.open(Program(runtime_image, (), LIMITS))
    await sandbox.open(Program(runtime_image, (), LIMITS))
    hosts = [api.inspect_container(c)["HostConfig"] for c in ours(api, settings.work)]
    assert sorted(host["NanoCpus"] for host in hosts) == [25 * 10**7, 5 * 10**8]
    assert {host["CpusetCpus"] for host in hosts} == {"0"}
    await first.close()
    await sandbox.close()


READY = "import os\nos.write(1, b'R\\0\\0\\0\\1\\1')\n"
HOSTILE = {
    "floods": READY + "os.read(0, 65536)\nwhile True: os.write(1, b'y' * 65536)",
    "floods before it is asked": READY + "while True: os.write(1, b'y' * 65536)",
    "dies": READY + "os.read(0, 65536)",
    "says too much": READY + "os.read(0, 65536)\nos.write(1, b'E\\xff\\xff\\xff\\xff')",
    "sends what was not declared": READY
    + "os.read(0, 65536)\nos.write(1, b'F\\0\\0\\0\\12\\0\\7' + bytes(8))\nos.read(0, 1)",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_harness_that_was_taken_over_harms_nobody(
    settings: DockerSettings,
    runtime_image: str,
    tmp_path: Path,
    api: docker.APIClient,
    source: str,
) -> None:
    sandbox = DockerSandbox(replace(settings, harness=source))
    bench = Bench(sandbox, runtime_image, tmp_path)
    try:
        cell = await bench.open("")
        assert (await bench.run(cell)).ending is Ending.LOST
    except UnavailableError:
        assert source == HOSTILE["floods before it is asked"]
    await sandbox.close()
    assert ours(api, settings.work) == []


async def test_a_harness_that_says_nothing_ends_at_the_wall_limit(
    settings: DockerSettings, runtime_image: str, tmp_path: Path
) -> None:
    sandbox = DockerSandbox(replace(settings, harness=READY + "import time\ntime.sleep(60)"))
    bench = Bench(sandbox, runtime_image, tmp_path)
    cell = await bench.open("", wall_seconds=0.2)
    assert (await bench.run(cell)).ending is Ending.WALL
    await sandbox.close()


async def test_a_stalled_reader_does_not_keep_a_container_from_being_killed(
    settings: DockerSettings, runtime_image: str, api: docker.APIClient
) -> None:
    source = READY + "import time\ntime.sleep(0.3)\nwhile True: os.write(1, b'y' * 65536)"
    sandbox = DockerSandbox(replace(settings, harness=source))
    cell = await sandbox.open(Program(runtime_image, (), LIMITS))
    (container,) = ours(api, settings.work)
    # Nobody reads: the pipes between the harness and this process fill up, and it blocks.
    await until(lambda: is_blocked(api, container))
    async with asyncio.timeout(5):
        await cell.close()
    assert ours(api, settings.work) == []
    await sandbox.close()


async def test_a_remote_engine_is_refused_with_a_hint(settings: DockerSettings) -> None:
    with pytest.raises(LocalError) as caught:
        DockerSandbox(replace(settings, engine="tcp://192.0.2.1:2375"))
    assert caught.value.hint


async def test_without_an_engine_everything_says_so(tmp_path: Path, runtime_image: str) -> None:
    sandbox = DockerSandbox(DockerSettings(f"unix://{tmp_path}/none.sock", tmp_path / "work"))
    program = Program(runtime_image, (), LIMITS)
    for call in (sandbox.images(), sandbox.reap(), sandbox.open(program)):
        with pytest.raises(UnavailableError) as caught:
            await call
        assert caught.value.hint
    await sandbox.close()


@pytest.fixture
def frail_engine(
    runtime_image: str, tmp_path: Path, dockerd: None
) -> Iterator[tuple[Engine, Place]]:
    """A private engine that a test may kill."""
    with private_engine(tmp_path / "engine", print) as engine:
        image.runtime(engine.url, cache_folder(), print)
        yield engine, Place(tmp_path / "engine")


@pytest.fixture
async def frail_bench(
    frail_engine: tuple[Engine, Place], runtime_image: str, tmp_path: Path
) -> AsyncIterator[Bench]:
    engine, _ = frail_engine
    sandbox = DockerSandbox(DockerSettings(engine.url, tmp_path / "work"))
    yield Bench(sandbox, runtime_image, tmp_path)
    await sandbox.close()


async def test_an_engine_that_stops_loses_the_unit_and_nothing_else(
    frail_bench: Bench, frail_engine: tuple[Engine, Place], tmp_path: Path
) -> None:
    engine, place = frail_engine
    script = "import sys, time\nif sys.argv[1] == 'sleep': time.sleep(60)\nprint('fine')"
    cell = await frail_bench.open(script)
    assert said(await frail_bench.run(cell, "well")) == "fine\n"

    async with asyncio.TaskGroup() as group:
        running = group.create_task(frail_bench.run(cell, "sleep"))
        with docker.APIClient(base_url=engine.url, version="auto") as api:
            (container,) = ours(api, tmp_path)
            await until(lambda: len(api.top(container)["Processes"]) == 2)
        os.kill(int(place.pid_file.read_text()), signal.SIGKILL)
    outcome: Outcome = running.result()
    assert outcome.ending is Ending.LOST
    with pytest.raises(UnavailableError) as caught:
        await frail_bench.run(cell, "well")
    assert "swarm doctor" in caught.value.hint

    with private_engine(place.data, print):
        assert said(await frail_bench.run(cell, "well")) == "fine\n"
        # The container of the unit that was lost came back with the engine; it goes now.
        await frail_bench.sandbox.reap()
        with docker.APIClient(base_url=engine.url, version="auto") as api:
            assert len(ours(api, tmp_path)) == 1
            await cell.close()
            assert ours(api, tmp_path) == []


def is_blocked(api: docker.APIClient, container: str) -> bool:
    """Whether process 1 of a container waits in a write to a full pipe."""
    pid = api.inspect_container(container)["State"]["Pid"]
    return "pipe_write" in Path(f"/proc/{pid}/wchan").read_text()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that asks the engine."""
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 (nobody tells us)
            await asyncio.sleep(0.01)
