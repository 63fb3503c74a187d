"""A whole volunteer against a real WebSocket: faults, restarts, and nothing left behind."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest

from client import notices
from client.clock import Clock
from client.notices import Notice
from client.pace import Tuning
from client.volunteer import Capacity, Volunteer
from sandbox.fake import FakeSandbox, Play, Played, Stage
from sandbox.runner import Ending as Seen
from tests.client.tracker import TrackerDouble, job_of, peer_key, rng, tracking
from workunits.errors import RefusedError, UnavailableError
from workunits.ids import BlobRef, LeaseToken, UnitId
from workunits.manifest import Comparator, Comparison
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob
from workunits.results import Ending
from workunits.signing import Identity
from workunits.wire.work import Failure, Revoked


async def square(stage: Stage) -> Played:
    number = int(stage.task.command[1])
    (stage.out / "out").write_text(f"{number * number}\n")
    return Played()


@dataclass
class MemoryBlobs:
    """Blobs in a folder; ``broken`` makes every fetch fail."""

    folder: Path
    broken: bool = False
    paths: dict[BlobRef, Path] = field(default_factory=dict)
    holds: set[tuple[BlobRef, str]] = field(default_factory=set)

    def add(self, data: bytes) -> BlobRef:
        ref = hash_stream(BytesIO(data), len(data)).info.ref
        self.paths[ref] = self.folder / str(ref)
        self.paths[ref].write_bytes(data)
        return ref

    async def fetch(self, ref: BlobRef, why: str) -> Path:
        if self.broken or ref not in self.paths:
            raise UnavailableError(f"nobody has {ref}", hint="Wait.")
        self.holds.add((ref, why))
        return self.paths[ref]

    async def share(self, path: Path, why: str) -> BlobRef:
        ref = self.add(path.read_bytes())
        self.holds.add((ref, why))
        return ref

    def reshare(self, ref: BlobRef, why: str) -> bool:
        if ref in self.paths:
            self.holds.add((ref, why))
        return ref in self.paths

    def release(self, ref: BlobRef, why: str) -> None:
        self.holds.discard((ref, why))


@dataclass
class World:
    """What a volunteer lives in. It survives the volunteer."""

    tracker: TrackerDouble
    folder: Path
    sandbox: FakeSandbox
    blobs: MemoryBlobs
    said: list[Notice] = field(default_factory=list)
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    identity: Identity = field(default_factory=peer_key)
    clock: Clock = field(default_factory=Clock)
    tuning: Tuning = field(default_factory=lambda: Tuning(backoff=0.01, linger=0.5))

    def volunteer(self, cpus: int = 2) -> Volunteer:
        return Volunteer(
            self.tracker.url,
            self.identity,
            self.sandbox,
            self.blobs,
            capacity=Capacity(cpus, 1 << 30),
            state=self.folder / "state",
            scratch=self.folder / "scratch",
            notify=self.listen,
            tuning=self.tuning,
            clock=self.clock,
            rng=rng(),
        )

    def heard(self, kind: type[Notice]) -> list[Notice]:
        return [notice for notice in self.said if isinstance(notice, kind)]

    async def until_said(self, kind: type[Notice]) -> None:
        """Wait for a notice."""
        while not self.heard(kind):
            self.spoken.clear()
            await asyncio.wait_for(self.spoken.wait(), 20)

    def listen(self, notice: Notice) -> None:
        """Where notices go."""
        self.said.append(notice)
        self.spoken.set()

    def kept(self) -> list[Path]:
        return sorted((self.folder / "state").rglob("*.results"))

    def left_behind(self) -> list[Path]:
        return sorted((self.folder / "scratch").rglob("*"))


@asynccontextmanager
async def world_of(
    folder: Path, tracker: TrackerDouble, play: Play = square
) -> AsyncIterator[World]:
    (folder / "blobs").mkdir()
    sandbox = FakeSandbox(play)
    async with tracking(tracker):
        yield World(tracker, folder, sandbox, MemoryBlobs(folder / "blobs"))
    assert not sandbox._cells
    shutil.rmtree(folder / "blobs")


async def drained(volunteer: Volunteer, ready: Callable[[], bool], world: World) -> None:
    """Run ``volunteer`` until ``ready``, then drain it."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        run = group.create_task(volunteer.run())
        await world.tracker.until(ready)
        volunteer.drain()
        await run


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


async def test_a_tracker_that_restarts_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(60))
    async with world_of(tmp_path, tracker) as world:
        volunteer = world.volunteer()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            for part in (10, 25, 40):
                await tracker.until(lambda part=part: len(tracker.committed) >= part)  # type: ignore[misc]
                await tracker.stop()
                await tracker.start()
            await tracker.until(lambda: len(tracker.revealed) == 60)
            volunteer.drain()
            await task
        assert tracker.hellos >= 4
        assert len(world.heard(notices.Revealed)) == 60
        assert world.kept() == []
        assert len(tracker.commitments) == 60  # no unit was computed twice


async def test_commits_that_were_never_acknowledged_are_sent_again(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(5))
    tracker.acks = 0
    async with world_of(tmp_path, tracker) as world:
        volunteer = world.volunteer()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await tracker.until(lambda: len(tracker.commitments) == 5)
            await tracker.stop()
            tracker.acks = 2  # and then twice each
            await tracker.start()
            await tracker.until(lambda: len(tracker.revealed) == 5)
            volunteer.drain()
            await task
        assert len(tracker.commits_seen) >= 10
        assert len(world.heard(notices.Committed)) == 5


async def test_a_unit_revoked_while_it_runs_is_stopped(tmp_path: Path) -> None:
    stopped = asyncio.Event()
    begun = asyncio.Event()

    async def play(stage: Stage) -> Played:
        if stage.task.command[1] != "0":
            return await square(stage)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    tracker = TrackerDouble(job_of(3))
    async with world_of(tmp_path, tracker, play) as world:
        volunteer = world.volunteer(cpus=1)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await begun.wait()
            token = next(each for each, unit in tracker.held.items() if unit == 0)
            del tracker.held[token]
            await tracker.connections[-1].send(Revoked("late", (token,)))
            await stopped.wait()
            await tracker.until(lambda: len(tracker.revealed) == 2)
            volunteer.drain()
            await task
        (taken,) = world.heard(notices.TakenBack)
        assert taken == notices.TakenBack(UnitId(tracker.job.id, 0), "late")
        assert world.left_behind() == []


async def test_a_drain_finishes_what_runs_and_gives_the_rest_back(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def play(stage: Stage) -> Played:
        begun.set()
        await go.wait()
        return await square(stage)

    tracker = TrackerDouble(job_of(10))
    async with world_of(tmp_path, tracker, play) as world:
        volunteer = world.volunteer(cpus=1)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await begun.wait()
            volunteer.drain()
            await tracker.until(lambda: tracker.wants[-1] == 0)
            go.set()
            await task
        assert len(tracker.revealed) == 1
        assert {reason for _, reason in tracker.released} == {"shutdown"}
        assert not tracker.held


async def test_a_cancelled_volunteer_leaves_no_cell_task_or_file(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def play(_: Stage) -> Played:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    tracker = TrackerDouble(job_of(10))
    async with world_of(tmp_path, tracker, play) as world:
        before = asyncio.all_tasks()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(world.volunteer().run())
            await begun.wait()
            task.cancel()
        assert task.cancelled()
        await tracker.until(lambda: not tracker.connections)
        assert not {each for each in asyncio.all_tasks() - before if "Volunteer" in repr(each)}
        assert world.left_behind() == []


async def test_a_volunteer_that_was_killed_reveals_what_it_had_committed(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(6))
    tracker.auto_reveal = False
    async with world_of(tmp_path, tracker) as world:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(world.volunteer().run())
            await tracker.until(lambda: len(tracker.committed) == 6)
            task.cancel()
        (path,) = world.kept()
        raw = bytearray(path.read_bytes())
        raw[20] ^= 1  # one was damaged meanwhile
        path.write_bytes(raw)
        await tracker.until(lambda: not tracker.connections)

        volunteer = world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await tracker.until(lambda: len(tracker.released) == 1)
            await tracker.until(lambda: len(tracker.committed) == 6)
            await tracker.ask(*sorted(tracker.committed))
            await tracker.until(lambda: len(tracker.revealed) == 6)
            volunteer.drain()
            await task
        assert world.kept() == []
        assert sorted(tracker.results) == list(range(6))


async def test_large_results_are_shared_again_by_a_volunteer_that_comes_back(
    tmp_path: Path,
) -> None:
    async def play(stage: Stage) -> Played:
        (stage.out / "out").write_bytes(stage.task.command[1].encode() * 5000)
        return Played()

    tracker = TrackerDouble(job_of(2))
    tracker.auto_reveal = False
    async with world_of(tmp_path, tracker, play) as world:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(world.volunteer().run())
            await tracker.until(lambda: len(tracker.committed) == 2)
            task.cancel()
        await tracker.until(lambda: not tracker.connections)
        before = {hold for hold in world.blobs.holds if hold[1] != "input"}
        world.blobs.holds.clear()
        lost = next(iter(sorted(before)))[0]
        del world.blobs.paths[lost]  # evicted meanwhile

        volunteer = world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await tracker.until(lambda: len(tracker.commitments) == 3)  # computed again
            await tracker.until(lambda: len(tracker.committed) == 2)
            assert {ref for ref, _ in world.blobs.holds} == {ref for ref, _ in before}
            await tracker.ask(*sorted(tracker.committed))
            await tracker.until(lambda: len(tracker.revealed) == 2)
            volunteer.drain()
            await task


async def test_a_clock_that_is_an_hour_off_does_no_harm_and_is_reported_once(
    tmp_path: Path,
) -> None:
    tracker = TrackerDouble(job_of(5))
    async with world_of(tmp_path, tracker) as world:
        world.clock = Clock(wall=lambda: 1_700_003_600.0)
        await drained(world.volunteer(), lambda: len(tracker.revealed) == 5, world)
        warned = [each for each in world.said if isinstance(each, notices.Warned)]
        assert [each.message for each in warned] == [
            "the clocks of this machine and the tracker differ by 3600 s"
        ]
        assert warned[0].hint


async def test_an_engine_that_stops_and_comes_back_costs_time_but_no_unit(tmp_path: Path) -> None:
    begun, hang = asyncio.Event(), asyncio.Event()

    async def play(stage: Stage) -> Played:
        begun.set()
        await hang.wait()
        return await square(stage)

    tracker = TrackerDouble(job_of(8))
    async with world_of(tmp_path, tracker, play) as world:
        world.tuning = Tuning(backoff=0.01, backoff_most=0.05, linger=0.5)
        volunteer = world.volunteer()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await begun.wait()
            world.sandbox.engine_stops()
            await tracker.until(lambda: len(tracker.released) >= 8)
            hang.set()
            world.sandbox.engine_returns()
            await tracker.until(lambda: len(tracker.revealed) == 8)
            volunteer.drain()
            await task
        assert {reason for _, reason in tracker.released} == {"engine"}
        assert sorted(tracker.results) == list(range(8))


async def test_a_result_that_cannot_be_kept_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    tracker = TrackerDouble(job_of(2))
    async with world_of(tmp_path, tracker) as world:
        volunteer = world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await tracker.until(lambda: len(tracker.revealed) == 2)
            monkeypatch.setattr("os.fsync", full)
            tracker.fresh.append(0)
            await tracker.lease(tracker.connections[-1])
            await tracker.until(lambda: len(tracker.released) >= 1)
            assert tracker.released[0][1] == "disk"
            volunteer.drain()
            await task


async def test_another_tracker_at_the_same_address_gets_nothing_of_the_first(
    tmp_path: Path,
) -> None:
    tracker = TrackerDouble(job_of(4))
    tracker.auto_reveal = False
    async with world_of(tmp_path, tracker) as world:
        volunteer = world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await tracker.until(lambda: len(tracker.committed) == 4)
            await tracker.stop()
            tracker.identity = Identity.from_seed(b"u" * 32)
            tracker.held.clear()
            tracker.committed.clear()
            await tracker.start()
            await tracker.until(lambda: tracker.hellos == 2 and bool(tracker.wants))
            volunteer.drain()
            await task
        assert len(world.heard(notices.TakenBack)) == 4
        assert any("another key" in str(each) for each in world.heard(notices.Warned))


async def test_a_banned_peer_stops_and_says_why(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(4))
    tracker.auto_reveal = False
    async with world_of(tmp_path, tracker) as world:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(_refused(world.volunteer()))
            await tracker.until(lambda: len(tracker.committed) == 4)
            banned = Failure("banned", "3 wrong results", "Repair it.", RefusedError.blame)
            await tracker.connections[-1].send(banned)
            error = await task
        assert (error.code, error.message, error.hint) == (
            "banned",
            "3 wrong results",
            "Repair it.",
        )


async def _refused(volunteer: Volunteer) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await volunteer.run()
    return caught.value


async def test_the_status_tells_where_it_stands(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(3))
    tracker.auto_reveal = False
    async with world_of(tmp_path, tracker) as world:
        volunteer = world.volunteer()
        assert not volunteer.status.online
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await tracker.until(lambda: len(tracker.committed) == 3)
            await tracker.ask(LeaseToken(1))
            await tracker.until(lambda: len(tracker.revealed) == 1)
            await world.until_said(notices.Revealed)
            status = volunteer.status
            assert (status.online, status.running, status.committed) == (True, 0, 2)
            volunteer.drain()
            await task


async def test_a_paused_volunteer_wants_nothing(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(3))
    async with world_of(tmp_path, tracker) as world:
        volunteer = world.volunteer()
        volunteer.pause()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(volunteer.run())
            await tracker.until(lambda: tracker.wants == [0])
            volunteer.resume()
            await tracker.until(lambda: len(tracker.revealed) == 3)
            volunteer.drain()
            await task
