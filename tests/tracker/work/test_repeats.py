"""Said twice, said too early, said about what is not there."""

import dataclasses

import pytest

from tests.tracker.work.world import World, manifest, pair
from workunits.ids import LeaseToken
from workunits.wire.work import Commits


def test_a_commit_that_is_said_twice_is_acknowledged_twice_and_counted_once() -> None:
    world = World()
    worker, _ = pair(world)
    job = world.submit(manifest())
    leases = dict(worker.leases)
    worker.commit()
    worker.acked.clear()
    worker.leases = dict(leases)
    worker.commit()
    assert worker.acked == set(leases)
    assert job.executions == 1


def test_a_commit_cannot_be_changed() -> None:
    world = World()
    worker, checker = pair(world)
    job = world.submit(manifest())
    leases = dict(worker.leases)
    worker.commit()
    right = dict(worker.results)
    worker.leases = leases
    worker.commit("wrong")
    assert "cannot be changed" in worker.failures[0].message
    worker.results = right
    checker.commit()
    worker.reveal()
    checker.reveal()
    assert job.accepted == 1


def test_a_reveal_that_is_said_twice_is_acknowledged_twice() -> None:
    world = World()
    worker, checker = pair(world)
    world.submit(manifest())
    (token,) = worker.commit()
    checker.commit()
    worker.reveal()
    worker.revealed.clear()
    worker.asked = [token]
    worker.reveal()
    assert worker.revealed == {token}
    assert not worker.failures


def test_a_result_that_nobody_asked_for_is_not_taken() -> None:
    world = World()
    worker, checker = pair(world)
    job = world.submit(manifest())
    (token,) = worker.commit()
    worker.asked = [token]
    worker.reveal()
    assert "was not asked for" in worker.failures[0].message
    assert token not in worker.revealed
    checker.commit()
    worker.reveal()
    checker.reveal()
    assert job.accepted == 1


@pytest.mark.parametrize("wrong", ["token", "index", "job"])
def test_a_commit_under_a_lease_that_is_not_there_is_revoked(wrong: str) -> None:
    world = World()
    worker = world.actor("worker")
    job, other = world.submit(manifest(nonce=1)), world.submit(manifest(nonce=2))
    token, unit = next((token, unit) for token, unit in worker.leases.items() if unit.job == job.id)
    (commit,) = worker.commits("right", [token], worker.key)
    if wrong == "token":
        commit = dataclasses.replace(commit, token=LeaseToken(2**64 - 1))
    if wrong == "index":
        commit = dataclasses.replace(commit, index=unit.index + 1)
    target = other if wrong == "job" else job
    world.desk.commit(worker.key, Commits.sign(worker.identity, target.id, (commit,)), world.now)
    world.pump()
    assert worker.revoked == {commit.token: "this lease is over"}
    assert not worker.acked


def test_another_peers_token_is_worth_nothing() -> None:
    world = World()
    worker = world.actor("worker")
    job = world.submit(manifest())
    thief = world.actor("thief")
    (token,) = worker.leases
    thief.leases = dict(worker.leases)
    thief.commit()
    assert thief.revoked == {token: "this lease is over"}
    thief.release([token])
    assert job.units[0].leased
