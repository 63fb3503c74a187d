"""Real volunteers at a real tracker: results that differ in bytes, and a comparator that knows."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from client.work.volunteer import Capacity, Volunteer
from sandbox.fake import FakeSandbox, Play, Played, Stage
from tests.client.work.tracker import IMAGE, JUDGE, rng
from tests.client.work.volunteering import MemoryBlobs
from tests.tracker.serving import SECONDS, Served, identity, served
from tests.tracker.work.world import SUBMITTER
from tracker.work.state import Job
from workunits.ids import JobId
from workunits.manifest import Limits, Manifest, Program
from workunits.parameters import Range, Sweep
from workunits.signing import Identity
from workunits.verification import Policy
from workunits.wire.handshake import Vouch

UNITS = 4


def manifest() -> Manifest:
    """Numbers, compared by a program of the submitter's."""
    return Manifest(
        submitter=SUBMITTER.key,
        name="numbers",
        program=Program(IMAGE, ("number", "{n}")),
        parameters=Sweep((Range("n", 0, 1, UNITS),)),
        inputs=(),
        outputs=("out",),
        limits=Limits(10, 10, 16 << 20, 1 << 20),
        price=1,
        policy=Policy.PAIR,
        comparator=JUDGE,
        nonce=bytes(16),
    )


def writing(template: str, compared: list[str], *, lies: bool = False) -> Play:
    """A program that writes a number in its own way, and a comparator that ignores spaces.

    With ``lies`` the number of one unit is a lie.
    """

    async def play(stage: Stage) -> Played:
        if stage.task.command[0] == "number":
            number = stage.task.command[1]
            (stage.out / "out").write_text(
                template.format("lie" if lies and number == "0" else number)
            )
            return Played()
        a, b = ((stage.inputs / name / "out").read_text() for name in "ab")
        assert a != b
        compared.append(a.strip())
        return Played(status=int(a.split() != b.split()))

    return play


async def computed(
    tracker: Served, folder: Path, volunteers: Mapping[str, Play], referee: Play | None = None
) -> Job:
    """A job that volunteers computed to its end; the ``referee`` is the operator's validator.

    They share one store, as peers of one swarm would.
    """
    blobs = MemoryBlobs(folder / "blobs")
    blobs.folder.mkdir()

    def volunteer(name: str, play: Play, owner: Identity | None = None) -> Volunteer:
        mine = identity(name)
        return Volunteer(
            tracker.url,
            mine,
            FakeSandbox(play),
            blobs,
            capacity=Capacity(2, 1 << 30),
            state=folder / name / "state",
            scratch=folder / name / "scratch",
            validator=owner is not None,
            vouch=Vouch.sign(owner, mine.key) if owner else None,
            rng=rng(),
        )

    await tracker.grant()
    view = await tracker.submit(manifest())
    sessions = tracker.running.sessions
    job = sessions.desk.jobs[JobId(bytes.fromhex(view["id"]))]
    crowd = [volunteer(name, play) for name, play in volunteers.items()]
    if referee:
        crowd.append(volunteer("referee", referee, tracker.running.identity))
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        for each in crowd:
            group.create_task(each.run())
        while job.id in sessions.desk.jobs:
            await sessions.durable()
        for each in crowd:
            each.drain()
    return job


@pytest.mark.parametrize("padding", [0, 5000], ids=["inline", "as blobs"])
async def test_results_that_differ_in_spaces_are_the_same_for_a_comparator_that_ignores_them(
    tmp_path: Path, padding: int
) -> None:
    compared: list[str] = []
    async with served(tmp_path / "tracker") as tracker:
        both = {
            "one": writing("{} " + " " * padding, compared),
            "two": writing("{}\n" + " " * padding, compared),
        }
        job = await computed(tracker, tmp_path, both, referee=writing("{}", compared))
        assert sorted(compared) == [str(number) for number in range(UNITS)]
        assert (job.accepted, job.failed, job.wrong) == (UNITS, 0, 0)
        view = await tracker.ask("/api/v1/accounts")
        paid = {each["account"]: each["earned"] for each in view["accounts"] if each["earned"]}
        assert paid == {identity(name).key.hex(): UNITS for name in ("one", "two")}


async def test_without_a_referee_two_others_compare_and_who_computed_something_else_is_wrong(
    tmp_path: Path,
) -> None:
    compared: list[str] = []
    async with served(tmp_path / "tracker") as tracker:
        crowd = {f"honest{at}": writing("{}" + " " * at, compared) for at in range(7)}
        crowd["liar"] = writing("{}", compared, lies=True)
        job = await computed(tracker, tmp_path, crowd)
        assert (job.accepted, job.failed) == (UNITS, 0)
        peers = tracker.running.sessions.desk.peers
        wrong = {key: each.wrong for key, each in peers.items() if each.wrong}
        assert set(wrong) <= {identity("liar").key}
