"""What only the fake can do: follow a script, take a given time, lose its engine."""

import asyncio
from pathlib import Path

import pytest

from sandbox.fake import FakeSandbox, Played, scripted, sleeping
from sandbox.runner import Ending, Limits, Program, Task
from workunits.errors import UnavailableError

TASK = Task(("square", "7"), (), ("answer",), None)


def program(sandbox: FakeSandbox) -> Program:
    return Program(next(iter(sandbox.available)), (), Limits(10, 10, 1, 1000))


async def test_a_script_is_played_in_order(tmp_path: Path) -> None:
    sandbox = FakeSandbox(scripted([Played(status=1), Played(ending=Ending.MEMORY)]))
    cell = await sandbox.open(program(sandbox))
    first, second = await cell.run(TASK, tmp_path), await cell.run(TASK, tmp_path)
    assert (first.ending, first.exit_status, first.missing) == (Ending.EXITED, 1, ("answer",))
    assert (second.ending, second.exit_status) == (Ending.MEMORY, -1)
    await sandbox.close()


async def test_a_sleeping_unit_writes_its_command(tmp_path: Path) -> None:
    sandbox = FakeSandbox(sleeping(0.01))
    cell = await sandbox.open(program(sandbox))
    outcome = await cell.run(TASK, tmp_path)
    assert outcome.outputs["answer"].read_text() == "square\n7"
    assert outcome.wall_seconds >= 0.01
    await sandbox.close()


async def test_an_engine_that_stops_loses_the_unit_until_it_returns(tmp_path: Path) -> None:
    sandbox = FakeSandbox(sleeping(60))
    cell = await sandbox.open(program(sandbox))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(cell.run(TASK, tmp_path))
        await asyncio.sleep(0)
        sandbox.engine_stops()
    assert running.result().ending is Ending.LOST
    with pytest.raises(UnavailableError):
        await cell.run(TASK, tmp_path)
    with pytest.raises(UnavailableError):
        await sandbox.open(program(sandbox))
    sandbox.engine_returns()
    sandbox.play = sleeping(0)
    assert (await cell.run(TASK, tmp_path)).ending is Ending.EXITED
    await sandbox.close()
