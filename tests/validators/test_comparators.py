"""When two results count as the same, whatever strangers put into them."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validators.cases import NUMERIC, finding
from validators.comparators import Finding, comparator, exact, numeric
from workunits.results import Ending, Result
from workunits.verification import Comparator

RTOL, ATOL = 1e-6, 1e-9
_HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n"
ARRAY = b"\x93NUMPY\x01\x00" + len(_HEADER).to_bytes(2, "little") + _HEADER
numbers = st.integers(-(10**30), 10**30) | st.floats()
documents = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON documents agree; strings are taken as they are."""
    a, b = (
        finding((each if isinstance(each, str) else json.dumps(each)).encode(), name="out.json")
        for each in (one, other)
    )
    forth, back = numeric(a, b, RTOL, ATOL), numeric(b, a, RTOL, ATOL)
    assert forth == back
    return forth


def close(one: str, other: str, rtol: float = RTOL, atol: float = ATOL) -> bool:
    """Whether two texts agree."""
    a, b = finding(one.encode()), finding(other.encode())
    forth, back = numeric(a, b, rtol, atol), numeric(b, a, rtol, atol)
    assert forth == back
    return forth


def test_exact_agrees_on_equal_digests_only() -> None:
    assert exact(finding(b"a"), finding(b"a"))
    assert not exact(finding(b"a"), finding(b"b"))
    assert not exact(finding(b"a"), finding(b"a", exit_status=1))
    assert not exact(finding(b"a"), finding(b"a", name="other.txt"))
    assert not exact(finding(b"a"), finding(b"a", ending=Ending.CPU))


def test_a_manifest_chooses_its_comparator() -> None:
    assert comparator(Comparator()) is exact
    loose = comparator(NUMERIC)
    assert loose(finding(b"1.0"), finding(b"1.00000001"))
    assert not exact(finding(b"1.0"), finding(b"1.00000001"))


@given(documents, documents)
def test_json_comparison_is_symmetric_and_reflexive(one: Any, other: Any) -> None:
    same(one, other)
    assert same(one, one)


@given(
    st.binary(max_size=40),
    st.binary(max_size=40),
    st.sampled_from(["a.json", "a.csv", "a.tsv", "a.npy", "a.txt"]),
)
def test_any_bytes_compare_symmetrically_and_never_raise(
    one: bytes, other: bytes, name: str
) -> None:
    a, b = finding(one, name=name), finding(other, name=name)
    assert numeric(a, b, RTOL, ATOL) == numeric(b, a, RTOL, ATOL)
    assert numeric(a, a, RTOL, ATOL)


@given(
    st.floats(-1e300, 1e300),
    st.floats(-1e300, 1e300),
    st.floats(0, 1),
    st.floats(0, 10),
)
def test_close_means_what_the_documentation_says(
    one: float, other: float, rtol: float, atol: float
) -> None:
    allowed = max(rtol * max(abs(one), abs(other)), atol)
    if math.isclose(abs(one - other), allowed, rel_tol=1e-9):
        return  # on the edge rounding decides
    assert close(repr(one), repr(other), rtol, atol) == (abs(one - other) <= allowed)


def test_numbers_are_close_anywhere_in_a_document() -> None:
    assert same({"a": [1, {"b": 2.0}]}, {"a": [1.0000001, {"b": 2}]})
    assert not same({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 2.1}]})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ([], {}),
        ([1], ["1"]),
        (1, True),
        (0, False),
        (0, None),
        (True, False),
        (["a"], ["b"]),
        ([[1]], [1]),
    ],
)
def test_another_structure_or_order_is_another_result(one: Any, other: Any) -> None:
    assert not same(one, other)


def test_nan_is_close_to_nan_and_an_infinity_to_itself() -> None:
    assert same("[NaN]", "[ NaN]")
    assert close("nan", "NaN")
    assert close("inf", "Infinity")
    assert not close("nan", "1")
    assert not close("inf", "-inf")
    assert not close("inf", "1e308")
    assert not close("inf", "1e308", rtol=1.0, atol=1e299)


def test_huge_integers_are_equal_or_not_and_nothing_in_between() -> None:
    assert same(f"[{10**400}]", f"[{10**400} ]")
    assert not same(f"[{10**400}]", f"[{10**400 + 1}]")
    assert not same(f"[{10**400}]", "[1.0]")
    assert not same(f"[{'9' * 5000}]", f"[{'9' * 5000} ]")
    assert same(f"[{2**70}]", f"[{2**70 + 1}]")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_document_nested_without_end_is_no_match_and_no_crash(opening: str) -> None:
    deep = opening * 100_000
    assert not same(deep, deep + " ")
    closing = "]" if opening == "[" else "}"
    whole = opening * 20_000 + "1" + closing * 20_000
    same(whole, whole + " ")


def test_text_is_compared_line_by_line_and_cell_by_cell() -> None:
    assert close("x,1.0,2\ny,3,4\n", "x,1.0000001, 2.0\ny,3,4\n")
    assert close("a 1\r\n", "a 1.0\n")
    assert not close("x,1\n", "x,1\n\n")
    assert not close("x,1\ny,2\n", "y,2\nx,1\n")
    assert not close("x,1\n", "z,1\n")
    assert not close("x,1\n", "x,1,1\n")
    assert not close("1", "one")


def test_what_is_not_text_must_be_equal() -> None:
    assert not numeric(finding(b"\xff1"), finding(b"\xff1.0"), RTOL, ATOL)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("a.json", b"[1.0]", b"[1]"),
        ("A.JSON", b"[1.0]", b"[1]"),
        ("a.csv", b'"a",1.0', b"a,1"),
        ("a.tsv", b'"a"\t1.0', b"a\t1"),
        ("a.npy", ARRAY.replace(b"<", b">") + bytes(8), ARRAY + bytes(8)),
        ("json", b"a 1.0", b"a 1"),
    ],
)
def test_the_name_says_how_a_file_is_read(name: str, one: bytes, other: bytes) -> None:
    assert numeric(finding(one, name=name), finding(other, name=name), RTOL, ATOL)


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.tsv", "a.npy", "a.txt"])
def test_a_file_that_cannot_be_read_agrees_with_equal_bytes_alone(name: str) -> None:
    one, other = finding(b'"\xff', name=name), finding(b'"\xff ', name=name)
    assert numeric(one, one, RTOL, ATOL)
    assert not numeric(one, other, RTOL, ATOL)


def test_closeness_is_not_transitive() -> None:
    assert close("1.0", "1.5", rtol=0, atol=0.5)
    assert close("1.5", "2.0", rtol=0, atol=0.5)
    assert not close("1.0", "2.0", rtol=0, atol=0.5)


def test_the_ending_the_status_and_the_names_must_be_equal() -> None:
    one = finding(b"1.0")
    for other in (
        finding(b"1.00000001", exit_status=1),
        finding(b"1.00000001", ending=Ending.WALL),
        finding(b"1.00000001", name="z.txt"),
    ):
        assert not numeric(one, other, RTOL, ATOL)


def test_without_the_contents_only_equal_digests_agree() -> None:
    one, other = finding(b"1.0"), finding(b"1.00000001")
    assert not numeric(Finding(one.result), Finding(other.result), RTOL, ATOL)
    assert numeric(Finding(one.result), one, RTOL, ATOL)


def test_two_results_without_outputs_agree_when_they_ended_alike() -> None:
    one = Finding(Result(Ending.EXITED, 3, ()))
    assert numeric(one, Finding(Result(Ending.EXITED, 3, ())), RTOL, ATOL)
    assert not numeric(one, Finding(Result(Ending.EXITED, 4, ())), RTOL, ATOL)
