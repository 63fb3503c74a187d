"""When a verdict is final, what is undone until then, and who is paid."""

from tests.tracker.work.world import PATIENCE, SUBMITTER, Actor, World, manifest, outcome
from tracker.work.state import Job, JobState
from tracker.work.table import Stage
from validators.settings import SETTINGS
from workunits.results import Result
from workunits.ringers import Ringers
from workunits.verification import Comparator, Comparison, Demands, Policy

RARELY = Demands((("audit", 300), ("probation", 5), ("referee", 0)))


def work(*actors: Actor, answer: str = "right") -> None:
    """Everybody commits and shows what is asked for, until nobody has anything to do."""
    for _ in range(12):
        for actor in actors:
            if actor.connected:
                actor.commit(answer)
                actor.reveal()


def trusted(world: World, *actors: Actor) -> None:
    """Bring peers past probation by a job of their own."""
    job = world.submit(manifest(40, policy=Policy.STRICT, nonce=77))
    work(*actors)
    assert job.accepted == 40
    for actor in actors[:3]:
        assert world.desk.peers[actor.key].is_proven(job, world.now)


def economy(world: World, units: int, demands: Demands = RARELY, nonce: int = 5) -> Job:
    """A job that checks only by lot."""
    return world.submit(manifest(units, policy=Policy.ECONOMY, demands=demands, nonce=nonce))


def settling(world: World, demands: Demands = RARELY) -> tuple[Job, list[Actor]]:
    """A job of three units, of which some are settled and none is final, and its two actors."""
    actors = [world.actor(name) for name in ("one", "other")]
    job = economy(world, 3, demands)
    for _ in range(3):
        for actor in actors:
            actor.commit(tokens=sorted(actor.leases)[:1])
            actor.reveal()
    assert job.settled
    assert not job.accepted
    return job, actors


def test_who_follows_a_job_hears_that_a_unit_was_settled() -> None:
    world = World()
    one, other = world.actor("one"), world.actor("other")
    job = economy(world, 2)
    for actor in (one, other):
        actor.commit()
    one.reveal()
    before = job.version
    other.reveal()
    assert len(job.settled) + job.accepted == 2
    assert job.version > before


def test_a_verdict_is_not_final_and_not_paid_before_its_batch_is_complete() -> None:
    world = World()
    one, other = world.actor("one"), world.actor("other")
    job = economy(world, 4, Demands((("batch", 2),)))
    first = [actor for actor in (one, other) if actor.leases]
    (worker,) = first
    worker.want(1)
    for _ in range(2):
        worker.commit(tokens=sorted(worker.leases)[:1])
        for actor in (one, other):
            if actor is not worker:
                actor.commit(tokens=sorted(actor.leases)[:1])
            actor.reveal()
        if job.settled:
            break
    assert len(job.settled) == 1
    assert world.unit(job).stage == Stage.SETTLED
    assert (job.accepted, world.balance(one), world.balance(other)) == (0, 0, 0)
    work(one, other)
    assert job.state is JobState.FINISHED
    assert world.balance(one) + world.balance(other) == 4 * 2 * 2
    world.audit()


def test_after_a_time_a_verdict_is_final_without_its_batch() -> None:
    world = World()
    job, actors = settling(world, Demands((("final_after", 60),)))
    settled = len(job.settled)
    assert 0 < settled < 3
    for actor in actors:
        actor.disconnect()
    world.tick(61.0)
    assert (job.accepted, len(job.settled)) == (settled, 0)
    assert world.balance(actors[0]) + world.balance(actors[1]) == 4 * settled
    world.audit()


def test_a_job_that_is_cancelled_pays_what_was_settled() -> None:
    world = World()
    job, actors = settling(world)
    settled = len(job.settled)
    world.cancel(job)
    assert world.balance(actors[0]) + world.balance(actors[1]) == 4 * settled
    assert job.returned == job.manifest.escrow - 4 * settled
    world.audit()


def test_when_a_peer_is_proven_wrong_its_work_that_is_not_final_is_done_again() -> None:
    world = World()
    peers = [world.actor(name) for name in ("cheat", "one", "two")]
    referee = world.actor("referee", owner="operator", validator=True)
    trusted(world, *peers, referee)
    cheat, *honest = peers
    for actor in (*honest, referee):
        actor.disconnect()
    job = economy(world, 60)
    for _ in range(5):
        cheat.commit("wrong", tokens=sorted(cheat.leases)[:5])
        cheat.reveal()
    alone = set(job.settled)
    assert len(alone) > 10
    assert all(world.unit(job, index).stage == Stage.SETTLED for index in alone)
    for actor in (*honest, referee):
        actor.connect()
    for _ in range(20):
        cheat.commit("wrong")
        cheat.reveal()
        work(*honest, referee)
    assert job.state is JobState.FINISHED
    assert world.desk.peers[cheat.key].strikes.amount >= 1
    for index in alone:
        assert world.unit(job, index).result == outcome(index).result, "a lie was accepted"
        assert "struck" in {row.doing for row in world.executions(job, index)} or any(
            row.doing == "wrong" for row in world.executions(job, index)
        )
    world.audit()


def test_settled_units_survive_a_restart() -> None:
    world = World()
    job, actors = settling(world)
    before = set(job.settled)
    world.restart()
    again = world.desk.jobs[job.id]
    assert set(again.settled) == before
    assert again.undecided == job.undecided
    for actor in actors:
        actor.connect()
    work(*actors)
    assert world.unit(job).stage == Stage.ACCEPTED
    world.audit()


def ringing(units: int, *known: int) -> tuple[Demands, Ringers]:
    answers = tuple((at, Result.digest_of(outcome(at).result)) for at in known)
    ringers = Ringers(b"s" * 32, answers)
    return Demands((("batch", 2),), ringers=ringers.hash), ringers


def test_a_known_answer_proves_a_lie_although_nobody_else_computes() -> None:
    world = World()
    liar = world.actor("liar")
    demands, ringers = ringing(2, 0)
    job = world.submit(manifest(2, policy=Policy.ECONOMY, demands=demands), ringers)
    liar.commit("wrong", tokens=sorted(liar.leases)[:1])
    liar.reveal()
    assert world.executions(job)[0].doing == "wrong"
    assert world.desk.peers[liar.key].struck == {SUBMITTER.key: 1}
    assert world.desk.peers[liar.key].strikes.amount == 0, "only a submitter says so"
    liar.want(0)
    liar.release()
    work(world.actor("one"), world.actor("two"))
    assert job.accepted == 2
    world.audit()


def test_a_known_answer_needs_no_second_execution() -> None:
    world = World()
    one = world.actor("one")
    demands, ringers = ringing(1, 0)
    job = world.submit(manifest(1, policy=Policy.STRICT, demands=demands), ringers)
    work(one)
    assert (job.accepted, job.executions) == (1, 1)
    assert world.balance(one) == 2
    world.audit()


def test_referees_are_not_paid() -> None:
    world = World()
    referee = world.actor("referee", owner="submitter", validator=True)
    one = world.actor("one")
    job = world.submit(manifest(3, policy=Policy.PAIR))
    work(one, referee)
    assert job.accepted == 3
    assert (world.balance(one), world.balance(referee)) == (6, 0)
    world.audit()


def test_numeric_votes_beside_a_cheats_are_dropped_when_a_unit_is_opened_again() -> None:
    world = World()
    actors = [world.actor(f"peer {at}") for at in range(4)]
    numeric = Comparator(Comparison.NUMERIC, 1e-6, 0.0)
    job = world.submit(manifest(5, policy=Policy.STRICT, comparator=numeric))
    work(*actors, answer="1.5")
    assert job.state is JobState.FINISHED
    world.audit()


def test_two_peers_finish_an_economy_job_although_a_lot_asks_for_a_third() -> None:
    world = World()
    actors = [world.actor(name) for name in ("one", "other")]
    lots = Demands((("audit", 50), ("probation", 5), ("referee", 1000)))
    job = economy(world, 6, lots)
    work(*actors)
    assert job.waiting
    assert job.state is JobState.ACTIVE
    world.tick(PATIENCE.draw + 1)
    work(*actors)
    assert job.accepted == 6
    world.audit()


def test_a_dispute_does_not_lapse() -> None:
    world = World()
    one, other = world.actor("one"), world.actor("other")
    job = economy(world, 1)
    for _ in range(3):
        one.commit("right")
        other.commit("wrong")
        one.reveal()
        other.reveal()
    world.tick(PATIENCE.draw + 1)
    world.tick(PATIENCE.draw + 1)
    assert job.waiting
    work(*(world.actor(name) for name in ("third", "fourth")), one, other)
    assert job.accepted == 1
    world.audit()


def test_trusted_and_pair_are_final_at_once() -> None:
    assert SETTINGS[Policy.TRUSTED].batch == SETTINGS[Policy.PAIR].batch == 1
    world = World()
    one, other = world.actor("one"), world.actor("other")
    job = world.submit(manifest(2, policy=Policy.TRUSTED))
    holder = one if one.leases else other
    holder.commit(tokens=sorted(holder.leases)[:1])
    holder.reveal()
    assert (job.accepted, world.balance(holder)) == (1, 2)
