"""What every sandbox promises: the fake is held to the same tests as the real one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.fake import FakeSandbox, Played, Stage
from sandbox.runner import Ending, Mount, Task
from tests.sandbox.conftest import Bench, said
from workunits.errors import LocalError, UnavailableError

# The same acts twice: for real as a script, and played for the fake.
SCRIPT = """
import os, sys, time
act = sys.argv[1]
if act == "copy":
    for name in sorted(os.listdir("/in")): print(name, open("/in/" + name).read())
elif act == "walk":
    for folder in sorted(os.listdir("/in")): print(folder, sorted(os.listdir("/in/" + folder)))
elif act == "two":
    open("/out/one", "w").write("1")
elif act == "fail":
    sys.stderr.write("x" * 20000 + "why")
    sys.exit(3)
elif act == "sleep":
    time.sleep(60)
elif act == "flood":
    open("/out/one", "w").write("x" * (1 << 20))
elif act == "spin":
    while True: pass
elif act == "leave":
    open("/tmp/left", "w").close()
    print(os.listdir("/out"))
"""


async def play(stage: Stage) -> Played:
    match stage.task.command[-1]:
        case "copy":
            files = sorted(stage.inputs.iterdir())
            text = "".join(f"{path.name} {path.read_text()}\n" for path in files)
            return Played(stdout=text.encode())
        case "walk":
            text = "".join(
                f"{folder.name} {sorted(path.name for path in folder.iterdir())}\n"
                for folder in sorted(stage.inputs.iterdir())
            )
            return Played(stdout=text.encode())
        case "two":
            (stage.out / "one").write_text("1")
        case "fail":
            return Played(status=3, stderr=b"x" * 20000 + b"why")
        case "sleep":
            await asyncio.sleep(60)
        case "flood":
            (stage.out / "one").write_text("x" * (1 << 20))
        case "spin":
            return Played(cpu_seconds=stage.program.limits.cpu_seconds + 1)
        case "leave":
            return Played(stdout=b"['said']\n")
    return Played()


@pytest.fixture
async def fake_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    fake = FakeSandbox(play)
    yield Bench(fake, next(iter(fake.available)), tmp_path)
    await fake.close()


@pytest.fixture(params=["fake_bench", pytest.param("bench", marks=pytest.mark.engine)])
def any_bench(request: pytest.FixtureRequest) -> Bench:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Bench)
    return found


async def test_a_unit_sees_its_inputs_and_nothing_of_earlier_ones(any_bench: Bench) -> None:
    cell = await any_bench.open(SCRIPT)
    for name in ("a", "b"):
        (any_bench.folder / name).write_text(f"text of {name}")
    a, b = (Mount(name, any_bench.folder / name) for name in ("a", "b"))
    assert said(await any_bench.run(cell, "copy", inputs=(a, b))) == "a text of a\nb text of b\n"
    assert said(await any_bench.run(cell, "copy", inputs=(b,))) == "b text of b\n"
    assert said(await any_bench.run(cell, "copy")) == ""
    for _ in range(2):
        assert said(await any_bench.run(cell, "leave")) == "['said']\n"


async def test_inputs_may_be_in_folders_that_the_next_unit_does_not_see(
    any_bench: Bench, tmp_path: Path
) -> None:
    cell = await any_bench.open(SCRIPT)
    (tmp_path / "file").write_text("text")
    (tmp_path / "into").mkdir()
    mounts = tuple(Mount(name, tmp_path / "file", "a") for name in ("one", "two"))
    command = ("python3", "/job/unit.py", "walk")
    task = Task(command, mounts, ("said",), "said", ("a", "b"))
    outcome = await cell.run(task, tmp_path / "into")
    assert said(outcome) == "a ['one', 'two']\nb []\n"
    assert said(await any_bench.run(cell, "copy")) == ""


async def test_every_declared_output_is_there_or_missing(any_bench: Bench) -> None:
    cell = await any_bench.open(SCRIPT)
    outcome = await any_bench.run(cell, "two", outputs=("one", "other"))
    assert outcome.ending is Ending.EXITED
    assert outcome.exit_status == 0
    assert list(outcome.outputs) == ["said", "one"]
    assert outcome.missing == ("other",)
    assert outcome.outputs["one"].read_text() == "1"
    assert outcome.outputs["said"].read_bytes() == b""


async def test_a_failure_keeps_its_status_and_the_tail_of_its_complaint(any_bench: Bench) -> None:
    cell = await any_bench.open(SCRIPT)
    outcome = await any_bench.run(cell, "fail")
    assert (outcome.ending, outcome.exit_status) == (Ending.EXITED, 3)
    assert outcome.stderr.endswith(b"xxxwhy")
    assert len(outcome.stderr) == 16 * 1024
    assert (await any_bench.run(cell, "copy")).exit_status == 0


@pytest.mark.parametrize(
    ("act", "wall", "ending"),
    [("sleep", 0.5, Ending.WALL), ("flood", 30, Ending.OUTPUT), ("spin", 30, Ending.CPU)],
)
async def test_a_limit_is_an_ending_without_outputs(
    any_bench: Bench, act: str, wall: float, ending: Ending
) -> None:
    cell = await any_bench.open(SCRIPT, wall_seconds=wall, cpu_seconds=0.4, output_bytes=1000)
    outcome = await any_bench.run(cell, act, outputs=("one",))
    assert outcome.ending is ending
    assert outcome.exit_status == -1
    assert not outcome.outputs
    assert outcome.missing == ("said", "one")
    # The cell goes on; what is too slow for a short wall limit here is the start of Python.
    if act != "sleep":
        assert (await any_bench.run(cell, "copy")).ending is Ending.EXITED


async def test_an_unknown_image_cannot_be_opened(any_bench: Bench) -> None:
    any_bench.image = "sha256:" + "f" * 64
    with pytest.raises(UnavailableError) as caught:
        await any_bench.open(SCRIPT)
    assert caught.value.hint


async def test_images_names_what_can_be_opened(any_bench: Bench) -> None:
    assert any_bench.image in await any_bench.sandbox.images()


async def test_an_input_that_is_not_there_is_our_own_error(any_bench: Bench) -> None:
    cell = await any_bench.open(SCRIPT)
    with pytest.raises(LocalError):
        await any_bench.run(cell, "copy", inputs=(Mount("a", any_bench.folder / "absent"),))
    assert (await any_bench.run(cell, "copy")).ending is Ending.EXITED


async def test_a_closed_cell_does_not_run(any_bench: Bench) -> None:
    cell = await any_bench.open(SCRIPT)
    await cell.close()
    await cell.close()
    with pytest.raises(LocalError):
        await any_bench.run(cell, "copy")


async def test_a_cell_runs_one_unit_at_a_time(any_bench: Bench) -> None:
    cell = await any_bench.open(SCRIPT, wall_seconds=0.5)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(any_bench.run(cell, "sleep"))
        await asyncio.sleep(0)
        with pytest.raises(LocalError):
            await any_bench.run(cell, "copy")
    assert first.result().ending is Ending.WALL


async def test_a_cancelled_unit_leaves_a_cell_that_works(any_bench: Bench) -> None:
    cell = await any_bench.open(SCRIPT)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await any_bench.run(cell, "sleep")
    assert (await any_bench.run(cell, "copy")).ending is Ending.EXITED


async def test_closing_the_sandbox_closes_its_cells(any_bench: Bench) -> None:
    cell = await any_bench.open(SCRIPT)
    await any_bench.sandbox.close()
    with pytest.raises(LocalError):
        await any_bench.run(cell, "copy")
    await any_bench.sandbox.close()
