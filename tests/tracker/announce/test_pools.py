"""Pools: whoever is in them is drawn, nobody else, and never who asks."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tracker.announce.pools import NO_ROW, SMALL, WIDTHS, Kind, Pool, Rows


def address(number: int, width: int = 6) -> bytes:
    return number.to_bytes(width, "big")


def filled(leechers: int, seeders: int, kind: Kind = Kind.V4) -> tuple[Pool, list[int]]:
    rows = Rows()
    pool, made = Pool(rows, kind), []
    for number in range(leechers + seeders):
        row = rows.add()
        seeding = number >= leechers
        rows.key[row] = b"swarm" + address(number, WIDTHS[kind])
        pool.add(row, address(number, WIDTHS[kind]), seeding=seeding, paused=False)
        made.append(row)
    return pool, made


@given(
    st.integers(0, 12), st.integers(0, 12), st.integers(0, 30), st.booleans(), st.integers(0, 99)
)
def test_a_draw_is_as_large_as_it_can_be_and_without_the_asker(
    leechers: int, seeders: int, count: int, uploading: bool, seed: int
) -> None:
    pool, made = filled(leechers, seeders)
    for row in (NO_ROW, *made):
        drawn = pool.rows(count, row, uploading, Random(seed))
        others = [each for each in made if each != row]
        if uploading:
            others = [each for each in others if not pool.seeding(each)]
        assert len(drawn) == len(set(drawn)) == min(count, len(others))
        assert set(drawn) <= set(others)
        packed = pool.packed(count, row, uploading, Random(seed))
        assert {packed[at : at + 6] for at in range(0, len(packed), 6)} <= {
            address(made.index(each)) for each in others
        }
        assert len(packed) == 6 * len(drawn)


def test_rare_kinds_are_drawn_as_often_as_they_should_be() -> None:
    pool, made = filled(99, 1)
    rng = Random(5)
    often = sum(made[-1] in pool.rows(10, NO_ROW, False, rng) for _ in range(5000))
    assert 350 < often < 650


@pytest.mark.parametrize("kind", [Kind.V4, Kind.V6])
def test_an_address_of_another_size_is_a_mistake(kind: Kind) -> None:
    rows = Rows()
    with pytest.raises(ValueError, match="another size"):
        Pool(rows, kind).add(rows.add(), b"x", seeding=False, paused=False)


class Model(RuleBasedStateMachine):
    """The same steps on a dictionary give the same members, addresses and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = Rows()
        self.pool = Pool(self.rows, Kind.V6)
        self.expected: dict[int, tuple[bytes, bool, bool]] = {}
        self.next = 0

    @rule(seeding=st.booleans(), paused=st.booleans())
    def add(self, seeding: bool, paused: bool) -> None:
        paused = paused and not seeding
        row = self.rows.add()
        assert row not in self.expected
        self.next += 1
        self.rows.key[row] = b"swarm" + address(self.next, 18)
        self.pool.add(row, address(self.next, 18), seeding=seeding, paused=paused)
        self.expected[row] = address(self.next, 18), seeding, paused

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), seeding=st.booleans(), paused=st.booleans())
    def change(self, data: st.DataObject, seeding: bool, paused: bool) -> None:
        paused = paused and not seeding
        row = data.draw(st.sampled_from(sorted(self.expected)))
        self.pool.change(row, seeding=seeding, paused=paused)
        self.expected[row] = self.expected[row][0], seeding, paused

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(sorted(self.expected)))
        self.pool.remove(row)
        self.rows.remove(row)
        del self.expected[row]

    @invariant()
    def they_agree(self) -> None:
        pool, expected = self.pool, self.expected
        assert set(pool.members) == set(expected)
        assert pool.addresses is not None or len(expected) <= SMALL
        assert pool.seeders == sum(each[1] for each in expected.values())
        assert pool.paused == sum(each[2] for each in expected.values())
        assert pool.downloaders == sum(not (each[1] or each[2]) for each in expected.values())
        for place, row in enumerate(pool.members):
            assert self.rows.place[row] == place
            if pool.addresses is not None:
                assert pool.addresses[18 * place : 18 * place + 18] == expected[row][0]
            assert pool.seeding(row) == expected[row][1]


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
