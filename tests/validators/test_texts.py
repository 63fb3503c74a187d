"""Claimed answers of models, true ones and altered ones."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.texts import altered, stands
from workunits.verification import Comparator, Comparison

MARGINS = Comparator(Comparison.TEXT_MODEL, mean_gap=10, most_gap=1000)
answers = st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=40) | st.lists(
    st.integers(0, 2), min_size=1, max_size=40
)
chances = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(
    ("mean", "most", "accepted"),
    [
        (0.0, 0.0, True),
        (0.01, 1.0, True),
        (0.0101, 0.5, False),
        (0.005, 1.001, False),
        (math.inf, math.inf, False),
        (0.0, math.inf, False),
        (math.nan, 0.0, False),
        (0.0, math.nan, False),
        (-0.1, 0.0, False),
        (0.0, -0.1, False),
    ],
)
def test_an_answer_stands_if_neither_gap_is_over_its_bound(
    mean: float, most: float, accepted: bool
) -> None:
    assert stands(MARGINS, mean, most) == accepted


@given(st.floats(), st.floats(), st.integers(1, 10**6), st.integers(1, 10**6))
def test_wider_bounds_accept_all_that_narrower_ones_do(
    mean: float, most: float, mean_gap: int, most_gap: int
) -> None:
    narrow = Comparator(Comparison.TEXT_MODEL, mean_gap=mean_gap, most_gap=most_gap)
    wide = Comparator(Comparison.TEXT_MODEL, mean_gap=mean_gap + 1, most_gap=most_gap + 1)
    assert stands(wide, mean, most) >= stands(narrow, mean, most)


@pytest.mark.parametrize("kind", [Comparison.EXACT, Comparison.TEXT_MODEL])
def test_a_job_without_margins_has_no_use_for_gaps(kind: Comparison) -> None:
    with pytest.raises(ValueError, match="margins"):
        stands(Comparator(kind), 0, 0)


@given(answers, chances, st.lists(st.integers(0, 2**24 - 1)), st.integers(1, 50))
def test_an_altered_answer_differs_in_as_many_places_as_were_asked_for(
    tokens: list[int], chance: bytes, others: list[int], count: int
) -> None:
    found = altered(tokens, chance, others=others, count=count)
    assert len(found) == len(tokens)
    changed = sum(one != other for one, other in zip(tokens, found, strict=True))
    assert changed == min(count, max(1, len(tokens) - 1))
    assert min(found) >= 0
    if len(tokens) > 1:
        assert found[-1] == tokens[-1]
    assert altered(tuple(tokens), chance, others=others, count=count) == found


@given(answers, chances)
def test_what_comes_in_is_from_the_answer_where_it_can_be(tokens: list[int], chance: bytes) -> None:
    if len(set(tokens)) > 1:
        assert set(altered(tokens, chance)) <= set(tokens)


def test_what_comes_in_is_from_others_where_all_are_equal() -> None:
    assert altered([5, 5], bytes(32), others=[5, 9]) == (9, 5)
    assert altered([5], bytes(32), others=[5]) == (4,)
    assert altered([0], bytes(32)) == (1,)


def test_every_place_but_the_last_is_altered_as_often() -> None:
    tokens = list(range(11))
    counts: Counter[int] = Counter()
    for number in range(2000):
        found = altered(tokens, number.to_bytes(32, "big"))
        (place,) = (at for at in range(11) if found[at] != tokens[at])
        counts[place] += 1
    assert sorted(counts) == list(range(10))
    assert sum((each - 200) ** 2 / 200 for each in counts.values()) < 27.9  # p = 0.001


def test_other_secrets_alter_in_other_ways() -> None:
    tokens = list(range(100))
    found = {altered(tokens, number.to_bytes(32, "big")) for number in range(50)}
    assert len(found) > 45


def test_nothing_cannot_be_altered() -> None:
    for tokens, chance, count in (([], bytes(32), 1), ([1], bytes(31), 1), ([1], bytes(32), 0)):
        with pytest.raises(ValueError, match="alter"):
            altered(tokens, chance, count=count)
