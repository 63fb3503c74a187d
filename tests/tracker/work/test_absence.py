"""Late, lost, and back again: deadlines, connections, leases that are returned."""

from tests.tracker.work.world import PATIENCE, WALL, World, manifest, pair
from tracker.work.floor import MAX_ATTEMPTS
from tracker.work.state import JobState


def test_a_late_lease_is_revoked_and_the_unit_goes_to_another() -> None:
    world = World()
    worker = world.actor("worker")
    job = world.submit(manifest())
    (token,) = worker.leases
    assert worker.seconds == PATIENCE.lease + 100 * WALL
    world.tick(worker.seconds - 1)
    assert token in worker.leases
    other = world.actor("other")
    world.tick(2)
    assert worker.revoked[token] == "the lease is over its deadline"
    assert other.leases
    assert not worker.leases
    assert job.units[0].attempts == 2


def test_every_lease_of_a_batch_lives_as_long_as_the_batch_was_told() -> None:
    world = World()
    worker = world.actor("worker", connect=False)
    worker.connect(hold=10)
    world.submit(manifest(10))
    assert worker.seconds == PATIENCE.lease + 10 * WALL
    world.tick(worker.seconds - 1)
    assert len(worker.leases) == 10
    world.tick(2)
    assert len(worker.revoked) == 10


def test_more_cores_mean_an_earlier_deadline() -> None:
    world = World()
    worker = world.actor("worker", connect=False)
    worker.connect(hold=10, cores=4)
    world.submit(manifest(10))
    assert worker.seconds == PATIENCE.lease + 3 * WALL


def test_a_lost_connection_has_a_grace_and_then_the_leases_go_to_others() -> None:
    world = World()
    worker = world.actor("worker")
    world.submit(manifest())
    worker.disconnect()
    other = world.actor("other")
    world.tick(PATIENCE.away - 1)
    assert not other.leases
    world.tick(2)
    assert other.leases


def test_who_reconnects_in_time_goes_on_where_it_was() -> None:
    world = World()
    worker, checker = pair(world)
    job = world.submit(manifest(2))
    first, second = sorted(worker.leases)
    worker.commit(tokens=[first])
    worker.disconnect()
    checker.commit()
    assert not worker.asked
    world.tick(PATIENCE.away - 1)
    worker.connect()
    assert set(worker.leases) == {second}
    assert worker.acked == {first}
    assert worker.asked == [first], "the request that it missed is repeated"
    worker.reveal()
    worker.commit()
    world.tick(2)
    assert not worker.revoked, "the grace of the old session is over"
    checker.reveal()
    checker.commit()
    worker.reveal()
    checker.reveal()
    assert job.accepted == 2


def test_a_second_session_is_not_ended_with_the_first() -> None:
    world = World()
    worker = world.actor("worker")
    world.submit(manifest())
    first = worker.session
    worker.connect()
    world.desk.disconnect(worker.key, first, world.now)
    world.tick(PATIENCE.away + 1)
    assert worker.leases
    assert world.desk.peers[worker.key].connected


def test_a_unit_that_is_lost_again_and_again_is_given_up_and_the_money_comes_back() -> None:
    world = World()
    worker = world.actor("worker")
    job = world.submit(manifest())
    for _ in range(MAX_ATTEMPTS):
        assert job.state is JobState.ACTIVE
        world.tick(worker.seconds + 1)
    assert world.unit(job).stage == "failed"
    assert world.unit(job).reason == f"given up after {MAX_ATTEMPTS} lost executions"
    assert (job.state, job.returned) == (JobState.FINISHED, job.manifest.escrow)


def test_a_peer_that_returns_its_leases_at_once_cannot_fail_a_unit() -> None:
    world = World()
    world.actor("broken")
    (broken,) = world.actors.values()
    job = world.submit(manifest())
    for _ in range(3 * MAX_ATTEMPTS):
        broken.release()
    assert job.units[0].attempts == 1
    assert job.state is JobState.ACTIVE
    broken.want(0)
    broken.release()
    worker = world.actor("worker")
    assert worker.leases


def test_a_unit_that_a_peer_returned_goes_to_another_first() -> None:
    world = World()
    broken = world.actor("broken", connect=False)
    broken.connect(hold=1)
    world.submit(manifest(2))
    (first,) = (unit.index for unit in broken.leases.values())
    broken.release()
    assert [unit.index for unit in broken.leases.values()] == [1 - first]
