"""Units that were never leased: few ranges, none lost, none twice, none forgotten for long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.work.fresh import LOOK, Fresh


def test_in_order_it_is_one_range() -> None:
    fresh = Fresh([(0, 3)])
    for index in range(3):
        assert (fresh.first, fresh.left, fresh.ranges) == (index, 3 - index, ((index, 3),))
        fresh.take(index)
    assert not fresh and fresh.left == 0
    assert list(fresh.starts(1)) == []


def test_what_was_leased_is_not_leased_again() -> None:
    fresh = Fresh([(0, 5), (7, 9)])
    fresh.take(3)
    assert fresh.ranges == ((0, 3), (4, 5), (7, 9))
    for gone in (3, 5, 6, 9):
        with pytest.raises(ValueError, match="before"):
            fresh.take(gone)


def test_starts_are_the_first_units_of_the_next_runs() -> None:
    fresh = Fresh([(0, 1000)])
    fresh.take(0)
    fresh.take(20)
    assert list(fresh.starts(10)) == [1, 10, 21, *range(30, 10 * LOOK, 10)]


@given(st.integers(1, 12), st.integers(1, 300), st.randoms(use_true_random=False))
def test_every_unit_comes_once_and_the_ranges_stay_few(run: int, units: int, rng: object) -> None:
    fresh = Fresh([(0, units)])
    seen: set[int] = set()
    while fresh:
        starts = list(fresh.starts(run))
        assert starts[0] == fresh.first
        assert len(starts) <= LOOK
        index = rng.choice(starts)  # type: ignore[attr-defined]
        assert index not in seen
        seen.add(index)
        fresh.take(index)
        assert len(fresh.ranges) <= LOOK + 1
        assert fresh.left == units - len(seen) == sum(b - a for a, b in fresh.ranges)
    assert seen == set(range(units))
