"""What the scheduler decides, move by move, and what holds whatever happens."""

import pytest

from client.scheduling import moves
from client.scheduling.leases import State
from client.scheduling.pace import Tuning
from client.scheduling.scheduler import MAX_JOBS
from tests.client.scheduling.machine import (
    BIG,
    DATA,
    FED,
    HUGE,
    IMAGE,
    OTHER,
    PLAIN,
    PROGRAM,
    SHARED,
    TUNING,
    commits_in,
    digest_of,
    world_of,
)
from tests.client.work.tracker import job_of
from workunits.errors import LimitError
from workunits.ids import JobId
from workunits.wire import work


def test_a_unit_goes_all_the_way_and_is_forgotten_once_revealed() -> None:
    world = world_of(FED)
    (token,) = world.lease(FED.id, [5])
    world.run_through()
    assert world.scheduler.state_of(token) is State.COMMITTED
    world.ask(token)
    assert world.scheduler.state_of(token) is State.REVEALING
    world.run_through()
    assert world.ended == {token: State.DONE}
    assert world.disk == {}
    assert world.here == {PROGRAM.ref}  # only what the warm cell mounts


def test_blobs_are_fetched_once_for_all_units_that_read_them() -> None:
    world = world_of(FED)
    world.lease(FED.id, list(range(10)))
    assert world.fetching == {PROGRAM.ref, DATA.ref}
    world.fetched(PROGRAM.ref)
    assert not world.opening
    world.fetched(DATA.ref)
    assert len(world.opening) == 2


def test_cells_are_reused_by_units_of_the_same_job() -> None:
    world = world_of()
    world.lease(PLAIN.id, list(range(20)))
    world.run_through()
    assert sorted(world.cells) == [1, 2]
    assert world.scheduler.count(State.COMMITTED) == 20


def test_a_slot_keeps_its_warm_job_while_the_other_can_wait() -> None:
    world = world_of(PLAIN, FED, tuning=Tuning(slots=1, warm_bonus=5))
    world.lease(PLAIN.id, [0])
    world.lease(FED.id, [0])
    world.later(1)
    world.lease(PLAIN.id, [1])
    for ref in (PROGRAM.ref, DATA.ref):
        world.fetched(ref)
    world.opened(1)
    world.ran(1)
    assert world.running[1].unit.job == PLAIN.id
    world.ran(1)
    assert world.opening[2].job == FED.id


def test_a_job_that_is_due_earlier_is_not_starved_by_a_warm_one() -> None:
    world = world_of(PLAIN, FED, tuning=Tuning(slots=1, warm_bonus=5))
    world.lease(PLAIN.id, [0])
    world.lease(FED.id, [0], seconds=100)
    world.lease(PLAIN.id, [1], seconds=200)
    for ref in (PROGRAM.ref, DATA.ref):
        world.fetched(ref)
    world.opened(1)
    world.ran(1)
    assert world.opening[2].job == FED.id


def test_idle_cells_beyond_the_limit_are_evicted_oldest_first() -> None:
    third = job_of(5, name="third")
    world = world_of(PLAIN, BIG, third, tuning=Tuning(slots=1, warm_cells=2))
    for job in (PLAIN, BIG, third):
        world.lease(job.id, [0])
        world.run_through()
        world.later(1)
    assert [world.cells[cell].job for cell in sorted(world.cells)] == [BIG.id, third.id]


def test_idle_cells_are_closed_after_a_while() -> None:
    world = world_of()
    world.lease(PLAIN.id, [0])
    world.run_through()
    world.later(61)
    world.run_through()
    assert not world.cells


def test_memory_bounds_how_many_units_run_at_once() -> None:
    world = world_of(BIG, tuning=Tuning(slots=4, memory_bytes=1 << 30))
    world.lease(BIG.id, [0, 1, 2])
    for ref in (DATA.ref, OTHER.ref):
        world.fetched(ref)
    assert len(world.opening) == 1
    world.run_through()
    assert world.scheduler.count(State.COMMITTED) == 3


def test_a_unit_that_never_fits_is_given_back_and_no_more_are_wanted() -> None:
    world = world_of(HUGE)
    tokens = world.lease(HUGE.id, [0, 1])
    world.run_through()
    assert world.released == [(token, "memory") for token in tokens]
    assert world.want == 0


def test_the_hold_grows_with_measured_speed_and_falls_again() -> None:
    world = world_of(tuning=Tuning(slots=1, buffer=2.0))
    world.run_through()
    assert world.want == 2
    for index in range(40):
        world.lease(PLAIN.id, [index])
        if world.opening:
            world.opened(1)
        world.now += 0.01
        world.ran(1)
    world.run_through()
    assert 50 < world.want <= 82  # twice what was ever finished, and the slots
    for index in range(40, 60):
        world.lease(PLAIN.id, [index])
        world.now += 4.0
        world.ran(1)
    world.run_through()
    assert world.want == 2


def test_commits_go_at_once_when_the_wire_is_idle_and_gather_when_it_is_not() -> None:
    world = world_of(tuning=Tuning(slots=1, batch=4, batch_wait=0.05))
    world.run_through()
    world.lease(PLAIN.id, list(range(12)))
    world.opened(1)
    world.stored(world.ran(1))
    assert len(commits_in(world)) == 1
    for _ in range(3):
        world.stored(world.ran(1))
    assert len(commits_in(world)) == 1
    assert world.scheduler.due() == pytest.approx(world.now + 0.05)
    world.stored(world.ran(1))
    assert len(commits_in(world)) == 2  # the batch is full
    world.stored(world.ran(1))
    world.later(0.06)
    assert len(commits_in(world)) == 3  # the wait is over
    assert world.scheduler.due() is None


def test_a_lease_that_cannot_make_its_deadline_is_given_back() -> None:
    world = world_of(tuning=Tuning(slots=1))
    world.lease(PLAIN.id, [0])
    world.opened(1)
    late, in_time = *world.lease(PLAIN.id, [1], 15), *world.lease(PLAIN.id, [2], 50)
    world.now += 10
    world.ran(1)
    world.run_through()
    assert (late, "late") in world.released
    assert world.scheduler.state_of(in_time) is State.COMMITTED


def test_a_job_that_takes_longer_than_its_lease_is_left_alone_for_a_while() -> None:
    world = world_of(tuning=Tuning(slots=1, backoff=4.0))
    world.lease(PLAIN.id, [0])
    world.opened(1)
    world.now += 10
    world.ran(1)
    (token,) = world.lease(PLAIN.id, [1], 5)
    world.run_through()
    assert (token, "slow") in world.released
    world.later(6)
    world.lease(PLAIN.id, [2], 20)
    assert len(world.running) == 1


def test_a_lost_unit_is_given_back_and_its_job_rests_longer_each_time() -> None:
    world = world_of(tuning=Tuning(slots=1, backoff=1.0, strikes=3))
    world.lease(PLAIN.id, list(range(10)))
    world.opened(1)
    waits = []
    for _ in range(2):
        world.run_failed(next(iter(world.running)))
        world.closed(min(world.closing))
        assert not world.opening
        began = world.now
        while not world.opening:
            world.later(0.1)
        waits.append(world.now - began)
        world.opened(min(world.opening))
    assert waits[1] > waits[0] * 1.2
    world.run_failed(next(iter(world.running)))
    assert set(world.ended.values()) == {State.RELEASED}
    assert len(world.ended) == 10
    world.run_through()
    assert world.want == 0


def test_credit_is_lowered_before_leases_are_given_back() -> None:
    world = world_of(HUGE, tuning=Tuning(slots=1))
    world.outgoing.clear()
    world.lease(HUGE.id, [0, 1])
    assert [type(each) for each in world.outgoing] == [moves.SendWant, moves.SendRelease]
    world = world_of(tuning=Tuning(slots=1))
    world.lease(PLAIN.id, [0, 1])
    world.outgoing.clear()
    world.tell(moves.Drain())
    assert [type(each) for each in world.outgoing] == [moves.SendWant, moves.SendRelease]


def test_success_ends_the_rest() -> None:
    world = world_of(tuning=Tuning(slots=1))
    world.lease(PLAIN.id, [0, 1])
    world.opened(1)
    world.run_failed(1)
    world.closed(1)
    world.later(2)
    world.run_through()
    world.lease(PLAIN.id, [2])
    assert len(world.running) == 1


def test_a_missing_image_gives_all_units_of_the_job_back() -> None:
    world = world_of()
    tokens = world.lease(PLAIN.id, list(range(5)))
    world.open_failed(1, "image")
    world.open_failed(2, "image")
    world.run_through()
    assert sorted(world.released) == [(token, "image") for token in tokens]


def test_a_blob_that_cannot_be_had_gives_its_units_back_and_is_asked_for_again_later() -> None:
    world = world_of(FED)
    tokens = world.lease(FED.id, [0, 1])
    world.fetch_failed(DATA.ref)
    assert world.ended == dict.fromkeys(tokens, State.RELEASED)
    assert world.fetching == set()
    world.later(5)
    world.lease(FED.id, [2])
    assert world.fetching == {PROGRAM.ref, DATA.ref}


def test_a_revoked_unit_is_stopped_and_its_slot_waits_for_the_cell_to_end() -> None:
    world = world_of(tuning=Tuning(slots=1))
    first, second = world.lease(PLAIN.id, [0, 1])
    world.opened(1)
    world.revoke(first)
    assert world.closing == {1}
    assert not world.opening
    world.closed(1)
    assert len(world.opening) == 1
    assert world.scheduler.state_of(second) is State.RUNNING


def test_a_unit_revoked_while_its_cell_opens_leaves_the_cell_to_the_next() -> None:
    world = world_of(tuning=Tuning(slots=1))
    first, second = world.lease(PLAIN.id, [0, 1])
    world.revoke(first)
    world.opened(1)
    assert world.running[1].token == second


def test_a_result_that_comes_after_the_revocation_is_dropped() -> None:
    world = world_of()
    (token,) = world.lease(PLAIN.id, [0])
    world.opened(1)
    world.ran(1)
    world.revoke(token)
    world.stored(token)
    world.run_through()
    assert world.ended == {token: State.REVOKED}
    assert world.committed == set()


def test_a_pause_lets_running_units_end_and_starts_none() -> None:
    world = world_of(tuning=Tuning(slots=1))
    world.lease(PLAIN.id, [0, 1])
    world.tell(moves.Pause())
    world.run_through()
    assert world.want == 0
    assert world.scheduler.count(State.COMMITTED) == 1
    world.tell(moves.Resume())
    world.run_through()
    assert world.want > 0
    assert world.scheduler.count(State.COMMITTED) == 2


def test_a_drain_gives_back_finishes_commits_reveals_and_ends() -> None:
    world = world_of(tuning=Tuning(slots=1))
    first, *rest = world.lease(PLAIN.id, [0, 1, 2])
    world.opened(1)
    world.tell(moves.Drain())
    assert world.ended == dict.fromkeys(rest, State.RELEASED)
    world.run_through()
    assert (world.want, world.finished) == (0, 0)
    world.ask(first)
    world.run_through()
    assert world.finished == 1


def test_a_drain_does_not_wait_for_ever_to_be_asked() -> None:
    world = world_of(tuning=Tuning(slots=1, linger=30))
    (token,) = world.lease(PLAIN.id, [0])
    world.opened(1)
    world.tell(moves.Drain())
    world.run_through()
    world.later(29)
    assert world.finished == 0
    world.later(2)
    assert world.finished == 1
    assert token in world.disk


def test_a_drain_of_an_idle_volunteer_ends_at_once() -> None:
    world = world_of(connected=False)
    world.tell(moves.Drain())
    assert world.finished == 1


def test_an_index_outside_of_the_job_is_given_back() -> None:
    world = world_of()
    (token,) = world.lease(PLAIN.id, [100])
    world.run_through()
    assert world.released == [(token, "malformed")]


def test_a_lease_on_a_job_that_was_never_offered_is_given_back() -> None:
    world = world_of()
    (token,) = world.lease(JobId(bytes(32)), [0])
    world.run_through()
    assert world.released == [(token, "job")]


def test_a_tracker_cannot_offer_jobs_without_end() -> None:
    world = world_of()
    world.scheduler._book.jobs |= {
        JobId(number.to_bytes(32, "big")): None  # type: ignore[misc]
        for number in range(MAX_JOBS)
    }
    with pytest.raises(LimitError):
        world.tell(moves.Offered(FED))


def test_more_leases_than_a_peer_may_hold_are_given_back() -> None:
    job = job_of(work.MAX_HOLD + 10)
    world = world_of(job)
    world.lease(job.id, list(range(work.MAX_HOLD + 10)))
    assert world.scheduler.count(State.WAITING, State.READY, State.RUNNING) == work.MAX_HOLD


def test_what_is_far_too_much_is_given_back_unit_by_unit() -> None:
    world = world_of(tuning=Tuning(slots=1, window=2))
    world.lease(PLAIN.id, list(range(50)))
    world.later(1)
    assert world.scheduler.count(State.WAITING, State.READY, State.RUNNING) == 4


def test_the_digest_of_the_world_is_the_one_that_is_committed() -> None:
    world = world_of()
    (token,) = world.lease(PLAIN.id, [3])
    world.opened(1)
    world.stored(world.ran(1))
    assert commits_in(world) == [
        moves.SendCommits(PLAIN.id, (moves.Ready(token, 3, digest_of(token)),))
    ]


def test_a_shared_image_is_fetched_before_a_cell_is_opened_and_kept_while_it_is_there() -> None:
    world = world_of(SHARED)
    world.lease(SHARED.id, [0, 1])
    assert world.fetching == {IMAGE, PROGRAM.ref}
    world.fetched(PROGRAM.ref)
    assert not world.opening
    world.fetched(IMAGE)
    assert len(world.opening) == 2
    world.run_through()
    assert world.here == {IMAGE, PROGRAM.ref}
    world.later(TUNING.idle + 1)
    world.tell(moves.Tick())
    world.run_through()
    assert world.here == set()


def test_a_job_whose_image_cannot_be_had_is_left_alone() -> None:
    world = world_of(SHARED, PLAIN)
    tokens = world.lease(SHARED.id, [0, 1, 2])
    world.fetch_failed(IMAGE)
    assert [each for each in world.outgoing if isinstance(each, moves.SendRelease)] == [
        moves.SendRelease(tuple(tokens), "image")
    ]
    world.outgoing.clear()
    world.lease(SHARED.id, [3])
    assert [each.reason for each in world.outgoing if isinstance(each, moves.SendRelease)] == [
        "image"
    ]
