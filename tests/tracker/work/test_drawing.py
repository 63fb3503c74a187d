"""Who checks: another owner, by lot, and never who has seen the result."""

from tests.tracker.work.world import PATIENCE, Actor, World, manifest, outcome, pair
from tracker.work.state import Job, JobState


def drawn(world: World) -> tuple[Actor, Job]:
    """A validator that was drawn for the only unit of a job, and does not ask for it."""
    worker = world.actor("worker")
    slow = world.actor("slow", validator=True, connect=False)
    slow.connect(hold=0)
    job = world.submit(manifest())
    worker.commit()
    return slow, job


def test_a_copied_commit_cannot_be_revealed_and_counts_as_withheld() -> None:
    world = World()
    worker = world.actor("worker")
    copycat = world.actor("copycat", validator=True)
    job = world.submit(manifest(price=5))
    worker.commit()
    copycat.commit(sealer=worker.key)
    copycat.reveal()
    assert copycat.failures[0].code == "refused"
    assert "copied" in copycat.failures[0].hint
    assert world.desk.peers[copycat.key].withheld == 1
    worker.reveal()
    assert job.accepted == 0
    checker = world.actor("checker", validator=True)
    checker.commit()
    checker.reveal()
    assert [world.balance(each) for each in (worker, copycat, checker)] == [5, 0, 5]


def test_a_validator_that_never_reveals_is_replaced_and_the_submitter_still_gets_the_result() -> (
    None
):
    world = World()
    worker, silent = pair(world)
    job = world.submit(manifest(price=5))
    worker.commit()
    silent.commit()
    worker.reveal()
    other = world.actor("other", validator=True)
    assert not other.leases
    world.tick(PATIENCE.reveal + 1)
    assert silent.revoked
    assert world.desk.peers[silent.key].withheld == 1
    assert other.leases
    other.commit()
    other.reveal()
    assert world.unit(job).result == outcome(0).result
    assert [world.balance(each) for each in (worker, silent, other)] == [5, 0, 5]


def test_who_withheld_a_unit_is_not_drawn_for_it_again() -> None:
    world = World()
    worker, silent = pair(world)
    job = world.submit(manifest())
    worker.commit()
    silent.commit()
    world.tick(PATIENCE.reveal + 1)
    worker.reveal()
    assert not silent.leases
    assert job.units[0].stage.value in {"computing", "open"}


def test_what_was_committed_and_lost_can_be_given_up() -> None:
    world = World()
    worker, _ = pair(world)
    world.submit(manifest())
    tokens = worker.commit()
    worker.release(tokens)
    assert world.desk.peers[worker.key].withheld == 1


def test_two_peers_of_one_owner_never_check_each_other() -> None:
    world = World()
    one = world.actor("one", owner="rich")
    other = world.actor("other", owner="rich", validator=True)
    job = world.submit(manifest())
    one.commit()
    assert not other.leases
    assert set(job.waiting) == {0}
    stranger = world.actor("stranger", validator=True)
    assert stranger.leases


def test_a_peer_that_comes_back_under_another_owner_does_not_check_itself() -> None:
    world = World()
    one = world.actor("one", owner="first")
    job = world.submit(manifest())
    one.commit()
    one.disconnect()
    one.owner = world.actor("second", connect=False).key
    one.connect()
    assert not one.leases
    assert set(job.waiting) == {0}


def test_a_volunteer_checks_where_there_is_no_validator() -> None:
    world = World()
    one, other = world.actor("one"), world.actor("other")
    job = world.submit(manifest())
    for _ in range(2):
        for actor in (one, other):
            actor.commit()
    one.reveal()
    other.reveal()
    assert job.accepted == 1


def test_a_validator_gets_no_first_execution() -> None:
    world = World()
    checker = world.actor("checker", validator=True)
    world.submit(manifest(5))
    assert not checker.leases


def test_a_waiting_unit_is_drawn_when_a_validator_connects() -> None:
    world = World()
    worker = world.actor("worker")
    job = world.submit(manifest(3))
    worker.commit()
    assert set(job.waiting) == {0, 1, 2}
    blind = world.actor("blind", validator=True, connect=False)
    blind.connect(images=())
    assert not blind.leases
    checker = world.actor("checker", validator=True)
    assert len(checker.leases) == 3
    assert not job.waiting


def test_a_drawn_peer_that_does_not_come_is_drawn_past() -> None:
    world = World()
    slow, job = drawn(world)
    assert job.units[0].drawn is world.desk.peers[slow.key]
    slow.disconnect()
    quick = world.actor("quick", validator=True)
    assert not quick.leases
    world.tick(PATIENCE.away + 1)
    assert quick.leases


def test_a_drawn_peer_that_stays_but_never_asks_is_drawn_past_too() -> None:
    world = World()
    _, job = drawn(world)
    others = [world.actor(f"quick{at}", validator=True) for at in range(3)]
    for _ in range(20):
        if any(each.leases for each in others):
            break
        world.tick(PATIENCE.draw + 1)
    assert any(each.leases for each in others)
    assert job.units[0].draws > 1


def test_a_cancelled_unit_that_was_drawn_is_not_drawn_again() -> None:
    world = World()
    slow, job = drawn(world)
    unit = job.units[0]
    world.cancel(job)
    draws = unit.draws
    for _ in range(3):
        world.tick(PATIENCE.draw + 1)
    assert unit.draws == draws
    slow.want(10)
    assert not slow.leases


def test_a_validator_that_returned_a_check_is_drawn_only_when_there_is_no_other() -> None:
    world = World()
    worker = world.actor("worker")
    broken = world.actor("broken", validator=True)
    world.submit(manifest())
    worker.commit()
    broken.release()
    assert broken.leases, "there is no other"
    checker = world.actor("checker", validator=True)
    broken.release()
    assert checker.leases
    assert not broken.leases


def test_validators_that_answer_without_computing_stop_being_drawn_before_others() -> None:
    world = World()
    lazy = [world.actor(f"lazy {at}", validator=True, connect=False) for at in range(4)]
    workers = [world.actor(f"worker {at}", connect=False) for at in range(3)]
    job = world.submit(manifest(40))
    for actor in (*lazy, *workers):
        actor.connect(hold=2)
    for _ in range(100):
        for at, actor in enumerate(lazy):
            actor.commit(f"garbage {at} ")
        for actor in workers:
            actor.commit()
        for actor in (*lazy, *workers):
            actor.reveal()
    assert job.state is JobState.FINISHED
    assert job.accepted >= 20
    for actor in lazy:
        peer = world.desk.peers[actor.key]
        assert (peer.right, world.balance(actor)) == (0, 0)
        assert peer.doubtful or peer.banned
    assert not any(world.desk.peers[actor.key].banned for actor in workers)
    world.audit()


def test_a_peer_that_withholds_is_drawn_last_until_it_was_right_more_often() -> None:
    world = World()
    peer = world.desk.peers[world.actor("peer").key]
    peer.withheld = 3
    assert peer.doubtful
    peer.right = 3
    assert not peer.doubtful
