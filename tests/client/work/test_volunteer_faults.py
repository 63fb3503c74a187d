"""A volunteer when things go wrong: restarts, kills, revocations, engines and disks that fail."""

import asyncio
from pathlib import Path

import pytest

from client.scheduling.pace import Tuning
from client.work import notices
from client.work.clock import Clock
from client.work.volunteer import Volunteer
from sandbox.fake import Played, Stage
from tests.client.work.tracker import TrackerDouble, job_of
from tests.client.work.volunteering import drained, square, world_of
from workunits.errors import RefusedError
from workunits.ids import LeaseToken, UnitId
from workunits.signing import Identity
from workunits.wire.work import Failure, Revoked


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
