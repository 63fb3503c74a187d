"""The roster: sorted, each key once."""

from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import keys
from validators.roster import Roster
from workunits.ids import PeerKey


@given(st.lists(st.tuples(st.booleans(), keys)))
def test_a_roster_is_a_sorted_set(steps: list[tuple[bool, PeerKey]]) -> None:
    roster, expected = Roster(), set[PeerKey]()
    for adding, key in steps:
        (roster.add if adding else roster.discard)(key)
        (expected.add if adding else expected.discard)(key)
        assert list(roster) == sorted(expected)
        assert len(roster) == len(expected)
    assert roster[:2] == sorted(expected)[:2]
