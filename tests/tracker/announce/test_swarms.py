"""Swarm state: counts, draws, time and bounds."""

import tracemalloc
from collections.abc import Iterable
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tracker.announce.pace import HurryError, Pace
from tracker.announce.swarms import (
    EARLY_COST,
    SWEEP_EVERY,
    Announced,
    Carrier,
    Counts,
    Limits,
    Packed,
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


def test_who_starts_with_nothing_left_gets_seeders_once_for_aria2_says_so_of_magnet_links() -> None:
    state = swarms()
    announce(state, "a", left=0)
    assert named(announce(state, "b", left=0, event=Event.STARTED).peers) == {"a"}
    assert announce(state, "b", left=0, event=Event.STARTED).peers == []
    joined = announce(state, "s", carrier=Carrier.SOCKET, left=0, event=Event.STARTED)
    assert joined.peers == []


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
    state.prune(1e6 + SWEEP_EVERY)
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


def ip(text: str, port: int = 6881) -> bytes:
    return ip_address(text).packed + port.to_bytes(2, "big")


def packed(
    state: Swarms,
    key: bytes,
    *,
    info_hash: bytes = HASH,
    peer_id: bytes = b"",
    left: int | None = 1,
    event: Event = Event.NONE,
    numwant: int = 50,
    now: float = 0.0,
    token: bytes = b"",
) -> Packed:
    return state.announce_packed(
        info_hash,
        key,
        peer_id.ljust(20, b"-"),
        left=left,
        event=event,
        numwant=numwant,
        now=now,
        token=token,
    )


def test_packed_peers_are_those_that_are_named() -> None:
    state = swarms()
    for number in range(1, 5):
        packed(state, ip(f"5.0.{number}.1"), left=number % 2)
        packed(state, ip(f"2001:db8:{number}::1"))
    reply = packed(state, ip("5.0.9.1"))
    assert {reply.v4[at : at + 6] for at in range(0, len(reply.v4), 6)} == {
        ip(f"5.0.{number}.1") for number in range(1, 5)
    }
    assert len(reply.v6) == 4 * 18
    assert reply.counts == Counts(2, 7, 0)


@pytest.mark.parametrize(("ours", "theirs"), [(100, 100), (3, 100), (100, 3), (0, 100), (100, 0)])
def test_the_askers_family_comes_first_and_the_other_is_not_forgotten(
    ours: int, theirs: int
) -> None:
    state = swarms()
    for number in range(ours):
        packed(state, ip(f"5.0.{number}.1"))
    for number in range(theirs):
        packed(state, ip(f"2001:db8:{number}::1"))
    reply = packed(state, ip("5.1.0.1"), numwant=40)
    four, six = len(reply.v4) // 6, len(reply.v6) // 18
    assert four + six == min(40, ours + theirs)
    assert six >= min(theirs, 10)
    assert four >= min(ours, 30)


def test_a_key_is_needed_to_take_a_place_and_moves_it_within_its_family() -> None:
    state = swarms()
    packed(state, ip("5.0.0.1"), peer_id=b"me", token=b"k")
    packed(state, ip("5.0.0.2"), peer_id=b"me", token=b"guess")
    packed(state, ip("5.0.0.3"), peer_id=b"me")
    packed(state, ip("2001:db8::1"), peer_id=b"me", token=b"k")
    assert state.peer_count == 4
    packed(state, ip("5.0.0.4"), peer_id=b"me", token=b"k")
    assert {peer.key for peer in state.members(HASH)} == {
        *(ip("5.0.0.2"), ip("5.0.0.3"), ip("5.0.0.4"), ip("2001:db8::1"))
    }
    packed(state, ip("5.0.0.4"), peer_id=b"me", token=b"new")
    packed(state, ip("5.0.0.5"), peer_id=b"me", token=b"k")
    assert state.peer_count == 5


def test_a_socket_with_the_same_key_takes_the_place_of_a_dead_one() -> None:
    state = swarms()
    for socket in ("old", "new"):
        state.announce(
            *(Carrier.SOCKET, HASH, (socket, b"p"), b"p" * 20),
            left=1,
            event=Event.NONE,
            numwant=5,
            now=0.0,
            token=b"k",
        )
    assert [peer.key for peer in state.members(HASH)] == [("new", b"p")]
    state.remove(Carrier.SOCKET, HASH, ("old", b"p"))
    assert state.peer_count == 1


def test_a_partial_seed_is_given_leechers_only_and_counts_as_incomplete() -> None:
    state = swarms()
    packed(state, ip("5.0.0.1"), left=0)
    packed(state, ip("5.0.1.1"), left=5)
    reply = packed(state, ip("5.0.2.1"), left=5, event=Event.PAUSED)
    assert reply.v4 == ip("5.0.1.1")
    assert reply.counts == Counts(1, 2, 0, 1)


def test_who_announces_again_and_again_gets_counts_and_no_peers_in_the_end() -> None:
    state = Swarms(
        tracked=track_everything, rng=Random(1), pace=Pace(rate=1, burst=2 + 3 * EARLY_COST)
    )
    packed(state, ip("5.0.0.1"))
    packed(state, ip("5.0.1.1"))
    assert [len(packed(state, ip("5.0.1.1")).v4) for _ in range(4)] == [6, 6, 6, 0]
    assert state.tally.early == 1
    with pytest.raises(HurryError):
        packed(state, ip("5.0.1.1"))
    assert len(packed(state, ip("5.0.1.1"), now=1000.0).v4) == 6


def test_a_stop_is_heard_from_a_network_that_announces_too_often() -> None:
    state = Swarms(tracked=track_everything, rng=Random(1), pace=Pace(rate=1, burst=1))
    packed(state, ip("5.0.0.1"))
    with pytest.raises(HurryError):
        packed(state, ip("5.0.0.2"))
    packed(state, ip("5.0.0.1"), event=Event.STOPPED)
    assert state.peer_count == 0


def test_a_network_has_its_share_of_a_swarm_and_of_the_tracker() -> None:
    state = swarms(Limits(network_swarm_peers=80, address_swarm_peers=80, network_peers=100))
    for number in range(200):
        packed(state, ip("5.0.0.1", 1000 + number))
    assert state.peer_count == 80
    for number in range(200):
        packed(state, ip("5.0.0.2", 1000 + number), info_hash=number.to_bytes(20, "big"))
    assert state.peer_count == 100
    assert state.tally.network_full == 120 + 180


def test_an_address_has_its_share_of_a_swarm_and_its_oldest_gives_way() -> None:
    state = swarms(Limits(address_swarm_peers=10))
    for number in range(100):
        packed(state, ip(f"5.0.{number}.1"))
    for number in range(30):
        packed(state, ip("5.1.0.1", 1000 + number), now=number)
    mine = {peer.key for peer in state.members(HASH)} - {ip(f"5.0.{n}.1") for n in range(100)}
    assert mine == {ip("5.1.0.1", 1000 + number) for number in range(20, 30)}


def test_private_networks_share_a_proxy_and_are_not_limited() -> None:
    state = swarms(Limits(network_swarm_peers=10, address_swarm_peers=5, network_peers=20))
    for number in range(500):
        packed(state, ip("127.0.0.1", 1000 + number))
    assert state.peer_count == 500


def test_a_flood_from_a_few_networks_pushes_out_nobody_else_of_a_swarm() -> None:
    state = swarms(Limits(peers_per_swarm=500, network_swarm_peers=300, address_swarm_peers=300))
    honest = {ip(f"9.{number}.0.1") for number in range(200)}
    for key in honest:
        packed(state, key)
    for number in range(5_000):
        packed(state, ip(f"5.0.{number % 4}.1", 1 + number))
    here = {peer.key for peer in state.members(HASH)}
    assert honest <= here
    assert len(here) <= 500
    packed(state, ip("9.250.0.1"))
    assert honest | {ip("9.250.0.1")} <= {peer.key for peer in state.members(HASH)}


def test_a_flood_from_a_few_networks_pushes_out_nobody_else_of_the_tracker() -> None:
    state = swarms(Limits(peers=1_000, network_peers=900))
    honest = {ip(f"9.{number}.0.1") for number in range(200)}
    for number, key in enumerate(honest):
        packed(state, key, info_hash=bytes([number % 7]) * 20)
    for number in range(5_000):
        packed(state, ip(f"5.0.{number % 4}.1", 1 + number), info_hash=number.to_bytes(20, "big"))
    assert state.peer_count == 1_000
    late = {ip(f"9.{number}.1.1") for number in range(200)}
    for key in late:
        assert packed(state, key).stored
    here = {
        peer.key
        for swarm in (*(bytes([n]) * 20 for n in range(7)), HASH)
        for peer in state.members(swarm)
    }
    assert honest | late <= here
    assert state.peer_count == 1_000
    assert not packed(state, ip("5.0.0.7")).stored


def test_swarms_make_room_for_swarms_of_other_networks() -> None:
    state = swarms(Limits(swarms=50))
    for number in range(200):
        packed(state, ip("5.0.0.1", 1 + number), info_hash=number.to_bytes(20, "big"))
    assert state.swarm_count == 50
    for number in range(10):
        assert packed(state, ip(f"9.0.{number}.1"), info_hash=bytes([number + 9]) * 20).stored
    assert state.swarm_count == 50


def test_pruning_is_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.announce.swarms.PRUNE_MOST", 30)
    state = swarms()
    for number in range(100):
        packed(state, ip(f"5.0.{number}.1"))
    assert [state.prune(1e6) for _ in range(5)] == [30, 30, 30, 10, 0]


@pytest.mark.parametrize("swarm_count", [50, 10_000])
def test_a_peer_takes_less_than_a_kilobyte(swarm_count: int) -> None:
    count = 10_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        state = swarms()
        for number in range(count):
            packed(
                state,
                ip(f"5.{number >> 8}.{number & 255}.1", number),
                info_hash=(number % swarm_count).to_bytes(20, "big"),
                peer_id=b"-XX0000-%012d" % number,
                token=b"%08X" % number,
                numwant=0,
            )
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert state.peer_count == count
    assert taken < 1000 * count


class Model(RuleBasedStateMachine):
    """The same steps on a plain dictionary must give the same counts."""

    def __init__(self) -> None:
        super().__init__()
        self.state = swarms(Limits(address_ttl=20, socket_ttl=10))
        self.now = 0.0
        self.expected: dict[tuple[bytes, Carrier, str], tuple[bool, float, bool]] = {}

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
            paused = event is Event.PAUSED and not seeding
            self.expected[info_hash, carrier, key] = (seeding, self.now, paused)

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
        assert self.state.seeder_count == sum(value[0] for value in self.expected.values())
        for info_hash in (b"1" * 20, b"2" * 20):
            mine = [value[0] for key, value in self.expected.items() if key[0] == info_hash]
            counts = self.state.counts(info_hash)
            assert counts is not None
            assert (counts.complete, counts.incomplete) == (sum(mine), len(mine) - sum(mine))
            idle = [value[2] for key, value in self.expected.items() if key[0] == info_hash]
            assert counts.paused == sum(idle)
            assert len(list(self.state.members(info_hash))) == len(mine)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase
