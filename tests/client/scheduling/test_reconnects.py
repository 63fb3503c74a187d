"""What counts when the wire breaks, and when the volunteer itself was gone."""

from client.scheduling import moves
from client.scheduling.leases import State
from tests.client.scheduling.machine import (
    PLAIN,
    commits_in,
    world_of,
)
from workunits.ids import LeaseToken
from workunits.wire import work


def test_an_acknowledgement_may_come_twice() -> None:
    world = world_of()
    (token,) = world.lease(PLAIN.id, [0])
    world.run_through()
    world.tell(work.Committed((token,)))
    world.ask(token)
    world.run_through()
    world.tell(work.Committed((token,)))
    world.tell(work.Revealed((token,)))
    assert world.ended == {token: State.DONE}


def test_what_was_not_acknowledged_is_sent_again_after_a_reconnect() -> None:
    world = world_of()
    (token,) = world.lease(PLAIN.id, [0])
    world.opened(1)
    world.stored(world.ran(1))
    world.disconnect()
    world.connect()
    assert len(commits_in(world)) == 1
    world.run_through()
    world.ask(token)
    world.disconnect()
    world.connect()
    assert moves.SendReveals((token,)) in world.outgoing
    world.run_through()
    assert world.ended == {token: State.DONE}


def test_a_commit_that_arrived_before_the_wire_broke_counts() -> None:
    world = world_of()
    (token,) = world.lease(PLAIN.id, [0])
    world.opened(1)
    world.stored(world.ran(1))
    while world.outgoing:
        world.deliver()
    world.disconnect()
    world.connect()
    assert world.scheduler.state_of(token) is State.COMMITTED


def test_a_reveal_that_arrived_before_the_wire_broke_counts() -> None:
    world = world_of()
    (token,) = world.lease(PLAIN.id, [0])
    world.run_through()
    world.ask(token)
    world.deliver()
    world.disconnect()
    world.connect()
    assert world.ended == {token: State.DONE}


def test_work_goes_on_while_the_tracker_is_away() -> None:
    world = world_of()
    world.lease(PLAIN.id, list(range(6)))
    world.disconnect()
    world.run_through()
    assert world.scheduler.count(State.COMPUTED) == 6
    world.connect()
    world.run_through()
    assert len(world.committed) == 6


def test_leases_that_either_side_does_not_know_are_dropped() -> None:
    world = world_of()
    ours, theirs = LeaseToken(900), LeaseToken(901)
    (token,) = world.lease(PLAIN.id, [0])
    world.held.clear()
    world.disconnect()
    world.connected = True
    world.tell(moves.Connected((ours,), (theirs,)))
    assert world.ended == {token: State.REVOKED}
    assert moves.SendRelease((ours, theirs), "unknown") in world.outgoing


def test_a_killed_volunteer_commits_and_reveals_what_is_on_its_disk() -> None:
    world = world_of()
    world.lease(PLAIN.id, list(range(4)))
    world.run_through()
    (late,) = world.lease(PLAIN.id, [4])
    world.stored(world.ran(1))  # computed, and its commit is lost
    world.restart()
    world.connect()
    world.run_through()
    assert world.scheduler.count(State.COMMITTED) == 5
    world.ask(*sorted(world.committed))
    world.run_through()
    assert set(world.ended.values()) == {State.DONE}
    assert late in world.ended


def test_nothing_is_revealed_before_it_is_committed() -> None:
    world = world_of()
    (token,) = world.lease(PLAIN.id, [0])
    world.ask(token)
    assert not [each for each in world.outgoing if isinstance(each, moves.SendReveals)]
    assert "not committed" in world.warned[0]


def test_a_result_that_is_asked_for_but_unknown_is_reported_as_lost() -> None:
    world = world_of()
    world.ask(LeaseToken(77))
    assert moves.SendRelease((LeaseToken(77),), "lost") in world.outgoing
