"""Who is leased what, where jobs read blobs: who holds them first, nobody without room."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.tracker.work.world import Actor, World, manifest, pair
from tracker.work.larder import BURST
from tracker.work.leasing import FETCHING, TURN
from tracker.work.state import Job
from workunits.errors import RefusedError
from workunits.ids import BlobRef, JobId
from workunits.images import Layer, chain_id
from workunits.manifest import Manifest, Program
from workunits.parameters import Files, NamedBlob, Range, Sweep
from workunits.verification import Policy
from workunits.wire.holds import Holds, name_of

GB = 1 << 30
MODEL, OTHER, BASE, TOP = (BlobRef(word * 32, word * 20, GB) for word in (b"m", b"o", b"b", b"t"))
DIFFS = (b"1" * 32, b"2" * 32)
SHARED = Program(
    chain_id(DIFFS), ("run", "{p}"), (), "", (Layer(DIFFS[0], BASE), Layer(DIFFS[1], TOP))
)


def reading(*refs: BlobRef, units: int = 100, nonce: int = 0) -> Manifest:
    inputs = tuple(NamedBlob(f"f{at}", ref) for at, ref in enumerate(refs))
    return replace(manifest(units, policy=Policy.TRUSTED, nonce=nonce), inputs=inputs)


def file(number: int) -> BlobRef:
    return BlobRef(bytes([number]) * 32, bytes([number]) * 20, GB)


def split(files: int, each: int = 1) -> Manifest:
    """A job whose units read a file of their own, ``each`` in a row the same."""
    named = tuple(NamedBlob(f"f{at}", file(at)) for at in range(1, files + 1))
    axes = (Files("p", named), Range("q", 0, 1, each))
    return replace(manifest(policy=Policy.TRUSTED), parameters=Sweep(axes))


def counts(actor: Actor) -> Counter[JobId]:
    return Counter(unit.job for unit in actor.leases.values())


def indices(actor: Actor) -> list[int]:
    return sorted(unit.index for unit in actor.leases.values())


def volunteer(world: World, name: str, *held: BlobRef, disk: int = 10 * GB, hold: int = 1) -> Actor:
    return world.actor(name, connect=False).connect(disk=disk, held=held, hold=hold)


def submit(world: World, *jobs: Manifest) -> list[Job]:
    return [world.submit(job) for job in jobs]


def test_a_job_that_does_not_fit_is_never_leased() -> None:
    world = World()
    small = volunteer(world, "small", disk=2 * GB - 1)
    world.submit(reading(MODEL, OTHER))
    assert not small.leases
    assert world.desk.obstacle(*world.desk.jobs.values()) == (
        "no connected peer has the image, the memory and the disk that the job needs"
    )
    assert volunteer(world, "large", disk=2 * GB).leases


def test_what_is_held_needs_no_room_but_must_fit_together() -> None:
    world = World()
    job = reading(MODEL, OTHER)
    world.submit(job)
    worker = volunteer(world, "worker", disk=2 * GB, hold=0)
    worker.say(GB - 1, MODEL)
    worker.want(1)
    assert not worker.leases
    worker.say(GB)
    assert worker.leases


def test_two_jobs_that_fit_alone_are_not_leased_together() -> None:
    world = World()
    one, two = submit(world, reading(MODEL), reading(OTHER, nonce=1))
    worker = volunteer(world, "worker", disk=GB, hold=50)
    assert counts(worker) == {one.id: 50}
    # the first is done, its blob may go
    worker.commit()
    worker.reveal()
    worker.say(GB)
    world.cancel(one)
    assert set(counts(worker)) == {two.id}


def test_a_shared_image_is_leased_to_those_who_have_room_for_it_twice() -> None:
    world = World()
    world.submit(replace(manifest(10, policy=Policy.TRUSTED), program=SHARED))
    assert not volunteer(world, "small", disk=4 * GB - 1).leases
    assert volunteer(world, "large", disk=4 * GB).leases
    holder = volunteer(world, "holder", disk=4 * GB, hold=0)
    holder.say(3 * GB, BASE)
    holder.want(1)
    assert holder.leases
    has = world.actor("has", connect=False).connect(images=(SHARED.image,))
    assert has.leases


def test_an_image_that_is_not_shared_is_not_leased_without_it() -> None:
    world = World()
    world.submit(manifest(policy=Policy.TRUSTED))
    lacks = world.actor("lacks", connect=False).connect(images=(), disk=10 * GB)
    assert not lacks.leases


def test_a_peer_gets_the_job_whose_inputs_it_holds() -> None:
    world = World()
    one, two = submit(world, reading(MODEL), reading(OTHER, nonce=1))
    assert counts(volunteer(world, "a", OTHER)) == {two.id: 1}
    assert counts(volunteer(world, "b", MODEL)) == {one.id: 1}
    assert counts(volunteer(world, "c")) == {one.id: 1}


def test_a_peer_that_lacks_something_of_all_jobs_gets_that_of_which_it_lacks_least() -> None:
    world = World()
    _, two = submit(world, reading(MODEL, OTHER, BASE), reading(OTHER, TOP, nonce=1))
    assert counts(volunteer(world, "a", MODEL, TOP)) == {two.id: 1}


def test_a_job_is_passed_over_for_one_turn_at_most() -> None:
    world = World()
    one, two = submit(world, reading(MODEL, units=500), reading(OTHER, units=500, nonce=1))
    worker = volunteer(world, "worker", OTHER, hold=4 * TURN)
    assert counts(worker) == {one.id: 2 * TURN, two.id: 2 * TURN}
    assert [unit.job for unit in worker.leases.values()][:TURN] == [two.id] * TURN


def test_jobs_without_inputs_have_their_turns_as_ever() -> None:
    world = World()
    one, two, three = submit(
        world, *(manifest(500, policy=Policy.TRUSTED, nonce=nonce) for nonce in range(3))
    )
    worker = world.actor("worker", connect=False).connect(hold=4 * TURN + 5)
    assert counts(worker) == {one.id: 2 * TURN, two.id: TURN + 5, three.id: TURN}


def test_a_given_up_unit_comes_before_a_fresh_one_of_which_the_file_is_held() -> None:
    world = World()
    world.submit(split(4))
    first = volunteer(world, "first")
    assert indices(first) == [0]
    first.disconnect()
    world.tick(31)
    assert indices(volunteer(world, "second", file(3))) == [0]
    assert indices(volunteer(world, "third", file(3))) == [2]


def test_a_peer_begins_with_the_file_that_it_holds_and_goes_on_with_it() -> None:
    world = World()
    world.submit(split(10, each=5))
    worker = volunteer(world, "worker", file(4), disk=100 * GB, hold=7)
    assert indices(worker) == [0, 1, *range(15, 20)]


def test_files_that_do_not_fit_are_left_to_others() -> None:
    world = World()
    world.submit(split(4))
    worker = volunteer(world, "worker", disk=2 * GB, hold=10)
    assert indices(worker) == [0, 1]
    worker.commit()
    worker.reveal()
    worker.say(2 * GB, file(1), file(2))
    assert indices(worker) == [2, 3]


def test_hungry_peers_that_hold_the_inputs_are_served_before_others() -> None:
    world = World()
    names = [f"w{at}" for at in range(6)]
    workers = [volunteer(world, name, *([MODEL] if name == "w4" else [])) for name in names]
    world.submit(reading(MODEL, units=1))
    assert [bool(worker.leases) for worker in workers] == [name == "w4" for name in names]
    workers[4].release()
    assert sum(bool(worker.leases) for worker in workers) == 1


def test_a_lease_is_longer_where_there_is_something_to_fetch() -> None:
    world = World()
    world.submit(reading(MODEL))
    assert volunteer(world, "worker").seconds == 60 + 10 + GB // FETCHING


def test_gaps_survive_a_restart() -> None:
    world = World()
    job = world.submit(split(10, each=5))
    volunteer(world, "worker", file(4), hold=6, disk=100 * GB)
    before = job.fresh.ranges
    assert before == ((1, 15), (20, 50))
    world.restart()
    assert world.desk.jobs[job.id].fresh.ranges == before
    leased = indices(volunteer(world, "next", file(2), disk=100 * GB, hold=50))
    assert len(leased) == 44


def test_saying_too_often_what_is_held_is_refused() -> None:
    world = World()
    worker = volunteer(world, "worker")
    for _ in range(BURST):
        worker.say(GB)
    with pytest.raises(RefusedError):
        worker.say(GB)


def test_who_holds_nothing_any_more_is_asked_like_all_others() -> None:
    world = World()
    worker = volunteer(world, "worker", MODEL, OTHER, hold=0)
    worker.say(10 * GB, removed=[OTHER])
    _, two = submit(world, reading(OTHER), reading(MODEL, nonce=1))
    worker.want(1)
    assert counts(worker) == {two.id: 1}


def drawn(*claimed: BlobRef) -> list[int]:
    """Which of four peers are drawn to check, where one claims to hold something."""
    world = World()
    job = world.submit(replace(reading(MODEL, units=40), policy=Policy.PAIR))
    worker = volunteer(world, "worker", MODEL, hold=40)
    checkers = [volunteer(world, f"c{at}", hold=0) for at in range(4)]
    checkers[0].say(10 * GB, *claimed)
    worker.commit()
    found = [unit.drawn for unit in job.units.values() if unit.drawn]
    world.audit()
    return [[each.key for each in checkers].index(peer.key) for peer in found]


def test_who_is_drawn_to_check_does_not_depend_on_what_is_held() -> None:
    found = drawn()
    assert len(found) == 40
    assert set(found) == {0, 1, 2, 3}
    assert drawn(MODEL) == found


def test_a_drawn_peer_without_room_comes_later_or_is_drawn_past() -> None:
    world = World()
    job = world.submit(replace(reading(MODEL, units=1), policy=Policy.PAIR))
    worker = volunteer(world, "worker")
    checker = volunteer(world, "checker", hold=0)
    checker.say(GB - 1)
    checker.want(1)
    worker.commit()
    assert job.units[0].drawn is world.desk.peers[checker.key]
    assert not checker.leases
    checker.say(GB)
    assert checker.leases


def test_nobody_is_drawn_who_never_has_room() -> None:
    world = World()
    job = world.submit(replace(reading(MODEL, units=1), policy=Policy.PAIR))
    worker = volunteer(world, "worker")
    volunteer(world, "small", disk=GB - 1)
    worker.commit()
    assert job.waiting
    volunteer(world, "large", disk=GB)
    assert not job.waiting
    world.audit()


def test_a_frame_before_the_session_changes_nothing() -> None:
    world = World()
    worker = volunteer(world, "worker")
    worker.disconnect()
    world.desk.holds(worker.key, Holds(5, frozenset([name_of(MODEL)])), world.now)
    assert world.desk.peers[worker.key].larder is None
    assert pair(world)
