"""The life of a unit, scene by scene."""

import dataclasses

import pytest

from tests.tracker.work.world import SUBMITTER, World, blob, manifest, outcome, pair
from tracker.work.floor import SPARE_ALARMS
from tracker.work.leasing import TURN
from tracker.work.state import JobState
from validators.reputation import STRIKES
from workunits.errors import RefusedError
from workunits.ids import LeaseToken
from workunits.results import INLINE_LIMIT, Ending, Result, commitment, seal
from workunits.verification import Comparator, Comparison, Policy
from workunits.wire.work import MAX_HOLD, Commit, Commits, Reveal

NUMERIC = Comparator(Comparison.NUMERIC, 1e-6, 0.0)


def doings(world: World, job: object) -> list[str]:
    assert hasattr(job, "id")
    return [row.doing for row in world.executions(job)]  # type: ignore[arg-type]


def test_a_volunteer_and_a_validator_agree_and_are_paid() -> None:
    world = World()
    worker, checker = pair(world)
    job = world.submit(manifest(price=5))
    assert world.desk.book.escrowed(job.id) == 10
    assert not checker.leases
    worker.commit()
    assert not worker.asked
    checker.commit()
    worker.reveal()
    checker.reveal()
    assert (world.balance(worker), world.balance(checker)) == (5, 5)
    assert job.state is JobState.FINISHED
    assert (job.accepted, job.failed, job.paid, job.returned) == (1, 0, 10, 0)
    assert world.unit(job).stage == "accepted"
    assert world.unit(job).result == outcome(0).result
    assert doings(world, job) == ["right", "right"]
    assert [world.desk.peers[each.key].right for each in (worker, checker)] == [1, 1]


def test_the_manifest_comes_once_before_the_first_lease() -> None:
    world = World()
    worker, _ = pair(world)
    world.submit(manifest(3))
    assert len(worker.jobs) == 1
    assert worker.jobs[0].open().manifest == manifest(3)
    worker.want(0)
    worker.want(50)
    assert len(worker.jobs) == 1
    worker.disconnect()
    worker.connect()
    worker.release()
    assert len(worker.jobs) == 2


def test_a_trusted_job_needs_one_execution() -> None:
    world = World()
    worker = world.actor("worker")
    job = world.submit(manifest(policy=Policy.TRUSTED, price=5))
    worker.commit()
    worker.reveal()
    assert world.balance(worker) == 5
    assert (job.state, job.accepted, job.returned) == (JobState.FINISHED, 1, 0)


def test_a_free_job_moves_no_credit() -> None:
    world = World(credit=0)
    worker = world.actor("worker")
    job = world.submit(manifest(policy=Policy.TRUSTED, price=0))
    worker.commit()
    worker.reveal()
    assert job.state is JobState.FINISHED
    assert not any(world.audit().balances.values()), "but what was done is written down"


def test_a_job_that_the_account_cannot_pay_is_refused_with_the_missing_amount() -> None:
    world = World(credit=7)
    with pytest.raises(RefusedError, match=r"costs 20 credits and account .* has 7") as caught:
        world.submit(manifest(5, price=2))
    assert "grant" in caught.value.hint
    assert "13" in caught.value.hint
    assert not world.desk.jobs
    assert world.desk.book.balance(SUBMITTER.key) == 7


def test_a_live_job_that_is_submitted_again_is_the_same_job() -> None:
    world = World()
    job = world.submit(manifest())
    assert world.submit(manifest()) is job
    assert world.desk.book.escrowed(job.id) == job.manifest.escrow


def test_a_third_decides_where_two_differ() -> None:
    world = World()
    worker, liar = world.actor("worker"), world.actor("liar", validator=True)
    job = world.submit(manifest(price=5))
    worker.commit()
    liar.commit("wrong")
    assert not worker.asked, "nothing is shown before the third has committed"
    assert not liar.asked
    third = world.actor("third", validator=True)
    third.commit()
    for actor in (worker, liar, third):
        actor.reveal()
    assert [world.balance(each) for each in (worker, liar, third)] == [5, 0, 5]
    assert doings(world, job) == ["right", "wrong", "right"]
    assert world.desk.peers[liar.key].wrong == 1
    assert job.wrong == 1


def test_five_different_results_fail_the_unit_and_nobody_is_paid() -> None:
    world = World()
    actors = [world.actor(f"actor{at}") for at in range(5)]
    job = world.submit(manifest())
    for _ in range(5):
        for actor in actors:
            if actor.leases:
                actor.commit(actor.key.hex())
    for actor in actors:
        actor.reveal()
    assert world.unit(job).stage == "failed"
    assert "of which 1 agree" in world.unit(job).reason
    assert (job.failed, job.paid, job.returned) == (1, 0, job.manifest.escrow)
    assert all(world.desk.peers[actor.key].wrong == 0 for actor in actors)


def test_close_numbers_agree_under_the_numeric_comparator() -> None:
    world = World()
    worker, checker = pair(world)
    job = world.submit(manifest(comparator=NUMERIC))
    worker.commit("1.0")
    checker.commit("1.0000001")
    worker.reveal()
    checker.reveal()
    assert job.accepted == 1
    assert world.unit(job).result == outcome(0, "1.0").result


def test_far_numbers_get_a_third_execution_whose_peer_has_seen_nothing() -> None:
    world = World()
    worker, checker = pair(world)
    job = world.submit(manifest(comparator=NUMERIC))
    worker.commit("1.0")
    checker.commit("2.0")
    worker.reveal()
    checker.reveal()
    assert job.accepted == 0
    third = world.actor("third", validator=True)
    third.commit("2.0")
    third.reveal()
    assert job.accepted == 1
    assert doings(world, job) == ["wrong", "right", "right"]


def test_a_cancelled_job_is_revoked_and_the_rest_of_the_escrow_comes_back() -> None:
    world = World()
    worker, checker = pair(world)
    before = world.desk.book.balance(SUBMITTER.key)
    job = world.submit(manifest(4, price=5))
    done, committed, *_ = sorted(worker.leases)
    worker.commit(tokens=[done])
    checker.commit()
    worker.reveal()
    checker.reveal()
    worker.commit(tokens=[committed])
    world.cancel(job)
    assert job.state is JobState.CANCELLED
    assert (job.accepted, job.paid, job.returned) == (1, 10, 30)
    assert world.desk.book.balance(SUBMITTER.key) == before - 10
    assert set(worker.revoked.values()) == {"the job was cancelled"}
    assert not worker.leases
    assert world.unit(job, 1).stage == "cancelled"
    worker.asked = [committed]
    worker.reveal()
    assert committed in worker.revealed, "what is over may be forgotten"
    assert world.desk.peers[worker.key].live == {}


def test_a_proven_cheat_is_banned_and_its_open_work_goes_to_others() -> None:
    world = World()
    cheat = world.actor("cheat")
    job = world.submit(manifest(STRIKES + 2, price=5))
    tokens = sorted(cheat.leases)
    cheat.commit("wrong", tokens=tokens[: STRIKES + 1])
    honest = [world.actor(f"honest{at}") for at in range(2)]
    for _ in range(3):
        for actor in honest:
            actor.commit()
        for actor in (cheat, *honest):
            actor.reveal()
    peer = world.desk.peers[cheat.key]
    assert peer.banned
    assert not peer.live
    assert cheat.failures[-1].code == "banned"
    assert any("banned" in reason for reason in cheat.revoked.values())
    assert world.balance(cheat) == 0
    cheat.want(10)
    assert not cheat.leases
    with pytest.raises(RefusedError, match="banned"):
        cheat.connect()
    for _ in range(6):
        for actor in honest:
            actor.commit()
            actor.reveal()
    assert job.accepted == job.manifest.units
    assert sum(world.balance(each) for each in honest) == job.paid == job.manifest.escrow


def test_an_agreed_failure_is_a_failed_unit_and_paid_work() -> None:
    world = World()
    worker, checker = pair(world)
    job = world.submit(manifest(price=5))
    worker.commit("fail")
    checker.commit("fail")
    worker.reveal()
    checker.reveal()
    assert world.unit(job).stage == "failed"
    assert world.unit(job).reason == "exit status 1"
    assert (job.failed, job.accepted) == (1, 0)
    assert job.state is JobState.FINISHED
    assert (world.balance(worker), world.balance(checker)) == (5, 5)


def test_a_first_execution_goes_only_to_a_peer_that_has_the_image() -> None:
    world = World()
    blind = world.actor("blind", connect=False)
    blind.connect(images=("sha256:" + "b" * 64,))
    world.submit(manifest())
    assert not blind.leases
    assert world.actor("worker").leases


def test_two_jobs_take_turns() -> None:
    world = World()
    one, other = world.submit(manifest(100, nonce=1)), world.submit(manifest(100, nonce=2))
    worker = world.actor("worker", connect=False)
    worker.connect(hold=64)
    counts = [sum(unit.job == job.id for unit in worker.leases.values()) for job in (one, other)]
    assert sum(counts) == 64
    assert min(counts) >= 32 - TURN


def test_a_peer_never_holds_more_than_it_wants() -> None:
    world = World()
    world.submit(manifest(100))
    worker = world.actor("worker", connect=False)
    worker.connect(hold=7)
    assert len(worker.leases) == 7
    worker.commit(tokens=sorted(worker.leases)[:3])
    assert len(worker.leases) == 7
    worker.want(0)
    worker.commit()
    assert not worker.leases


def reveal_refused(change: Reveal, message: str, comparator: Comparator | None = None) -> None:
    """A peer that commits to ``change`` and shows it is withheld with ``message``."""
    world = World()
    job = world.submit(manifest(policy=Policy.TRUSTED, comparator=comparator))
    worker = world.actor("worker")
    (token,) = worker.leases
    unit = worker.leases[token]
    digest = Result.digest_of(change.result)
    commit = Commit(0, token, commitment(unit, digest), seal(worker.key, unit, digest))
    world.desk.commit(worker.key, Commits.sign(worker.identity, job.id, (commit,)), world.now)
    world.pump()
    worker.results[token] = dataclasses.replace(change, token=token)
    worker.reveal()
    assert message in worker.failures[0].message
    assert world.executions(job)[0].doing == "withheld"
    assert world.desk.peers[worker.key].withheld == 1
    assert job.accepted == job.failed == 0


def shown(result: Result, *contents: bytes) -> Reveal:
    return Reveal(LeaseToken(0), result.encode(), contents)


@pytest.mark.parametrize(
    ("reveal", "message"),
    [
        (shown(Result(Ending.EXITED, 0, (blob(b"x", "other.txt"),)), b"x"), "not a declared"),
        (shown(Result(Ending.CPU, 0, (blob(b"x"),)), b"x"), "outputs of a program that was stopp"),
        (shown(Result(Ending.EXITED, 0, (blob(b"x" * 100_001),))), "over the job's limit"),
        (
            shown(Result(Ending.EXITED, 0, (blob(b"x" * (INLINE_LIMIT + 1)),)), b"x"),
            "do not travel inline",
        ),
        (shown(Result(Ending.EXITED, 0, (blob(b"x"),))), "do not match the result's lengths"),
        (shown(Result(Ending.EXITED, 0, (blob(b"x"),)), b"yy"), "do not match the result's leng"),
        (shown(Result(Ending.EXITED, 0, (blob(b"x"),)), b"y"), "has another hash"),
        (Reveal(LeaseToken(0), b"nonsense"), "is not canonical bencode"),
        (Reveal(LeaseToken(0), b"de"), "lacks the field"),
    ],
)
def test_a_result_that_breaks_the_jobs_rules_counts_as_withheld(
    reveal: Reveal, message: str
) -> None:
    reveal_refused(reveal, message)


def test_a_large_result_stays_with_its_peer_as_a_blob() -> None:
    world = World()
    job = world.submit(manifest(policy=Policy.TRUSTED))
    worker = world.actor("worker")
    large = Result(Ending.EXITED, 0, (blob(b"x" * (INLINE_LIMIT + 1)),))
    (token,) = worker.leases
    unit = worker.leases[token]
    commit = Commit(0, token, commitment(unit, large.digest), seal(worker.key, unit, large.digest))
    world.desk.commit(worker.key, Commits.sign(worker.identity, job.id, (commit,)), world.now)
    world.pump()
    worker.results[token] = Reveal(token, large.encode())
    worker.reveal()
    assert job.accepted == 1


def test_a_request_or_a_revocation_of_very_many_leases_comes_in_batches() -> None:
    world = World()
    worker = world.actor("worker", connect=False)
    worker.connect(hold=0)
    jobs = [world.submit(manifest(MAX_HOLD, nonce=at)) for at in range(2)]
    for _ in jobs:
        worker.want(MAX_HOLD)
        worker.commit()
        worker.want(0)
    reason = "over"
    peer = world.desk.peers[worker.key]
    assert len(peer.live) >= 2 * MAX_HOLD
    for token in peer.live:
        world.desk.floor.outbox.revoke(peer, token, reason)
    world.pump()
    assert len(worker.revoked) >= 2 * MAX_HOLD


def test_alarms_of_what_is_over_do_not_pile_up() -> None:
    world = World()
    worker = world.actor("worker", connect=False)
    worker.connect(hold=0)
    world.submit(manifest(10, policy=Policy.TRUSTED))
    for _ in range(SPARE_ALARMS // 2):
        worker.want(5)
        worker.want(0)
        worker.release()
    assert len(world.desk.floor._alarms) <= SPARE_ALARMS + 20
