"""The roster: rows are found by what owns them, and nothing is left when they are gone."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tracker.announce.networks import network_of
from tracker.announce.pools import NO_ROW, Kind
from tracker.announce.roster import CROWD, Roster, key_of, kind_of

HASHES = (b"1" * 20, b"2" * 20)


def key(kind: Kind, number: int) -> Any:
    if kind is Kind.SOCKET:
        return ("socket", number)
    return bytes([5, 0, 0, number]) + (bytes(12) if kind is Kind.V6 else b"") + b"\x1a\xe1"


def add(roster: Roster, info_hash: bytes, kind: Kind, number: int, **more: bool) -> int:
    swarm, owner = roster.open(info_hash), key(kind, number)
    network = network_of(owner) if isinstance(owner, bytes) else 0
    row = roster.add(swarm, kind, owner, network, **({"seeding": False, "paused": False} | more))
    roster.saw(row, kind, b"p" * 20, b"", 0.0)
    return row


@given(st.binary(max_size=20))
def test_only_6_and_18_bytes_are_an_address(raw: bytes) -> None:
    if len(raw) in (6, 18):
        assert kind_of(raw) is (Kind.V4 if len(raw) == 6 else Kind.V6)
    else:
        with pytest.raises(ValueError, match="6 or 18"):
            kind_of(raw)


@pytest.mark.parametrize("kind", Kind)
def test_a_key_is_read_back_from_what_owns_a_row(kind: Kind) -> None:
    roster = Roster()
    row = add(roster, HASHES[0], kind, 7)
    assert key_of(roster.rows.key[row]) == key(kind, 7)
    assert roster.find(roster.swarms[HASHES[0]], kind, key(kind, 7)) == row
    assert roster.find(roster.swarms[HASHES[0]], kind, key(kind, 8)) == NO_ROW


def test_networks_of_a_swarm_are_counted_once_it_is_large_and_not_when_it_is_small_again() -> None:
    roster = Roster()
    rows = [add(roster, HASHES[0], Kind(number % 2), number) for number in range(CROWD)]
    swarm = roster.swarms[HASHES[0]]
    assert swarm.crowds is not None
    assert swarm.crowds.size(network_of(key(Kind.V4, 1))) == CROWD // 2
    for row in rows[: CROWD // 2 + 1]:
        roster.remove(row)
    assert swarm.crowds is None


def test_a_swarm_is_kept_for_its_count_only_until_it_is_forgotten() -> None:
    roster = Roster()
    row = add(roster, HASHES[0], Kind.V4, 1)
    swarm = roster.swarms[HASHES[0]]
    swarm.completed = 1
    roster.remove(row)
    assert roster.open(HASHES[0]) is swarm
    assert not roster.left
    row = add(roster, HASHES[0], Kind.V4, 1)
    roster.remove(row)
    roster.forget(swarm)
    assert not roster.swarms


class Model(RuleBasedStateMachine):
    """The same steps on a dictionary, with clients that move about under their keys."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster()
        self.now = 0.0
        self.expected: dict[tuple[bytes, Any], tuple[bytes, bytes, Kind, float, bool]] = {}

    @rule(
        info_hash=st.sampled_from(HASHES),
        kind=st.sampled_from(Kind),
        number=st.integers(0, 3),
        peer_id=st.sampled_from([b"a" * 20, b"b" * 20]),
        token=st.sampled_from([b"", b"x", b"y"]),
        seeding=st.booleans(),
    )
    def announce(
        self,
        info_hash: bytes,
        kind: Kind,
        number: int,
        peer_id: bytes,
        token: bytes,
        seeding: bool,
    ) -> None:
        self.now += 1
        roster, owner = self.roster, key(kind, number)
        swarm = roster.open(info_hash)
        row = roster.find(swarm, kind, owner)
        if row == NO_ROW:
            row = roster.add(swarm, kind, owner, 5, seeding=seeding, paused=False)
        else:
            roster.refresh(row, seeding=seeding, paused=False)
        roster.saw(row, kind, peer_id, token, self.now)
        for place, (other, secret, family, _, _) in list(self.expected.items()):
            same = (place[0], other, secret, family) == (info_hash, peer_id, token, kind)
            if token and same and place[1] != owner:
                del self.expected[place]
        self.expected[info_hash, owner] = peer_id, token, kind, self.now, seeding

    @rule(ago=st.integers(0, 10), most=st.integers(1, 5))
    def expire(self, ago: int, most: int) -> None:
        before = self.now - ago
        stale = self.roster.stale(before, before, most)
        assert len(stale) == min(most, sum(each[3] <= before for each in self.expected.values()))
        for row in stale:
            swarm = self.roster.rows.swarm[row]
            del self.expected[swarm.info_hash, key_of(self.roster.rows.key[row])]  # type: ignore[attr-defined]
            self.roster.remove(row)

    @invariant()
    def they_agree(self) -> None:
        roster = self.roster
        assert len(roster) == len(self.expected)
        assert roster.seeders == sum(each[4] for each in self.expected.values())
        assert roster.crowds.size(5) == len(self.expected)
        assert set(roster.swarms) == {place[0] for place in self.expected}
        for (info_hash, owner), (peer_id, token, kind, seen, seeding) in self.expected.items():
            swarm = roster.swarms[info_hash]
            row = roster.find(swarm, kind, owner)
            assert roster.rows.peer_id(row) == peer_id
            assert roster.rows.seen[row] == seen
            assert roster.pool_of(row).seeding(row) == seeding
            if token:
                assert roster.known(swarm, kind, peer_id, token) == row


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase
