"""Tokens drawn from logits, the same on every machine."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sandbox.models.worker.sampler import (
    LEAST,
    MAX_CANDIDATES,
    WINDOW,
    Doubles,
    Logits,
    Sampler,
    exponentials,
    log_probabilities,
    logarithms,
    uniforms,
)
from workunits.models import request

FINITE = st.floats(-60, 60, width=32)
logit_rows = arrays(np.float32, st.integers(1, 400), elements=FINITE)
few_levels = arrays(np.float32, st.integers(1, 600), elements=st.sampled_from([-1.0, 0.0, 2.0]))
rows = logit_rows | few_levels


def row(*values: float) -> Logits:
    return np.array(values, np.float32)


def wide(size: int = 49_152, seed: int = 5) -> Logits:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(size) * 3).astype(np.float32)


def made(
    temperature: int = 0, top_p: int = 1000, top_k: int = 0, repetition: int = 1000, seed: int = 7
) -> Sampler:
    return Sampler(temperature, top_p, top_k, repetition, seed)


settings = st.builds(
    made,
    st.sampled_from([0, 1, 300, 1000, 2000]),
    st.integers(1, 1000),
    st.integers(0, 300),
    st.sampled_from([1000, 1001, 1300, 2000]),
    st.integers(0, 2**53),
)


def drawn(sampler: Sampler, logits: Logits, count: int, history: Sequence[int] = ()) -> list[int]:
    return [sampler.pick(logits, place, history) for place in range(count)]


def chi_square(counts: Sequence[int], shares: Sequence[float]) -> float:
    total = sum(counts)
    return sum(
        (count - total * share) ** 2 / (total * share)
        for count, share in zip(counts, shares, strict=True)
    )


# Greedy.


@given(rows)
def test_without_temperature_the_best_token_is_taken_and_of_equal_ones_the_lowest(
    logits: Logits,
) -> None:
    assert made().pick(logits, 3, [1, 2]) == logits.tolist().index(max(logits))


@given(rows, st.integers(0, 1000), st.integers(0, 2**53))
def test_without_temperature_seed_and_place_do_not_matter(
    logits: Logits, place: int, seed: int
) -> None:
    assert made(seed=seed).pick(logits, place, ()) == made().pick(logits, 0, ())


# The draw.


def test_tokens_come_as_often_as_the_softmax_says() -> None:
    logits = row(1.0, 0.0, -1.0, 0.5, 1.0)
    for temperature in (500, 1000, 2000):
        counts = [0] * 5
        for seed in range(2):
            for token in drawn(made(temperature, seed=seed), logits, 1200):
                counts[token] += 1
        weights = [math.exp(float(each) * 1000 / temperature) for each in logits]
        shares = [each / sum(weights) for each in weights]
        assert chi_square(counts, shares) < 18.5  # 4 degrees of freedom, p = 0.001


def test_consecutive_places_are_drawn_independently() -> None:
    tokens = drawn(made(1000), row(0, 0, 0, 0), 6400)
    counts = [0] * 16
    for one, other in zip(tokens[::2], tokens[1::2], strict=True):
        counts[4 * one + other] += 1
    assert chi_square(counts, [1 / 16] * 16) < 37.7  # 15 degrees of freedom, p = 0.001


def test_other_seeds_draw_other_answers() -> None:
    logits = wide(1000)
    answers = {tuple(drawn(made(1500, seed=seed), logits, 8)) for seed in range(20)}
    assert len(answers) == 20


def test_what_is_drawn_never_changes() -> None:
    """These numbers are in every answer that was verified: a change is another platform."""
    assert drawn(made(1000), wide(), 6) == GOLDEN["plain"]
    assert drawn(made(700, 900, 40), wide(), 6) == GOLDEN["narrow"]
    assert drawn(made(1300, 950, 0, 1200), wide(), 6, range(70)) == GOLDEN["repetition"]


GOLDEN = {
    "plain": [13065, 12289, 29928, 35107, 13229, 35046],
    "narrow": [28435, 25775, 29928, 29928, 25775, 25775],
    "repetition": [13065, 43516, 29928, 35107, 13229, 35046],
}


@given(settings, rows, st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=90))
def test_the_order_in_memory_does_not_matter(
    sampler: Sampler, logits: Logits, place: int, history: list[int]
) -> None:
    history = [each % len(logits) for each in history]
    strided = np.repeat(logits, 2)[::2]
    picked = sampler.pick(logits, place, history)
    assert sampler.pick(strided, place, tuple(history)) == picked
    read_only = logits.copy()
    read_only.flags.writeable = False
    assert sampler.pick(read_only, place, history) == picked


@given(settings, rows, st.integers(0, 100))
def test_a_machine_that_partitions_differently_draws_the_same(
    sampler: Sampler, logits: Logits, place: int
) -> None:
    before = sampler.pick(logits, place, ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "partition", lambda values, at: np.sort(values))
        assert sampler.pick(logits, place, ()) == before


# Candidates.


def test_only_the_best_of_top_k_are_drawn_and_of_equal_ones_the_lowest_ids() -> None:
    logits = row(0, 1, 0, 1, 0, 0)
    assert set(drawn(made(2000, top_k=3), logits, 200)) == {0, 1, 3}
    assert set(drawn(made(2000, top_k=1), logits, 50)) == {1}
    assert set(drawn(made(2000, top_k=300), logits, 500)) == set(range(6))


def test_no_token_beyond_the_best_256_is_drawn() -> None:
    logits = np.zeros(2000, np.float32)
    assert MAX_CANDIDATES == request.MAX_CANDIDATES
    assert set(drawn(made(2000), logits, 2500)) == set(range(256))
    assert set(drawn(made(2000, top_k=999), logits, 300)) <= set(range(256))


def test_the_fewest_tokens_that_have_top_p_are_drawn() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05])).astype(np.float32)
    for top_p, expected in (
        (1, {0}),
        (499, {0}),
        (501, {0, 1}),
        (801, {0, 1, 2}),
        (951, {*range(4)}),
    ):
        assert set(drawn(made(1000, top_p), logits, 400)) == expected


def test_top_p_is_taken_after_the_temperature() -> None:
    logits = np.log(np.array([0.6, 0.3, 0.1])).astype(np.float32)
    assert set(drawn(made(1000, 850), logits, 300)) == {0, 1}
    assert set(drawn(made(300, 850), logits, 300)) == {0}
    assert set(drawn(made(2000, 850), logits, 300)) == {0, 1, 2}


def test_top_p_that_is_reached_exactly_is_enough() -> None:
    assert set(drawn(made(1000, 500), row(0, 0, 0, 0), 300)) == {0, 1}


@given(logit_rows, st.integers(0, 1000))
def test_a_token_of_minus_infinity_is_never_drawn(logits: Logits, place: int) -> None:
    logits[::2] = -np.inf
    if len(logits) == 1:
        with pytest.raises(ValueError, match="not a number"):
            made(2000).pick(logits, place, ())
    else:
        assert made(2000).pick(logits, place, ()) % 2


@given(settings, rows, st.data())
def test_a_logit_that_is_not_a_number_is_refused(
    sampler: Sampler, logits: Logits, data: st.DataObject
) -> None:
    logits[data.draw(st.integers(0, len(logits) - 1))] = data.draw(
        st.sampled_from([np.nan, np.inf])
    )
    with pytest.raises(ValueError, match="not a number"):
        sampler.pick(logits, 0, [0])


@pytest.mark.parametrize(
    "logits", [np.zeros(0, np.float32), np.zeros(4), np.zeros((2, 2), np.float32)]
)
def test_anything_but_one_row_of_floats_is_refused(logits: Logits) -> None:
    with pytest.raises(ValueError, match="one row"):
        made().pick(logits, 0, ())


@pytest.mark.parametrize("wrong", [(-1, 1, 0, 1), (0, 0, 0, 1), (0, 1001, 0, 1), (0, 1, 0, 0)])
def test_settings_out_of_range_are_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Sampler(*wrong, seed=0)


# Repetition.


def test_a_repeated_token_is_divided_or_multiplied_once() -> None:
    assert made(repetition=1500).pick(row(3, 2.1, -9), 0, [0, 0, 0]) == 1
    assert made(repetition=1500).pick(row(3, 1.9, -9), 0, [0, 0, 0]) == 0
    assert made(repetition=1500).pick(row(-2, -2.9), 0, [0]) == 1
    assert made(repetition=1500).pick(row(-2, -2.9), 0, [0, 1]) == 0
    assert made(repetition=1500).pick(row(-2, -3.1), 0, [0]) == 0


def test_only_the_last_64_tokens_are_repetitions() -> None:
    logits = row(3, 2.9, -50)
    assert made(repetition=1500).pick(logits, 0, [0] + [2] * (WINDOW - 1)) == 1
    assert made(repetition=1500).pick(logits, 0, [0] + [2] * WINDOW) == 0


@given(
    rows,
    st.lists(st.integers(0, 10**6), max_size=90),
    st.sampled_from([1001, 1100, 2000]),
    st.integers(0, 300),
)
def test_the_penalty_is_that_of_the_plain_formula(
    logits: Logits, history: list[int], repetition: int, top_k: int
) -> None:
    history = [each % len(logits) for each in history]
    values = [float(each) for each in logits]
    for each in set(history[-WINDOW:]):
        values[each] *= 1000 / repetition if values[each] > 0 else repetition / 1000
    picked = made(repetition=repetition, top_k=top_k).pick(logits, 0, history)
    assert math.isclose(values[picked], max(values), rel_tol=1e-12)


def test_a_history_that_has_no_logits_is_refused() -> None:
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match="history"):
            made(repetition=1100).pick(row(1, 2, 3), 0, [0, wrong])


# What a form allows.


@given(settings, rows, st.integers(0, 100), st.sets(st.integers(0, 599)))
def test_only_what_is_allowed_is_taken(
    sampler: Sampler, logits: Logits, place: int, some: set[int]
) -> None:
    some = {each % len(logits) for each in some} or {0}
    assert sampler.pick(logits, place, (), some.__contains__) in some


@given(settings, rows, st.integers(0, 100))
def test_allowing_all_changes_nothing(sampler: Sampler, logits: Logits, place: int) -> None:
    assert sampler.pick(logits, place, (), lambda _: True) == sampler.pick(logits, place, ())


def test_greedy_asks_in_order_of_logit_and_no_further_than_it_must() -> None:
    asked: list[int] = []

    def odd(token: int) -> bool:
        asked.append(token)
        return token % 2 == 1

    assert made().pick(row(1, 2, 4, 3), 0, (), odd) == 3
    assert asked == [2, 3]


@pytest.mark.parametrize("temperature", [0, 1000])
def test_where_none_of_256_is_allowed_the_next_best_is_taken(temperature: int) -> None:
    logits = wide(5000)
    order = sorted(range(5000), key=lambda each: (-logits[each], each))
    late = set(order[MAX_CANDIDATES:])
    assert made(temperature).pick(logits, 0, (), late.__contains__) == order[MAX_CANDIDATES]
    last = {order[-1]}
    assert made(temperature, 1, 1).pick(logits, 0, (), last.__contains__) == order[-1]


@pytest.mark.parametrize("temperature", [0, 1000])
def test_a_form_that_allows_nothing_is_an_error(temperature: int) -> None:
    with pytest.raises(ValueError, match="no token"):
        made(temperature).pick(wide(1000), 0, (), lambda _: False)


def test_top_p_counts_only_what_is_allowed() -> None:
    logits = np.log(np.array([0.9, 0.06, 0.04])).astype(np.float32)
    seen = {made(1000, 700).pick(logits, place, (), lambda each: each > 0) for place in range(200)}
    assert seen == {1, 2}


# The gap.


@given(settings, rows, st.integers(0, 100), st.lists(st.integers(0, 10**6), max_size=70))
def test_the_token_that_is_drawn_has_no_gap(
    sampler: Sampler, logits: Logits, place: int, history: list[int]
) -> None:
    history = [each % len(logits) for each in history]
    picked = sampler.pick(logits, place, history)
    assert sampler.gap(logits, picked, place, history) == 0


def test_the_gap_of_a_greedy_token_is_that_to_the_best() -> None:
    assert made().gap(row(1, 4, 2.5), 2, 0, ()) == 1.5
    assert made(repetition=2000).gap(row(1, 4, 2.5), 1, 0, [1]) == 0.5


@given(
    arrays(np.float32, st.integers(2, 300), elements=st.floats(-5, 5, width=32)),
    st.sampled_from([500, 1000, 1700]),
    st.integers(300, 1000),
    st.integers(0, 300),
    st.integers(0, 50),
    st.data(),
)
def test_a_token_whose_logit_is_raised_by_its_gap_is_drawn(
    logits: Logits, temperature: int, top_p: int, top_k: int, place: int, data: st.DataObject
) -> None:
    claimed = data.draw(st.integers(0, len(logits) - 1))
    sampler = made(temperature, top_p, top_k)
    gap = sampler.gap(logits, claimed, place, ())
    raised = logits.copy()
    raised[claimed] += np.float32(gap + 1e-3)
    assert sampler.pick(raised, place, ()) == claimed


@given(
    arrays(np.float32, st.integers(2, 250), elements=st.floats(-5, 5, width=32)),
    st.sampled_from([500, 1000, 1700]),
    st.integers(0, 50),
    st.data(),
)
def test_a_token_whose_logit_is_raised_by_less_than_its_gap_is_not_drawn(
    logits: Logits, temperature: int, place: int, data: st.DataObject
) -> None:
    claimed = data.draw(st.integers(0, len(logits) - 1))
    gap = made(temperature).gap(logits, claimed, place, ())
    if gap > 1e-3:
        logits[claimed] += np.float32(gap - 1e-3)
        assert made(temperature).pick(logits, place, ()) != claimed


def test_small_differences_of_logits_make_small_gaps() -> None:
    """What inverting the distribution function could not do: a draw depends on its token alone."""
    rng = np.random.default_rng(3)
    logits, sampler, gaps = wide(2000), made(1000, 950), []
    for place in range(300):
        other = logits + rng.uniform(-0.05, 0.05, 2000).astype(np.float32)
        gaps.append(sampler.gap(logits, sampler.pick(other, place, ()), place, ()))
    assert max(gaps) <= 0.11
    assert 0 < sum(each > 0 for each in gaps) < 60


def test_what_is_not_allowed_or_no_token_has_an_infinite_gap() -> None:
    logits = row(1, 2, 3)
    for sampler in (made(), made(1000)):
        assert sampler.gap(logits, 1, 0, (), lambda each: each != 1) == math.inf
        assert sampler.gap(logits, 3, 0, ()) == math.inf
        assert sampler.gap(logits, -1, 0, ()) == math.inf


def test_beyond_the_candidates_the_gap_is_that_of_the_logits() -> None:
    logits = np.arange(2000, dtype=np.float32)[::-1].copy()
    late = range(1000, 2000)
    assert made(1000).pick(logits, 0, (), late.__contains__) == 1000
    assert made(1000).gap(logits, 1003, 0, (), late.__contains__) == 3


# Arithmetic.


@given(st.lists(st.floats(-45, 0), min_size=1, max_size=50))
def test_the_exponential_is_right_to_a_rounding_or_two(values: list[float]) -> None:
    for value, found in zip(values, exponentials(np.array(values)).tolist(), strict=True):
        assert math.isclose(found, math.exp(value), rel_tol=1e-15)


def test_exponentials_too_small_to_count_are_zero() -> None:
    assert exponentials(np.array([-45.1, -1e9, -math.inf, 0.0])).tolist() == [0, 0, 0, 1]


@given(st.lists(st.floats(2.0**-60, 100), min_size=1, max_size=50))
def test_the_logarithm_is_right_to_a_rounding_or_two(values: list[float]) -> None:
    for value, found in zip(values, logarithms(np.array(values)).tolist(), strict=True):
        assert math.isclose(found, math.log(value), rel_tol=2e-15)


@pytest.mark.parametrize("function", [exponentials, logarithms])
def test_a_vector_and_single_numbers_have_the_same_bits(
    function: Callable[[Doubles], Doubles],
) -> None:
    values = np.random.default_rng(2).uniform(0.01, 40, 1001)
    if function is exponentials:
        values = -values
    together = function(values).tolist()
    assert together == [function(values[index : index + 1])[0] for index in range(len(values))]


def test_uniform_numbers_are_between_0_and_1_and_even() -> None:
    numbers = uniforms(b"key", np.arange(20_000)).tolist()
    assert 0 < min(numbers) < max(numbers) < 1
    counts = [0] * 20
    for each in numbers:
        counts[int(each * 20)] += 1
    assert chi_square(counts, [1 / 20] * 20) < 43.8  # 19 degrees of freedom, p = 0.001
    assert uniforms(b"other", np.arange(5)).tolist() != numbers[:5]


# Reports.


def test_probabilities_are_of_the_token_and_of_the_best_others() -> None:
    logits = np.log(np.array([0.1, 0.5, 0.15, 0.25])).astype(np.float32)
    found = log_probabilities(logits, 0, 3)
    assert [each for each, _ in found] == [0, 1, 3]
    assert [math.exp(value) for _, value in found] == pytest.approx([0.1, 0.5, 0.25], rel=1e-4)
    assert [each for each, _ in log_probabilities(logits, 1, 3)] == [1, 3, 2]
    assert [each for each, _ in log_probabilities(logits, 1, 1)] == [1]
    assert len(log_probabilities(logits, 1, 20)) == 4
    assert log_probabilities(logits, 1, 0) == []


def test_a_probability_of_nothing_is_a_finite_number() -> None:
    assert log_probabilities(row(0, -np.inf), 1, 2) == [(1, LEAST), (0, 0.0)]


def test_the_last_bits_of_the_sum_make_no_probability_over_1() -> None:
    for size in (2, 3, 100):
        logits = np.full(size, -100.0, np.float32)
        logits[0] = 5
        assert log_probabilities(logits, 0, 1) == [(0, 0.0)]
