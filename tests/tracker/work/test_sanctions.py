"""What being wrong, late or silent costs, and what it does not."""

from collections.abc import Callable
from hashlib import sha256

import pytest

from tests.tracker.work.test_finality import work
from tests.tracker.work.world import (
    IMAGE,
    OPERATOR,
    PATIENCE,
    SUBMITTER,
    Actor,
    World,
    identity_of,
    manifest,
    outcome,
)
from tracker.work.state import Peer
from validators.reputation import HALF_LIFE, STRIKES
from workunits.errors import RefusedError
from workunits.ids import PeerKey
from workunits.ledger.roster import NETWORK
from workunits.verification import Demands, Policy
from workunits.wire.handshake import Offerings, Vouch

OFFERS = Offerings(False, 1, 1 << 30, (IMAGE,), "test")
HOME, AWAY = b"h" * 24, b"a" * 24


def peer_of(world: World, name: str) -> Peer:
    return world.desk.peers[identity_of(name).key]


def there(world: World, name: str, *, owner: str = "", validator: bool = False) -> Actor:
    """The actor of a name, connected."""
    key = identity_of(name).key
    if key not in world.actors:
        return world.actor(name, owner=owner, validator=validator)
    actor = world.actors[key]
    return actor if actor.connected else actor.connect()


def caught(world: World, name: str, referee: str, times: int) -> None:
    """Let ``name`` lie until it was proven wrong so often by a referee of ``referee``'s."""
    judge = there(world, "judge", owner=referee, validator=True)
    liar, honest = there(world, name), there(world, "honest")
    world.submit(manifest(20, policy=Policy.PAIR, nonce=9))
    for _ in range(20):
        if peer_of(world, name).wrong >= times:
            break
        if liar.connected:
            liar.commit("wrong", tokens=sorted(liar.leases)[:1])
        for actor in (honest, judge):
            actor.commit(tokens=sorted(actor.leases)[:1])
        for actor in (liar, honest, judge):
            actor.reveal()
    assert peer_of(world, name).wrong >= times


def test_three_proven_lies_are_a_ban_and_one_is_a_strike() -> None:
    world = World()
    caught(world, "liar", "operator", 1)
    peer = peer_of(world, "liar")
    assert (round(peer.strikes.amount), peer.banned) == (1, False)
    caught(world, "liar", "operator", STRIKES)
    assert peer.banned
    assert not peer_of(world, "honest").banned
    world.audit()


def test_what_a_submitters_own_referee_says_counts_with_that_submitter_alone() -> None:
    world = World()
    caught(world, "liar", "submitter", STRIKES)
    peer = peer_of(world, "liar")
    assert (peer.banned, peer.strikes.amount) == (False, 0.0)
    assert peer.struck == {SUBMITTER.key: STRIKES}
    liar = next(each for each in world.actors.values() if each.key == peer.key)
    job = world.submit(manifest(4, nonce=99, policy=Policy.TRUSTED))
    liar.want(500)
    assert job.id not in {unit.job for unit in liar.leases.values()}
    world.audit()


def test_a_strike_costs_the_record_and_puts_on_probation_again() -> None:
    world = World()
    names = ("liar", "honest", "other")
    job = world.submit(manifest(40, policy=Policy.STRICT))
    for actor in [world.actor(name) for name in names]:
        actor.want(10)
    work(*world.actors.values())
    assert peer_of(world, "liar").is_proven(job, world.now)
    caught(world, "liar", "operator", 1)
    assert not peer_of(world, "liar").is_proven(job, world.now)
    assert peer_of(world, "honest").is_proven(job, world.now)


def test_strikes_and_records_fade_and_survive_a_restart() -> None:
    world = World()
    caught(world, "liar", "operator", 1)
    before = peer_of(world, "liar").strikes.amount, peer_of(world, "honest").scores
    world.restart()
    assert (peer_of(world, "liar").strikes.amount, peer_of(world, "honest").scores) == before
    world.now += 2 * HALF_LIFE
    caught(world, "liar", "operator", 3)
    assert not peer_of(world, "liar").banned, "the first one is nearly forgotten"


@pytest.mark.parametrize("how", ["late", "withheld"])
def test_being_late_costs_the_turn_and_not_the_name(how: str) -> None:
    world = World()
    slow = world.actor("slow")
    world.submit(manifest(30))
    peer = peer_of(world, "slow")
    if how == "late":
        world.tick(100_000.0)
    else:
        peer.withheld = 3
    assert peer.doubtful
    assert not peer.banned
    assert peer.strikes.amount == 0
    slow.release()
    slow.want(5)
    assert peer.leased == 1


def test_a_lie_that_is_taken_back_is_proven_by_its_commitment() -> None:
    world = World()
    cheat, judge = world.actor("cheat"), world.actor("judge", owner="operator", validator=True)
    job = world.submit(manifest(1, policy=Policy.PAIR))
    tokens = cheat.commit("wrong")
    cheat.release(tokens)
    honest = world.actor("honest")
    other = world.actor("other")
    work(honest, other, judge)
    assert job.accepted == 1
    assert [row.doing for row in world.executions(job) if row.peer == cheat.key] == ["wrong"]
    assert round(peer_of(world, "cheat").strikes.amount) == 1
    world.audit()


def test_who_lost_a_right_result_gets_no_strike() -> None:
    world = World()
    unlucky = world.actor("unlucky")
    job = world.submit(manifest(1, policy=Policy.PAIR))
    unlucky.release(unlucky.commit())
    work(world.actor("one"), world.actor("two"))
    assert job.accepted == 1
    assert peer_of(world, "unlucky").strikes.amount == 0


def connect(world: World, name: str, network: bytes = HOME, vouch: Vouch | None = None) -> PeerKey:
    key = identity_of(name).key
    return world.desk.connect(key, OFFERS, world.now, vouch=vouch, network=network).owner


def test_who_nobody_vouches_for_belongs_to_its_network() -> None:
    world = World(credit=0)
    assert connect(world, "one") == connect(world, "two") == NETWORK + HOME
    assert connect(world, "three", AWAY) == NETWORK + AWAY
    assert connect(world, "four", b"") == identity_of("four").key


def test_a_vouch_counts_from_a_key_that_did_something_and_not_from_a_fresh_one() -> None:
    world = World()
    key = identity_of("peer").key
    fresh = Vouch.sign(identity_of("fresh"), key)
    assert connect(world, "peer", vouch=fresh) == NETWORK + HOME
    assert connect(world, "peer", b"", vouch=fresh) == identity_of("fresh").key
    operators = Vouch.sign(OPERATOR, key)
    assert connect(world, "peer", vouch=operators) == OPERATOR.key
    world.submit(manifest(1))
    assert connect(world, "peer", vouch=Vouch.sign(SUBMITTER, key)) == SUBMITTER.key


def test_after_a_ban_its_network_brings_no_new_keys_for_a_while() -> None:
    world = World()
    connect(world, "cheat")
    connect(world, "neighbour")
    peer = peer_of(world, "cheat")
    world.desk._court._ban(peer, world.now)
    with pytest.raises(RefusedError, match="new keys have to wait"):
        connect(world, "fresh")
    connect(world, "neighbour")
    connect(world, "far", AWAY)
    world.now += PATIENCE.quarantine
    connect(world, "fresh")


def test_a_submitter_demands_a_record() -> None:
    world = World()
    known, fresh = world.actor("known"), world.actor("fresh", connect=False)
    work(known, world.actor("other")) if world.submit(manifest(20)) else None
    fresh.connect()
    world.submit(manifest(6, nonce=3, demands=Demands(reputation=10)))
    for actor in (known, fresh):
        actor.want(3)
    assert known.leases
    assert not fresh.leases


def on(platform: str) -> Callable[[Offerings], Offerings]:
    return lambda each: Offerings(
        *(each.validator, each.cores, each.memory_bytes, each.images, each.agent, platform)
    )


def test_all_executions_of_a_unit_are_on_one_platform_when_the_job_asks_for_it() -> None:
    world = World()
    job = world.submit(manifest(1, demands=Demands(same_platform=True)))
    keys = {}
    for name, platform in (("one", "x86_64"), ("arm", "aarch64"), ("two", "x86_64")):
        keys[name] = identity_of(name).key
        actor = world.actor(name, connect=False)
        peer = world.desk.connect(actor.key, on(platform)(OFFERS), world.now)
        actor.session, actor.connected = peer.session, True
        world.desk.catch_up(peer, world.now)
        actor.want(2)
        if actor.leases and name != "arm":
            actor.commit()
        assert not (name == "arm" and actor.leases)
    for actor in world.actors.values():
        actor.reveal()
    assert job.accepted == 1
    assert world.unit(job).result == outcome(0).result
    world.audit()


def test_a_network_is_public_only_as_a_hash() -> None:
    assert len(NETWORK) + len(HOME) == len(sha256().digest())
