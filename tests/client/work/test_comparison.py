"""A job's own comparator: what it is shown, what its end means, and what is answered."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from client.work import comparison, notices
from sandbox.fake import Play, Played, Stage
from sandbox.runner import Ending as Seen
from sandbox.runner import Mount, Outcome
from tests.client.work.tracker import JUDGE, TrackerDouble, job_of, shown
from tests.client.work.volunteering import MemoryBlobs, World, drained, square, world_of
from workunits.ids import LeaseToken, UnitId
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result
from workunits.verification import Comparator, Comparison
from workunits.wire.compare import Opinion, Pair, Shown
from workunits.wire.work import Revoked

ONE, TWO = shown({"out": b"1.0\n"}), shown({"out": b"1\n"})
EMPTY = Shown(Result(Ending.EXITED, 3, ()))


def pair(a: Shown, b: Shown) -> Pair:
    return Pair(LeaseToken(1), 0, a, b)


def far(blobs: MemoryBlobs, data: bytes) -> Shown:
    """A result with one output that is a blob of the swarm."""
    return Shown(Result(Ending.EXITED, 0, (NamedBlob("out", blobs.add(data)),)))


async def numbers(stage: Stage) -> Played:
    """A unit, or a comparator of numbers, by the command."""
    if stage.task.command[0] != "same":
        return await square(stage)
    assert stage.task.command[1:] == ("/in/a", "/in/b")
    a, b = (float((stage.inputs / name / "out").read_text()) for name in "ab")
    return Played(status=int(a != b), stderr=f"{a} {b}".encode())


# What a comparator gets and says


def test_braces_stand_for_the_folders_and_else_for_themselves(tmp_path: Path) -> None:
    words = ("{a}/x:{b}", "{{a}}", "{c}", "{", "}", "{}", '{"rtol": 1}', "-")
    task = comparison.task(
        Comparator(Comparison.PROGRAM, command=words), pair(ONE, TWO), {}, tmp_path
    )
    assert task.command == ("/in/a/x:/in/b", "{a}", "{c}", "{", "}", "{}", '{"rtol": 1}', "-")
    assert (task.outputs, task.stdout, task.folders) == ((), None, ("a", "b"))


def test_inline_outputs_are_written_and_others_shown_where_they_are(tmp_path: Path) -> None:
    blobs = MemoryBlobs(tmp_path)
    large = far(blobs, b"large")
    question = pair(large, TWO)
    assert comparison.blobs(question) == set(blobs.paths)
    task = comparison.task(JUDGE, question, blobs.paths, tmp_path)
    a, b = task.inputs
    assert a == Mount("out", blobs.paths[large.result.outputs[0].ref], "a")
    assert (b.name, b.folder, b.path.read_bytes()) == ("out", "b", b"1\n")


def test_two_results_with_outputs_of_one_name_do_not_meet(tmp_path: Path) -> None:
    task = comparison.task(JUDGE, pair(ONE, TWO), {}, tmp_path)
    assert {mount.place: mount.path.read_bytes() for mount in task.inputs} == {
        "a/out": b"1.0\n",
        "b/out": b"1\n",
    }


@pytest.mark.parametrize(
    ("ending", "status", "opinion"),
    [
        (Seen.EXITED, 0, Opinion.SAME),
        (Seen.EXITED, 1, Opinion.DIFFERENT),
        (Seen.EXITED, 2, Opinion.FAILED),
        (Seen.EXITED, 127, Opinion.FAILED),
        (Seen.EXITED, 137, Opinion.FAILED),
        *(
            (ending, -1, Opinion.FAILED)
            for ending in (Seen.CPU, Seen.WALL, Seen.MEMORY, Seen.OUTPUT)
        ),
    ],
)
def test_what_the_end_of_a_comparator_means(ending: Seen, status: int, opinion: Opinion) -> None:
    assert comparison.opinion(Outcome(ending, status, {}, (), b"", 0.0, 0.0)) is opinion


# A whole volunteer


def tracker_of(**about: object) -> TrackerDouble:
    """A tracker that leases nothing."""
    tracker = TrackerDouble(job_of(4, comparator=JUDGE, **about))  # type: ignore[arg-type]
    tracker.auto_lease = False
    return tracker


async def judged(world: World, pairs: Sequence[tuple[Shown, Shown]]) -> list[LeaseToken]:
    """Have ``pairs`` compared, or declined."""
    tracker, asked = world.tracker, list[LeaseToken]()
    volunteer = world.volunteer()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        run = group.create_task(volunteer.run())
        await tracker.until(lambda: bool(tracker.wants))
        asked += await tracker.compare(*pairs, index=3)
        await tracker.until(lambda: len(tracker.judged) + len(tracker.released) == len(pairs))
        volunteer.drain()
        await run
    assert world.left_behind() == []
    assert world.blobs.holds == set()
    return asked


async def test_a_volunteer_says_what_the_comparator_says(tmp_path: Path) -> None:
    other = shown({"out": b"2"})
    async with world_of(tmp_path, tracker_of(), numbers) as world:
        tokens = await judged(world, [(ONE, TWO), (ONE, other)])
        found = {said.token: said for said in world.tracker.judged}
        assert [found[token].opinion for token in tokens] == [Opinion.SAME, Opinion.DIFFERENT]
        assert {said.index for said in found.values()} == {3}
        last = found[tokens[1]]
        assert (last.a, last.b) == (ONE.result.digest, other.result.digest)
        heard = world.heard(notices.Compared)
        assert {each.opinion for each in heard} == {"same", "different"}  # type: ignore[union-attr]
        assert not world.tracker.released


async def test_results_that_are_blobs_are_fetched(tmp_path: Path) -> None:
    async with world_of(tmp_path, tracker_of(), numbers) as world:
        large, wide = far(world.blobs, b"3.0" + b"0" * 5000), far(world.blobs, b"3")
        await judged(world, [(large, wide), (ONE, wide)])
        assert {said.opinion for said in world.tracker.judged} == {Opinion.SAME, Opinion.DIFFERENT}


async def test_a_result_that_nobody_has_is_declined(tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    gone = far(MemoryBlobs(tmp_path / "else"), b"gone")
    async with world_of(tmp_path, tracker_of(), numbers) as world:
        declined, _ = await judged(world, [(gone, ONE), (ONE, TWO)])
        assert world.tracker.released == [(declined, "blob")]
        assert [said.opinion for said in world.tracker.judged] == [Opinion.SAME]


async def test_the_programs_files_are_there_and_the_units_inputs_are_not(tmp_path: Path) -> None:
    async def play(stage: Stage) -> Played:
        assert (stage.job / "program").read_bytes() == b"code"
        assert sorted(path.name for path in stage.inputs.iterdir()) == ["a", "b"]
        assert list((stage.inputs / "b").iterdir()) == []
        return Played()

    (tmp_path / "seed").mkdir()
    ahead = MemoryBlobs(tmp_path / "seed")
    files, inputs = (
        (NamedBlob(name, ahead.add(data)),) for name, data in (("program", b"code"), ("a", b""))
    )
    async with world_of(tmp_path, tracker_of(files=files, inputs=inputs), play) as world:
        world.blobs.paths |= ahead.paths
        await judged(world, [(ONE, EMPTY)])
        assert [said.opinion for said in world.tracker.judged] == [Opinion.SAME]


@pytest.mark.parametrize("played", [Played(status=2), Played(ending=Seen.WALL)])
async def test_a_comparator_that_fails_is_an_opinion_too(tmp_path: Path, played: Played) -> None:
    async def play(_: Stage) -> Played:
        return played

    async with world_of(tmp_path, tracker_of(), play) as world:
        await judged(world, [(ONE, TWO)])
        assert [said.opinion for said in world.tracker.judged] == [Opinion.FAILED]


async def test_a_comparator_whose_sandbox_died_is_declined(tmp_path: Path) -> None:
    async def play(_: Stage) -> Played:
        return Played(ending=Seen.LOST)

    async with world_of(tmp_path, tracker_of(), play) as world:
        (token,) = await judged(world, [(ONE, TWO)])
        assert world.tracker.released == [(token, "engine")]
        assert not world.tracker.judged


async def test_an_image_that_is_not_here_declines(tmp_path: Path) -> None:
    async with world_of(tmp_path, tracker_of(), numbers) as world:
        world.sandbox.available = frozenset()
        (token,) = await judged(world, [(ONE, TWO)])
        assert world.tracker.released == [(token, "image")]


async def test_units_and_comparisons_go_side_by_side(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(20, comparator=JUDGE))
    async with world_of(tmp_path, tracker, numbers) as world:
        volunteer = world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            run = group.create_task(volunteer.run())
            await tracker.until(lambda: bool(tracker.committed))
            await tracker.compare(*[(ONE, TWO)] * 20)
            await tracker.until(lambda: len(tracker.revealed) == 20 and len(tracker.judged) == 20)
            volunteer.drain()
            await run
        assert volunteer.status.done == 20
        assert world.sandbox.opened <= 2
        assert world.kept() == world.left_behind() == []


def waiting(begun: asyncio.Event, stopped: asyncio.Event) -> Play:
    """A comparator that ends only when it is ended."""

    async def play(_: Stage) -> Played:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    return play


async def test_a_revoked_comparison_is_stopped(tmp_path: Path) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()
    async with world_of(tmp_path, tracker_of(), waiting(begun, stopped)) as world:
        tracker, volunteer = world.tracker, world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            run = group.create_task(volunteer.run())
            await tracker.until(lambda: bool(tracker.wants))
            tokens = await tracker.compare((ONE, TWO))
            await begun.wait()
            await tracker.connections[-1].send(Revoked("decided", tuple(tokens)))
            await stopped.wait()
            volunteer.drain()
            await run
        assert world.heard(notices.TakenBack) == [
            notices.TakenBack(UnitId(tracker.job.id, 0), "decided")
        ]
        assert not tracker.judged
        assert world.left_behind() == []


async def test_a_lost_connection_stops_comparisons_and_the_tracker_asks_again(
    tmp_path: Path,
) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()
    async with world_of(tmp_path, tracker_of(), waiting(begun, stopped)) as world:
        tracker, volunteer = world.tracker, world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            run = group.create_task(volunteer.run())
            await tracker.until(lambda: bool(tracker.wants))
            await tracker.compare((ONE, TWO))
            await begun.wait()
            await tracker.stop()
            await stopped.wait()
            world.sandbox.play = numbers
            tracker.wants.clear()
            await tracker.start()
            await tracker.until(lambda: bool(tracker.wants))
            (again,) = await tracker.compare((ONE, TWO))
            await tracker.until(lambda: bool(tracker.judged))
            volunteer.drain()
            await run
        assert [said.token for said in tracker.judged] == [again]
        assert not tracker.released


async def test_contents_that_are_not_the_results_end_the_session(tmp_path: Path) -> None:
    async with world_of(tmp_path, tracker_of(), numbers) as world:
        tracker, volunteer = world.tracker, world.volunteer()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            run = group.create_task(volunteer.run())
            await tracker.until(lambda: bool(tracker.wants))
            await tracker.compare((replace(ONE, contents=(b"2.0\n",)), TWO))
            await tracker.until(lambda: tracker.hellos == 2)
            volunteer.drain()
            await run
        (offline,) = world.heard(notices.Offline)
        assert isinstance(offline, notices.Offline)
        assert "not what its result names" in offline.reason
        assert not tracker.judged


async def test_a_comparison_changes_nothing_of_how_units_end(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(3, comparator=JUDGE))
    async with world_of(tmp_path, tracker, numbers) as world:
        await drained(world.volunteer(), lambda: len(tracker.revealed) == 3, world)
        assert not tracker.judged
