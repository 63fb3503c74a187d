"""Comparisons: taken on before units, run in a cell of their job, answered once or declined."""

import pytest

from client.scheduling import moves
from client.scheduling.comparisons import MAX_HELD
from client.scheduling.leases import State
from client.scheduling.pace import Tuning
from tests.client.scheduling.machine import INLINE, JUDGED, PLAIN, PROGRAM, World, far
from tests.client.work.tracker import JUDGE, job_of, ref_of, shown
from workunits.ids import JobId, LeaseToken, UnitId
from workunits.manifest import SignedManifest
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result
from workunits.wire.compare import Opinion, Shown

ALONE = job_of(100, comparator=JUDGE, name="alone")
OTHER = shown({"out": b"other"})


def world_of(*jobs: SignedManifest, slots: int = 1) -> World:
    world = World(Tuning(slots=slots), list(jobs))
    world.connect()
    return world


def test_a_comparison_runs_in_a_cell_of_its_job_and_its_opinion_is_sent() -> None:
    world = world_of(JUDGED)
    (token,) = world.compare(JUDGED.id, (INLINE, OTHER), index=5)
    world.fetched(PROGRAM.ref)
    world.opened(1)
    (judge,) = world.running.values()
    assert isinstance(judge, moves.Judge)
    assert judge.unit == UnitId(JUDGED.id, 5)
    world.run_through()
    (said,) = world.judged
    assert (said.token, said.index, said.opinion) == (token, 5, Opinion(token % 3))
    assert (said.a, said.b) == (INLINE.result.digest, OTHER.result.digest)
    assert world.ended == {token: State.JUDGED}
    assert list(world.cells) == [1]
    assert not world.closing


def test_units_and_comparisons_of_a_job_share_a_cell() -> None:
    world = world_of(ALONE)
    world.lease(ALONE.id, [0])
    world.run_through()
    world.compare(ALONE.id, (INLINE, OTHER))
    world.run_through()
    world.lease(ALONE.id, [1])
    world.run_through()
    assert list(world.cells) == [1]
    assert len(world.judged) == 1
    assert len(world.committed) == 2


def test_results_that_are_blobs_are_fetched_once_and_let_go() -> None:
    world = world_of(ALONE)
    world.compare(ALONE.id, (far(4), far(5)), (far(4), INLINE))
    assert world.fetching == {ref_of(4), ref_of(5)}
    world.run_through()
    assert len(world.judged) == 2
    assert not world.here


def test_a_comparison_goes_before_the_units_that_wait() -> None:
    world = world_of(ALONE)
    world.lease(ALONE.id, list(range(5)))
    (token,) = world.compare(ALONE.id, (INLINE, OTHER))
    world.opened(1)
    world.ran(1)
    assert world.running[1].token == token


def test_a_comparison_takes_a_slot_and_no_credit() -> None:
    world = world_of(ALONE)
    world.compare(ALONE.id, (INLINE, OTHER), (OTHER, INLINE))
    want = world.want
    world.opened(1)
    assert world.scheduler.count(State.RUNNING) == 1
    assert world.scheduler.count(State.READY) == 1
    world.lease(ALONE.id, [0])
    assert world.scheduler.count(State.RUNNING) == 1
    world.run_through()
    assert world.want >= want


def test_how_long_comparisons_take_says_nothing_of_units() -> None:
    world = world_of(ALONE)
    world.compare(ALONE.id, (INLINE, OTHER))
    world.opened(1)
    world.later(500.0)
    world.ran(1)
    world.lease(ALONE.id, [0], seconds=20)
    assert not world.released
    world.run_through()
    assert world.committed


def test_a_revoked_comparison_is_ended_with_its_cell() -> None:
    world = world_of(ALONE)
    running, ready = world.compare(ALONE.id, (INLINE, OTHER), (OTHER, INLINE))
    world.opened(1)
    world.revoke(running)
    world.revoke(ready)
    assert world.closing == {1}
    world.run_through()
    assert not world.judged
    assert world.ended == {running: State.REVOKED, ready: State.REVOKED}


def test_a_lost_connection_forgets_comparisons_and_keeps_leases() -> None:
    world = world_of(ALONE, slots=2)
    (lease,) = world.lease(ALONE.id, [0])
    (comparison,) = world.compare(ALONE.id, (INLINE, OTHER))
    for cell in (1, 2):
        world.opened(cell)
    world.disconnect()
    assert world.ended == {comparison: State.REVOKED}
    assert world.scheduler.state_of(lease) is State.RUNNING
    world.connect()
    world.run_through()
    assert not world.judged
    assert not world.released
    (again,) = world.compare(ALONE.id, (INLINE, OTHER))
    world.run_through()
    assert [said.token for said in world.judged] == [again]


def test_a_blob_that_nobody_has_declines_the_comparison_and_not_the_job() -> None:
    world = world_of(ALONE)
    for _ in range(5):
        world.compare(ALONE.id, (far(4), INLINE))
        world.fetch_failed(ref_of(4))
        world.run_through()
    assert [reason for _, reason in world.released] == ["blob"] * 5
    world.lease(ALONE.id, [0])
    world.run_through()
    assert world.committed


@pytest.mark.parametrize("reason", ["engine", "image"])
def test_a_cell_that_cannot_be_opened_declines_the_comparison(reason: str) -> None:
    world = world_of(ALONE)
    (token,) = world.compare(ALONE.id, (INLINE, OTHER))
    world.open_failed(1, reason)
    world.run_through()
    assert world.released == [(token, reason)]


def test_a_comparison_that_was_lost_is_declined() -> None:
    world = world_of(ALONE)
    (token,) = world.compare(ALONE.id, (INLINE, OTHER))
    world.opened(1)
    world.run_failed(1)
    world.run_through()
    assert world.released == [(token, "engine")]


def test_a_comparison_that_nobody_got_to_in_time_is_declined() -> None:
    world = world_of(ALONE)
    _, token = world.compare(ALONE.id, (INLINE, OTHER), (OTHER, INLINE), seconds=20)
    world.opened(1)
    world.later(21.0)
    world.run_through()
    assert world.released == [(token, "late")]
    assert len(world.judged) == 1


def test_who_drains_finishes_the_comparison_that_runs_and_takes_no_other() -> None:
    world = world_of(ALONE)
    _, waiting = world.compare(ALONE.id, (INLINE, OTHER), (OTHER, INLINE))
    world.opened(1)
    world.tell(moves.Drain())
    (late,) = world.compare(ALONE.id, (INLINE, OTHER))
    world.run_through()
    assert world.released == [(waiting, "shutdown"), (late, "shutdown")]
    assert len(world.judged) == 1
    assert world.finished == 1


def sized(length: int) -> Shown:
    ref = ref_of(4, length)
    return Shown(Result(Ending.EXITED, 0, (NamedBlob("out", ref),)))


@pytest.mark.parametrize(
    ("job", "result", "index", "reason"),
    [
        (PLAIN, OTHER, 0, "malformed"),  # it brings no comparator
        (ALONE, OTHER, 100, "malformed"),
        (ALONE, shown({"undeclared": b""}), 0, "malformed"),
        (ALONE, sized((1 << 20) + 1), 0, "malformed"),
        (job_of(1, comparator=JUDGE, memory=8 << 30), OTHER, 0, "memory"),
    ],
)
def test_what_cannot_be_compared_is_declined(
    job: SignedManifest, result: Shown, index: int, reason: str
) -> None:
    for pair in ((INLINE, result), (result, INLINE)):
        world = world_of(job)
        (token,) = world.compare(job.id, pair, index=index)
        world.run_through()
        assert world.released == [(token, reason)]
        assert not world.here


def test_a_job_that_was_not_offered_is_declined() -> None:
    world = world_of(ALONE)
    (token,) = world.compare(JobId(bytes(32)), (INLINE, OTHER))
    world.run_through()
    assert world.released == [(token, "job")]


def test_no_more_are_held_than_fit() -> None:
    world = world_of(ALONE)
    tokens = world.compare(ALONE.id, *[(INLINE, OTHER)] * (MAX_HELD + 2))
    assert world.scheduler.count(State.READY) == MAX_HELD - 1
    world.run_through()
    assert world.released == [(token, "surplus") for token in tokens[-2:]]
    assert len(world.judged) == MAX_HELD


def test_a_repeated_question_is_one_comparison_and_a_late_opinion_is_none() -> None:
    world = world_of(ALONE)
    (token,) = world.compare(ALONE.id, (INLINE, OTHER))
    world.next_token = token
    world.compare(ALONE.id, (INLINE, OTHER))
    assert world.scheduler.count(State.RUNNING, State.READY) == 1
    world.opened(1)
    world.revoke(token)
    world.tell(moves.Judged(token, Opinion.SAME))
    world.tell(moves.Judged(LeaseToken(99), Opinion.SAME))
    world.run_through()
    assert not world.judged


def test_comparisons_go_in_the_order_in_which_they_came() -> None:
    world = world_of(ALONE)
    world.lease(ALONE.id, [0, 1])
    first = world.compare(ALONE.id, (INLINE, OTHER), (OTHER, INLINE), (INLINE, INLINE))
    world.revoke(first[1])
    last = world.compare(ALONE.id, (INLINE, OTHER))
    world.run_through()
    assert [said.token for said in world.judged] == [first[0], first[2], *last]
