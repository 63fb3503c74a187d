"""Comparisons that fail, are late, are lost, or are about something else."""

import dataclasses

import pytest

from tests.tracker.work.disputes import asked, disputed, failed, referee, same
from tests.tracker.work.world import (
    PATIENCE,
    PROGRAM,
    WALL,
    Actor,
    World,
    blob,
    manifest,
    same_number,
)
from tracker.work.comparing import ROUNDS
from tracker.work.dispute import MAX_LOST
from tracker.work.table import Asking, Hearing, IllegalTransitionError, next_asking
from workunits.errors import RefusedError
from workunits.ids import Digest, LeaseToken
from workunits.results import INLINE_LIMIT, Ending, Result, commitment, seal
from workunits.wire.compare import Compared, Judgement, Opinion
from workunits.wire.work import Commit, Commits, Reveal


def test_comparators_that_fail_three_times_leave_the_two_different() -> None:
    world = World()
    job, _ = disputed(world, "right", "wrong")
    actors = [world.actor(f"judge{at}", validator=True) for at in range(4)]
    said = []
    for _ in range(4):
        for actor in actors:
            said += actor.opine(same_number)
    assert said == [Opinion.FAILED] * MAX_LOST
    assert not asked(*actors)
    assert sum(bool(actor.leases) for actor in actors) == 1
    assert list(job.units[0].opinions.values()) == [False]


def test_an_owner_with_many_peers_fails_once_before_others_are_asked() -> None:
    world = World()
    crowd: list[Actor] = []

    def come() -> None:
        crowd.extend(world.actor(f"kin{at}", owner="rich", validator=True) for at in range(20))
        crowd.extend(world.actor(f"judge{at}", validator=True) for at in range(2))

    job, _ = disputed(world, "1.0", "1.00", come=come)
    said = []
    for _ in range(4):
        for actor in crowd:
            said += actor.opine(failed if actor.owner != actor.key else same)
    assert said.count(Opinion.FAILED) <= 1
    assert job.accepted == 1


def test_a_single_referee_is_asked_again_when_its_comparator_failed() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    judge = referee(world)
    assert judge.opine(failed) == [Opinion.FAILED]
    assert judge.opine(same) == [Opinion.SAME]
    assert job.accepted == 1


def test_a_comparison_that_is_declined_goes_to_another() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    judge = referee(world)
    other = world.actor("other", validator=True)
    judge.release(list(judge.pairs))
    assert asked(judge, other) == [other]
    judge.connect()
    other.opine(same)
    judge.opine(same)
    assert job.accepted == 1


def test_a_comparison_that_is_late_is_revoked_counts_as_late_and_goes_to_another() -> None:
    world = World()
    disputed(world, "1.0", "1.00")
    judge = referee(world)
    (token,) = judge.pairs
    other = world.actor("other", validator=True)
    assert judge.seconds == PATIENCE.reveal + (ROUNDS + 1) * WALL
    world.tick(judge.seconds - 1)
    assert not other.pairs
    world.tick(1)
    assert judge.revoked == {token: "the comparison is over its deadline"}
    assert world.desk.peers[judge.key].late == 1
    assert other.pairs


def test_a_peer_that_loses_its_connection_forgets_and_another_is_asked_at_once() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    judge = referee(world)
    old = dict(judge.pairs)
    judge.disconnect()
    assert world.desk.obstacle(job) == "1 results wait for peers of other owners to compare them"
    judge.connect()
    assert not old.keys() & judge.pairs.keys()
    judge.pairs |= old
    assert judge.opine(same) == [Opinion.SAME] * 2, "the old token is worth nothing, and no harm"
    assert not judge.failures
    assert job.accepted == 1


def test_a_second_session_of_a_peer_is_asked_anew() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    judge = referee(world)
    (first,) = judge.pairs
    judge.connect()
    (second,) = judge.pairs
    assert first != second
    judge.opine(same)
    assert job.accepted == 1


def test_a_cancelled_job_takes_its_comparisons_along() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    judge = referee(world)
    (token,) = judge.pairs
    pairs = dict(judge.pairs)
    world.cancel(job)
    assert judge.revoked == {token: "the comparison is not needed any more"}
    judge.pairs = pairs
    judge.opine(same)
    assert not judge.failures
    world.tick(10_000)
    assert world.desk.peers[judge.key].late == 0


def test_a_voter_that_is_banned_takes_the_comparison_of_its_result_along() -> None:
    world = World()
    job, (cheat, honest) = disputed(world, "9.0", "1.0")
    judge = referee(world)
    (token,) = judge.pairs
    world.desk._court._ban(world.desk.peers[cheat.key], world.now)
    world.pump()
    assert token in judge.revoked
    assert [each.peer.key for each in job.units[0].committed] == [honest.key]


def test_a_judge_that_is_banned_is_replaced() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    one, two = world.actor("one", validator=True), world.actor("two", validator=True)
    (actor,) = asked(one, two)
    (token,) = actor.pairs
    world.desk._court._ban(world.desk.peers[actor.key], world.now)
    world.pump()
    assert asked(one, two) == [two if actor is one else one]
    with pytest.raises(RefusedError):
        actor.connect()
    assert token not in asked(one, two)[0].pairs
    assert job.accepted == 0


@pytest.mark.parametrize("change", ["a", "b", "index", "job"])
def test_an_opinion_of_other_results_than_were_shown_is_refused_and_lost(change: str) -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    judge = referee(world)
    other = world.submit(manifest(nonce=7, comparator=PROGRAM))
    ((_, pair),) = judge.pairs.values()
    said = pair.judged(Opinion.SAME)
    if change == "a":
        said = dataclasses.replace(said, a=Digest(bytes(32)))
    if change == "b":
        said = dataclasses.replace(said, b=Digest(bytes(32)))
    if change == "index":
        said = dataclasses.replace(said, index=1)
    batch = Compared.sign(judge.identity, other.id if change == "job" else job.id, [said])
    world.desk.compared(judge.key, batch, world.now)
    judge.pairs = {}
    world.pump()
    assert "other results" in judge.failures[0].message
    assert job.accepted == 0
    assert len(judge.pairs) == 1, "nobody else is there, so it is asked again"


def test_opinions_that_nobody_asked_for_change_nothing() -> None:
    world = World()
    job, (voter, _) = disputed(world, "1.0", "1.00")
    judge = referee(world)
    ((token, (_, pair)),) = judge.pairs.items()
    for actor, named in ((voter, token), (judge, LeaseToken(2**63))):
        said = Judgement(named, 0, pair.a.result.digest, pair.b.result.digest, Opinion.SAME)
        world.desk.compared(actor.key, Compared.sign(actor.identity, job.id, [said]), world.now)
        world.pump()
        assert not actor.failures
    assert job.accepted == 0
    assert judge.pairs
    judge.opine(same)
    assert job.accepted == 1


def test_an_opinion_that_is_said_twice_counts_once() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    one = world.actor("one", validator=True)
    pairs = dict(one.pairs)
    one.opine(same)
    one.pairs = pairs
    one.opine(same)
    assert job.accepted == 0


def test_a_restart_in_the_middle_asks_again() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    one, two, three = (world.actor(name, validator=True) for name in ("one", "two", "three"))
    (first,) = asked(one, two, three)
    first.opine(same)
    before = {actor: dict(actor.pairs) for actor in (one, two, three)}
    world.restart()
    job = world.desk.jobs[job.id]
    contents = {each.finding.contents for each in job.units[0].committed if each.finding}
    assert contents == {(b"secret 1.0",), (b"secret 1.00",)}
    for actor in (one, two, three):
        actor.connect()
    assert before
    for actor in (one, two, three, one):
        actor.opine(same_number)
    assert job.accepted == 1
    world.audit()


def test_large_outputs_travel_as_blobs_also_after_a_restart() -> None:
    world = World()
    judge = referee(world)
    voters = [world.actor(f"voter{at}") for at in range(2)]
    job = world.submit(manifest(comparator=PROGRAM))
    results = [
        Result(Ending.EXITED, 0, (blob(bytes([at]) * (INLINE_LIMIT + 1)),)) for at in range(2)
    ]
    for actor, result in zip(voters, results, strict=True):
        (token,) = actor.leases
        unit = actor.leases[token]
        digest = result.digest
        commit = Commit(0, token, commitment(unit, digest), seal(actor.key, unit, digest))
        batch = Commits.sign(actor.identity, job.id, (commit,))
        world.desk.commit(actor.key, batch, world.now)
        actor.results[token] = Reveal(token, result.encode())
        world.pump()
    for actor in voters:
        actor.reveal()
    world.restart()
    judge.connect()
    ((_, pair),) = judge.pairs.values()
    assert {pair.a.result, pair.b.result} == set(results)
    assert pair.a.contents == pair.b.contents == ()
    judge.opine(same)
    assert world.submitted[job.id].accepted == 1


def test_a_peer_is_asked_for_no_more_than_it_can_do_at_once() -> None:
    world = World()
    judge = world.actor("judge", owner="operator", validator=True, connect=False)
    judge.connect(cores=2)
    disputed(world, "1.0", "1.00", units=9)
    assert len(judge.pairs) == 2 * ROUNDS
    (first, *_) = judge.pairs
    job, pair = judge.pairs.pop(first)
    batch = Compared.sign(judge.identity, job, [pair.judged(Opinion.SAME)])
    world.desk.compared(judge.key, batch, world.now)
    world.pump()
    assert len(judge.pairs) == 2 * ROUNDS
    done = 1
    while judge.pairs:
        done += len(judge.opine(same))
    assert done == 9
    assert world.submitted[job].accepted == 9


def test_a_peer_with_too_much_to_compare_is_drawn_past() -> None:
    world = World()
    judge = referee(world)
    disputed(world, "1.0", "1.00", units=9)
    other = world.actor("other", validator=True)
    other.connect(cores=16)
    assert not other.pairs
    world.tick(PATIENCE.draw + 1)
    assert len(other.pairs) == 7
    assert len(judge.pairs) == ROUNDS


@pytest.mark.parametrize("state", [Asking.TOLD, Asking.LOST, Asking.SKIPPED, Asking.REVOKED])
@pytest.mark.parametrize("hearing", Hearing)
def test_a_question_that_is_over_stays_so(state: Asking, hearing: Hearing) -> None:
    with pytest.raises(IllegalTransitionError, match="a question that is"):
        next_asking(state, hearing)
