"""When two numbers are close, and which words are numbers."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from validators.closeness import MAX_NUMBER, Tolerance, number

NONE = Tolerance(0.0, 0.0)
SOME = Tolerance(1e-6, 1e-9)
tolerances = st.builds(Tolerance, st.floats(0, 1e299), st.floats(0, 1e299))
reals = st.integers() | st.floats()
planes = st.complex_numbers()


@given(reals, reals, tolerances)
def test_closeness_is_symmetric_and_reflexive(
    one: float, other: float, tolerance: Tolerance
) -> None:
    assert tolerance.close(one, other) == tolerance.close(other, one)
    assert tolerance.close(one, one)


@given(planes, planes, tolerances)
def test_closeness_in_the_plane_is_symmetric_and_reflexive(
    one: complex, other: complex, tolerance: Tolerance
) -> None:
    assert tolerance.close_complex(one, other) == tolerance.close_complex(other, one)
    assert tolerance.close_complex(one, one)


@given(
    st.integers(-(10**40), 10**40),
    st.integers(-(10**12), 10**12),
    st.floats(0, 1),
    st.floats(0, 1e12),
)
def test_integers_are_compared_exactly(one: int, step: int, rtol: float, atol: float) -> None:
    largest = max(abs(one), abs(one + step))
    allowed = max(Fraction(rtol) * largest, Fraction(atol))
    assume(abs(allowed - abs(step)) > allowed * Fraction(1, 10**12))  # the product is rounded
    assert Tolerance(rtol, atol).close(one, one + step) == (abs(step) <= allowed)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_without_tolerance_only_equal_numbers_are_close(one: float, other: float) -> None:
    assert NONE.close(one, other) == (one == other)


def test_integers_beyond_doubles_are_close_to_themselves_only() -> None:
    assert SOME.close(10**400, 10**400)
    assert not SOME.close(10**400, 10**400 + 1)
    assert not SOME.close(10**400, 1.0)
    assert not SOME.close(10**400, math.inf)
    assert not NONE.close(2**53, 2**53 + 1)
    assert SOME.close(2**70, 2**70 + 1)


def test_beside_a_float_an_integer_is_rounded() -> None:
    assert NONE.close(float(2**53), 2**53 + 1)
    assert not NONE.close(float(2**53), 2**53 + 4)


def test_zero_has_no_sign_and_is_close_to_what_atol_allows() -> None:
    assert NONE.close(0.0, -0.0)
    assert not Tolerance(0.5, 0.0).close(0.0, 1e-300)
    assert Tolerance(0.0, 1e-300).close(0.0, -1e-300)


@pytest.mark.parametrize("other", [1.0, math.inf, -math.inf, 0])
def test_nan_is_close_to_nan_alone(other: float) -> None:
    assert NONE.close(math.nan, -math.nan)
    assert not Tolerance(1.0, 1e299).close(math.nan, other)


def test_an_infinity_is_close_to_itself_alone() -> None:
    wide = Tolerance(1e299, 1e299)
    assert wide.close(math.inf, math.inf)
    assert not wide.close(math.inf, -math.inf)
    assert not wide.close(math.inf, 1e308)


def test_complex_numbers_are_close_by_their_distance() -> None:
    assert SOME.close_complex(1 + 0j, 1 + 1e-8j)
    assert not SOME.close_complex(1 + 0j, 1 + 1e-5j)
    assert Tolerance(0, 1).close_complex(0j, 0.6 + 0.8j)
    assert not Tolerance(0, 1).close_complex(0j, 0.9 + 0.9j)


def test_complex_numbers_without_a_finite_modulus_are_close_in_both_parts() -> None:
    assert SOME.close_complex(complex(math.nan, 1), complex(math.nan, 1 + 1e-9))
    assert not SOME.close_complex(complex(math.nan, 1), complex(math.nan, 2))
    assert not SOME.close_complex(complex(math.inf, 0), complex(-math.inf, 0))
    assert not SOME.close_complex(complex(1.7e308, 1.7e308), complex(-1.7e308, 1.7e308))
    assert not SOME.close_complex(complex(1.7e308, 1.7e308), 1 + 1j)


@given(st.integers(-(10**100), 10**100))
def test_digits_are_an_integer(value: int) -> None:
    found = number(str(value))
    assert found == value
    assert isinstance(found, int)


@given(st.floats())
def test_what_a_float_prints_is_that_float(value: float) -> None:
    found = number(repr(value))
    assert isinstance(found, float)
    assert found == value or math.isnan(value)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("+5", 5),
        ("007", 7),
        ("5.", 5.0),
        (".5", 0.5),
        ("-1E+3", -1000.0),
        ("1e-400", 0.0),
        ("Infinity", math.inf),
        ("-INF", -math.inf),
    ],
)
def test_numbers_are_spelled_in_many_ways(word: str, value: float) -> None:
    assert number(word) == value


@pytest.mark.parametrize(
    "word",
    [
        *("", ".", "+", "e5", "1e", "1_000", "0x10", "1,5", " 1", "1\n", "1d5", "1j"),
        *("infin", "nan(1)", "1e400", "-1e400", "9" * (MAX_NUMBER + 1), "9" * 999 + "."),
        *("\u0661", "\uff11"),
    ],
)
def test_other_words_are_no_numbers(word: str) -> None:
    assert number(word) is None


@given(st.text(max_size=12) | st.text("0123456789+-.eEnaifty_", max_size=12))
def test_any_word_is_a_number_or_not_and_no_error(word: str) -> None:
    value = number(word)
    assert value is None or float(word) == value or math.isnan(value)
