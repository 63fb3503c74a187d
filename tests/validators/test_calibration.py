"""Thresholds from measured gaps."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.calibration import (
    HEADROOM,
    HONEST,
    REJECTED,
    Sample,
    Share,
    choose,
    judge,
    wilson,
)
from validators.texts import stands
from workunits.verification import MAX_GAP, Comparator, Comparison

gaps = st.floats(0, 20) | st.sampled_from([0.0, math.inf])
samples = st.builds(Sample, st.sampled_from([HONEST, "edit", "Q2"]), gaps, gaps)
many = st.lists(samples, max_size=60)


def honest(*pairs: tuple[float, float]) -> list[Sample]:
    return [Sample(HONEST, *pair) for pair in pairs]


def lies(kind: str, *pairs: tuple[float, float]) -> list[Sample]:
    return [Sample(kind, *pair) for pair in pairs]


# Wilson's interval.


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (0, 288, 0.0, 0.01316),
        (81, 263, 0.2553, 0.3662),  # Newcombe, Statistics in Medicine 17 (1998), table I
        (15, 148, 0.0624, 0.1605),
    ],
)
def test_the_interval_is_that_of_the_tables(found: int, of: int, low: float, high: float) -> None:
    assert wilson(found, of) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_holds_what_was_seen_and_is_a_share(found: int, more: int) -> None:
    low, high = wilson(found, found + more)
    assert 0 <= low < high <= 1
    if found + more:
        assert low <= found / (found + more) <= high
        other = wilson(more, found + more)
        assert other == pytest.approx((1 - high, 1 - low))


def test_without_samples_nothing_is_known() -> None:
    assert wilson(0, 0) == (0, 1)
    assert math.isnan(Share("edit", 0, 0).share)
    assert Share("edit", 1, 4).share == 0.25
    assert Share("edit", 1, 4).bounds == wilson(1, 4)


# Judging.


@given(many, st.integers(1, 20_000), st.integers(1, 20_000))
def test_thresholds_are_judged_as_validators_judge(
    some: list[Sample], mean_gap: int, most_gap: int
) -> None:
    found = judge(some, mean_gap, most_gap)
    comparator = Comparator(Comparison.TEXT_MODEL, mean_gap=mean_gap, most_gap=most_gap)
    for share in (*found.accepted, found.rejected):
        ours = [each for each in some if each.kind == share.kind]
        accepted = sum(stands(comparator, each.mean, each.most) for each in ours)
        assert share.of == len(ours)
        assert share.found == (len(ours) - accepted if share.kind == HONEST else accepted)
    assert sum(each.of for each in found.accepted) + found.rejected.of == len(some)


def test_without_thresholds_only_what_has_no_gap_stands() -> None:
    found = judge([*honest((0, 0), (0, 1e-9)), *lies("f16", (0, 0), (1, 1))], 0, 0)
    assert found.rejected == Share(HONEST, 1, 2)
    assert found.accepted == (Share("f16", 1, 2),)


# Choosing.


def test_thresholds_come_between_honest_answers_and_lies() -> None:
    some = [
        *honest(*[(at / 1000, at / 100) for at in range(10)]),
        *lies("edit", (0.05, 6.0), (0.02, 3.0)),
        *lies("Q2", (0.4, 2.0), (0.3, 1.0)),
    ]
    found = choose(some)
    assert (found.mean_gap, found.most_gap) == (14, 135)
    assert found.rejected == Share(HONEST, 0, 10)
    assert found.accepted == (Share("Q2", 0, 2), Share("edit", 0, 2))


def test_headroom_ends_where_it_would_let_a_lie_in() -> None:
    near = [*honest((0.01, 0.1)), *lies("Q8", (0.0125, 0.11))]
    found = choose(near)
    assert found.accepted == (Share("Q8", 0, 1),)
    assert 10 < found.mean_gap < 15
    assert 100 < found.most_gap < 150


def test_a_lie_among_honest_answers_moves_nothing() -> None:
    same = [*honest((0.01, 0.1), (0.0, 0.0)), *lies("f16", (0.0, 0.0), (0.005, 0.05))]
    found = choose(same)
    assert (found.mean_gap, found.most_gap) == (15, 150)
    assert found.accepted == (Share("f16", 2, 2),)


def test_one_honest_answer_in_200_may_be_given_up_to_keep_lies_out() -> None:
    usual = honest(*[(0.001, 0.05)] * 199)
    odd = honest((0.2, 0.06))
    wrong = lies("Q2", *[(0.1, 0.04)] * 10)
    found = choose([*usual, *odd, *wrong])
    assert found.rejected == Share(HONEST, 1, 200)
    assert found.accepted == (Share("Q2", 0, 10),)
    fewer = choose([*usual[1:], *odd, *wrong])  # 1 of 199 is more than the share
    assert fewer.rejected.found == 0
    assert fewer.accepted == (Share("Q2", 10, 10),)


def test_every_kind_of_lie_weighs_the_same() -> None:
    """Two hundred lies of one kind do not outvote two of another."""
    some = [
        *honest(*[(0.001, 0.001)] * 198, (0.5, 0.001), (0.001, 0.5)),
        *lies("many", *[(0.4, 0.0)] * 100),
        *lies("few", (0.0, 0.4), (0.0, 0.4)),
    ]
    found = choose(some, rejected=0.005)
    assert found.rejected.found == 1
    assert sorted(each.found for each in found.accepted) in ([0, 2], [0, 100])
    swapped = choose([*some, *lies("fewer", (0.0, 0.45))], rejected=0.005)
    assert {each.kind for each in swapped.accepted if each.found} == {"many"}


def test_where_no_honest_answer_has_a_gap_the_check_is_exact() -> None:
    found = choose([*honest((0, 0), (0, 0)), *lies("edit", (0.1, 1))])
    assert (found.mean_gap, found.most_gap) == (0, 0)
    assert found.rejected.found == 0


@given(many)
def test_chosen_thresholds_keep_the_honest_and_can_stand_in_a_card(some: list[Sample]) -> None:
    ours = [each for each in some if each.kind == HONEST]
    try:
        found = choose(some)
    except ValueError:
        bad = sum(not math.isfinite(each.mean + each.most) for each in ours)
        assert not ours or bad > REJECTED * len(ours)
        return
    assert found.rejected.found <= REJECTED * len(ours)
    assert (found.mean_gap > 0) == (found.most_gap > 0)
    assert max(found.mean_gap, found.most_gap) <= MAX_GAP
    assert found == judge(some, found.mean_gap, found.most_gap)
    largest = max((each.most for each in ours if math.isfinite(each.most)), default=0.0)
    assert found.most_gap <= max(1, math.ceil(largest * 1000)) * HEADROOM + 1


def test_no_thresholds_come_from_nothing() -> None:
    with pytest.raises(ValueError, match="honest"):
        choose(lies("edit", (1, 1)))
    with pytest.raises(ValueError, match="farther"):
        choose(honest((math.inf, math.inf), (0.1, 0.1)))
    with pytest.raises(ValueError, match="farther"):
        choose(honest((2000.0, 2000.0)))
