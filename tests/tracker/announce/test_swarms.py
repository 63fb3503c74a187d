"""Swarm state: counts, draws, time and bounds."""

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tracker.announce.swarms import (
    Announced,
    Carrier,
    Counts,
    Limits,
    Peer,
    Swarms,
    track_everything,
)
from workunits.errors import RefusedError
from workunits.wire.signalling import Event

HASH = b"h" * 20
PORT = (6881).to_bytes(2, "big")


def at(name: str) -> bytes:
    """The packed address of a peer with that name, each in a network of its own."""
    return b"\x05" + name.encode().rjust(2, b".")[-2:] + b"\x01" + PORT


def named(peers: Iterable[Peer[Any]]) -> set[str]:
    """Who they are."""
    return {peer.peer_id.rstrip(b"-").decode() for peer in peers}


def swarms(limits: Limits | None = None) -> Swarms:
    return Swarms(tracked=track_everything, rng=Random(1), limits=limits)


def announce(
    state: Swarms,
    key: str,
    *,
    carrier: Carrier = Carrier.ADDRESS,
    info_hash: bytes = HASH,
    left: int | None = 1,
    event: Event = Event.NONE,
    numwant: int = 50,
    now: float = 0.0,
) -> Announced[Any]:
    owner = at(key) if carrier is Carrier.ADDRESS else key
    return state.announce(
        carrier,
        info_hash,
        owner,
        key.encode().ljust(20, b"-"),
        left=left,
        event=event,
        numwant=numwant,
        now=now,
    )


def test_a_peer_is_never_handed_to_itself() -> None:
    state = swarms()
    assert announce(state, "a").peers == []
    assert named(announce(state, "b").peers) == {"a"}


def test_a_seeder_gets_leechers_only_and_a_leecher_gets_both() -> None:
    state = swarms()
    for key in "abc":
        announce(state, key, left=0)
    announce(state, "x")
    assert named(announce(state, "a", left=0).peers) == {"x"}
    assert named(announce(state, "y").peers) == {"a", "b", "c", "x"}


@pytest.mark.parametrize("numwant", [0, 1, 5, 30])
def test_no_more_peers_are_drawn_than_wanted(numwant: int) -> None:
    state = swarms()
    for number in range(30):
        announce(state, str(number), left=number % 2)
    peers = announce(state, "me", numwant=numwant).peers
    assert len({peer.key for peer in peers}) == numwant


def test_draws_reach_every_member_evenly() -> None:
    state = swarms()
    for number in range(20):
        announce(state, str(number), left=number % 2)
    seen = dict.fromkeys(map(str, range(20)), 0)
    for turn in range(2000):
        for peer in announce(state, "me", numwant=5, now=turn).peers:
            seen[peer.peer_id.rstrip(b"-").decode()] += 1
    assert min(seen.values()) > 400
    assert max(seen.values()) < 600


def test_unknown_left_is_not_seeding_and_completed_is() -> None:
    state = swarms()
    assert announce(state, "a", left=None).counts == Counts(0, 1, 0)
    assert announce(state, "a", left=None, event=Event.COMPLETED).counts == Counts(1, 0, 1)
    assert announce(state, "a", left=0, event=Event.COMPLETED).counts == Counts(1, 0, 1)
    assert announce(state, "a", left=0).counts == Counts(1, 0, 1)


def test_a_stop_forgets_only_its_own_carrier() -> None:
    state = swarms()
    announce(state, "a")
    announce(state, "a", carrier=Carrier.SOCKET)
    assert announce(state, "a", event=Event.STOPPED).counts == Counts(0, 1, 0)
    assert announce(state, "stranger", event=Event.STOPPED).counts == Counts(0, 1, 0)
    assert state.peer_count == 1


def test_a_stop_for_an_unknown_swarm_makes_none() -> None:
    state = swarms()
    assert announce(state, "a", event=Event.STOPPED).counts == Counts(0, 0, 0)
    assert state.swarm_count == 0


def test_only_tracked_hashes_are_taken() -> None:
    state = Swarms(tracked=frozenset([HASH]).__contains__, rng=Random(1))
    announce(state, "a")
    with pytest.raises(RefusedError) as caught:
        announce(state, "a", info_hash=b"o" * 20)
    assert caught.value.hint
    assert state.counts(HASH) == Counts(0, 1, 0)
    assert state.counts(b"o" * 20) is None


def test_each_carrier_ages_by_its_own_time() -> None:
    state = swarms(Limits(address_ttl=100, socket_ttl=10))
    announce(state, "a", now=0)
    announce(state, "b", carrier=Carrier.SOCKET, now=0)
    announce(state, "c", carrier=Carrier.SOCKET, now=5)
    assert state.prune(9.9) == 0
    assert state.prune(10) == 1
    announce(state, "c", carrier=Carrier.SOCKET, now=14)
    assert state.prune(20) == 0
    assert state.prune(24) == 1
    assert state.prune(100) == 1
    assert (state.peer_count, state.swarm_count) == (0, 0)


def test_completed_counts_outlive_the_peers_until_room_is_short() -> None:
    state = swarms(Limits(swarms=4))
    for number in range(2):
        announce(state, "a", info_hash=bytes([number]) * 20, left=0, event=Event.COMPLETED)
    state.prune(1e6)
    assert state.counts(bytes(20)) == Counts(0, 0, 1)
    announce(state, "a", info_hash=b"x" * 20, now=1e6)
    state.prune(1e6)
    assert state.swarm_count == 1


def test_a_full_tracker_answers_but_stores_nothing_new() -> None:
    state = swarms(Limits(peers=2))
    announce(state, "a")
    announce(state, "b")
    full = announce(state, "c")
    assert not full.stored
    assert named(full.peers) == {"a", "b"}
    assert not announce(state, "c", info_hash=b"n" * 20).stored
    assert announce(state, "a", left=0).stored
    assert (state.peer_count, state.swarm_count) == (2, 1)


def test_a_full_swarm_makes_room_by_forgetting_somebody() -> None:
    state = swarms(Limits(peers_per_swarm=3))
    for number in range(10):
        assert announce(state, str(number)).stored
    assert state.peer_count == 3
    assert named(state.members(HASH)) >= {"9"}


def test_the_number_of_swarms_is_bounded() -> None:
    state = swarms(Limits(swarms=3))
    for number in range(10):
        announce(state, "a", info_hash=bytes([number]) * 20)
    assert state.swarm_count == 3


class Model(RuleBasedStateMachine):
    """The same steps on a plain dictionary must give the same counts."""

    def __init__(self) -> None:
        super().__init__()
        self.state = swarms(Limits(address_ttl=20, socket_ttl=10))
        self.now = 0.0
        self.expected: dict[tuple[bytes, Carrier, str], tuple[bool, float]] = {}

    @rule(
        info_hash=st.sampled_from([b"1" * 20, b"2" * 20]),
        carrier=st.sampled_from(Carrier),
        key=st.sampled_from("abcdef"),
        left=st.sampled_from([None, 0, 5]),
        event=st.sampled_from(Event),
        numwant=st.integers(0, 7),
    )
    def announce(
        self,
        info_hash: bytes,
        carrier: Carrier,
        key: str,
        left: int | None,
        event: Event,
        numwant: int,
    ) -> None:
        announced = announce(
            self.state,
            key,
            carrier=carrier,
            info_hash=info_hash,
            left=left,
            event=event,
            numwant=numwant,
            now=self.now,
        )
        keys = [peer.peer_id.rstrip(b"-").decode() for peer in announced.peers]
        assert len(set(keys)) == len(keys) <= numwant
        assert key not in keys
        assert all((info_hash, carrier, other) in self.expected for other in keys)
        if event is Event.STOPPED:
            self.expected.pop((info_hash, carrier, key), None)
        else:
            seeding = left == 0 or event is Event.COMPLETED
            self.expected[info_hash, carrier, key] = (seeding, self.now)

    @rule(seconds=st.floats(0, 8))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.state.prune(self.now)
        ttl = {Carrier.ADDRESS: 20, Carrier.SOCKET: 10}
        self.expected = {
            key: value for key, value in self.expected.items() if value[1] > self.now - ttl[key[1]]
        }

    @invariant()
    def counts_agree(self) -> None:
        assert self.state.peer_count == len(self.expected)
        for info_hash in (b"1" * 20, b"2" * 20):
            mine = [value[0] for key, value in self.expected.items() if key[0] == info_hash]
            counts = self.state.counts(info_hash)
            assert counts is not None
            assert (counts.complete, counts.incomplete) == (sum(mine), len(mine) - sum(mine))
            assert len(list(self.state.members(info_hash))) == len(mine)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase
