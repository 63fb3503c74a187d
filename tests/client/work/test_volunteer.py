"""A whole volunteer against a real WebSocket: what it computes, and how it ends."""

import asyncio
from pathlib import Path

import pytest

from client.work import notices
from sandbox.fake import Played, Stage
from sandbox.runner import Ending as Seen
from tests.client.work.tracker import TrackerDouble, job_of
from tests.client.work.volunteering import MemoryBlobs, drained, world_of
from workunits.parameters import NamedBlob
from workunits.results import Ending
from workunits.verification import Comparator, Comparison


async def test_every_unit_is_computed_committed_and_revealed_inline(tmp_path: Path) -> None:
    async with world_of(tmp_path, TrackerDouble(job_of(50))) as world:
        tracker = world.tracker
        await drained(world.volunteer(), lambda: len(tracker.revealed) == 50, world)
        for token, reveal in tracker.revealed.items():
            number = tracker.unit_of[token]
            assert reveal.contents == (f"{number * number}\n".encode(),)
            assert tracker.results[number].exit_status == 0
        assert world.kept() == []
        assert world.left_behind() == []
        assert len(world.heard(notices.Revealed)) == 50
        assert world.sandbox.opened <= 2


async def test_results_that_are_large_are_shared_as_blobs(tmp_path: Path) -> None:
    async def play(stage: Stage) -> Played:
        (stage.out / "big").write_bytes(b"x" * 5000)
        (stage.out / "little").write_bytes(b"y")
        return Played()

    tracker = TrackerDouble(job_of(3, outputs=("little", "big")))
    async with world_of(tmp_path, tracker, play) as world:
        tracker.auto_reveal = False
        run = world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(run.run())
            await tracker.until(lambda: len(tracker.committed) == 3)
            assert len(world.blobs.holds) == 2 * 3
            await tracker.ask(*sorted(tracker.committed))
            await tracker.until(lambda: len(tracker.revealed) == 3)
            run.drain()
            await task
        assert all(reveal.contents == () for reveal in tracker.revealed.values())
        for result in tracker.results.values():
            assert [output.name for output in result.outputs] == ["big", "little"]
            assert world.blobs.paths.keys() >= {output.ref for output in result.outputs}
        assert world.blobs.holds == set()


async def test_results_that_are_compared_as_numbers_travel_inline(tmp_path: Path) -> None:
    async def play(stage: Stage) -> Played:
        (stage.out / "out").write_bytes(b"1 " * 50_000)
        return Played()

    comparator = Comparator(Comparison.NUMERIC, 1e-6, 0.0)
    tracker = TrackerDouble(job_of(30, comparator=comparator, output_bytes=200_000))
    async with world_of(tmp_path, tracker, play) as world:
        tracker.auto_reveal = False
        volunteer = world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await tracker.until(lambda: len(tracker.committed) == 30)
            await tracker.ask(*sorted(tracker.committed))  # 3 MB: several frames
            await tracker.until(lambda: len(tracker.revealed) == 30)
            volunteer.drain()
            await task
        assert {len(reveal.contents[0]) for reveal in tracker.revealed.values()} == {100_000}


async def test_inputs_and_program_files_are_fetched_mounted_and_let_go(tmp_path: Path) -> None:
    async def play(stage: Stage) -> Played:
        text = (stage.job / "program").read_text() + (stage.inputs / "data").read_text()
        (stage.out / "out").write_text(text)
        return Played()

    (tmp_path / "seed").mkdir()
    ahead = MemoryBlobs(tmp_path / "seed")
    program, data = (ahead.add(text) for text in (b"code ", b"data"))
    job = job_of(4, files=(NamedBlob("program", program),), inputs=(NamedBlob("data", data),))
    tracker = TrackerDouble(job)
    async with world_of(tmp_path, tracker, play) as world:
        world.blobs.paths |= ahead.paths
        await drained(world.volunteer(), lambda: len(tracker.revealed) == 4, world)
        assert {reveal.contents for reveal in tracker.revealed.values()} == {(b"code data",)}
        assert world.blobs.holds == set()


async def test_a_blob_that_nobody_has_gives_the_units_back(tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    data = MemoryBlobs(tmp_path / "seed").add(b"gone")
    tracker = TrackerDouble(job_of(4, inputs=(NamedBlob("data", data),)))
    async with world_of(tmp_path, tracker) as world:
        await drained(world.volunteer(), lambda: len(tracker.released) > 4, world)
        assert {reason for _, reason in tracker.released} <= {"blob", "shutdown"}


@pytest.mark.parametrize(
    ("played", "ending", "status"),
    [
        (Played(status=3), Ending.EXITED, 3),
        (Played(ending=Seen.CPU), Ending.CPU, 0),
        (Played(ending=Seen.WALL), Ending.WALL, 0),
        (Played(ending=Seen.MEMORY), Ending.MEMORY, 0),
        (Played(ending=Seen.OUTPUT), Ending.OUTPUT, 0),
    ],
)
async def test_a_program_that_fails_is_a_result_like_any_other(
    tmp_path: Path, played: Played, ending: Ending, status: int
) -> None:
    async def play(_: Stage) -> Played:
        return played

    tracker = TrackerDouble(job_of(1))
    async with world_of(tmp_path, tracker, play) as world:
        await drained(world.volunteer(), lambda: len(tracker.revealed) == 1, world)
        assert (tracker.results[0].ending, tracker.results[0].exit_status) == (ending, status)
        (finished,) = world.heard(notices.Finished)
        assert isinstance(finished, notices.Finished)
        assert finished.failure
