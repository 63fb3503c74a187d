"""Sweeps: every unit follows from its index, and ten million cost what ten cost."""

import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import sweeps
from workunits.canonical import decode_fields, encode
from workunits.errors import LimitError, MalformedError
from workunits.ids import BlobRef
from workunits.parameters import (
    MAX_AXES,
    MAX_UNITS,
    MAX_VALUE_BYTES,
    MAX_VALUES,
    Combine,
    Files,
    NamedBlob,
    Range,
    Sweep,
    Values,
)

LIMIT = 200_000_000


def parse(value: object) -> Sweep:
    return Sweep.parse(decode_fields(encode(value), limit=LIMIT, what="sweep"))


def blob(name: str) -> NamedBlob:
    return NamedBlob(name, BlobRef(b"2" * 32, b"1" * 20, 7))


def test_in_a_product_the_last_axis_varies_fastest() -> None:
    sweep = Sweep((Values("a", ("x", "y")), Range("b", 10, -5, 3)))
    assert [sweep.parameters(index) for index in range(len(sweep))] == [
        {"a": a, "b": b} for a, b in product(("x", "y"), ("10", "5", "0"))
    ]


def test_zipped_axes_go_in_step() -> None:
    sweep = Sweep((Values("a", ("x", "y")), Range("b", 1, 1, 2)), Combine.ZIP)
    assert len(sweep) == 2
    assert [sweep.parameters(index) for index in (0, 1)] == [
        {"a": "x", "b": "1"},
        {"a": "y", "b": "2"},
    ]


def test_a_unit_reads_only_its_own_file_and_knows_its_name() -> None:
    sweep = Sweep((Files("data", (blob("a.csv"), blob("b.csv"))), Values("k", ("1", "2"))))
    assert sweep.parameters(3) == {"data": "b.csv", "k": "2"}
    assert sweep.inputs(3) == (blob("b.csv"),)
    assert sweep.inputs(0) == (blob("a.csv"),)


def test_without_axes_there_is_one_unit() -> None:
    assert len(Sweep()) == 1
    assert Sweep().parameters(0) == {}


@pytest.mark.parametrize("index", [-1, 4, 10**9])
def test_an_index_outside_the_sweep_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        Sweep((Range("a", 0, 1, 4),)).parameters(index)


def test_ten_million_units_cost_nothing_to_publish() -> None:
    sweep = parse(
        Sweep((Range("a", 0, 1, 1000), Range("b", 0, 1, 100), Range("c", 0, 1, 100))).value()
    )
    assert len(sweep) == 10_000_000
    assert len(encode(sweep.value())) < 200
    assert sys.getsizeof(sweep) < 200
    assert sweep.parameters(0) == {"a": "0", "b": "0", "c": "0"}
    assert sweep.parameters(1_234_567) == {"a": "123", "b": "45", "c": "67"}
    assert sweep.parameters(len(sweep) - 1) == {"a": "999", "b": "99", "c": "99"}


@pytest.mark.parametrize("axes", [1, 2, 3, MAX_AXES])
def test_a_billion_units_and_more_are_refused(axes: int) -> None:
    sweep = Sweep(tuple(Range(f"a{at}", 0, 1, 10**9) for at in range(axes)))
    with pytest.raises(LimitError, match=r"more than a job may have \(100,000,000\)") as caught:
        parse(sweep.value())
    assert caught.value.hint


def test_as_many_units_as_are_allowed_pass() -> None:
    assert len(parse(Sweep((Range("a", 0, 1, MAX_UNITS),)).value())) == MAX_UNITS


@given(sweeps())
def test_a_sweep_round_trips(sweep: Sweep) -> None:
    assert parse(sweep.value()) == sweep


@given(sweeps(), st.data())
def test_every_index_has_its_own_place(sweep: Sweep, data: st.DataObject) -> None:
    one, other = (data.draw(st.integers(0, len(sweep) - 1)) for _ in range(2))
    assert (sweep.positions(one) == sweep.positions(other)) == (one == other)
    assert list(sweep.parameters(one)) == [axis.name for axis in sweep.axes]


VALUES = {"name": "a", "values": ["1"]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"axes": [VALUES, VALUES], "combine": "product"}, "appears twice"),
        ({"axes": [{"name": "a", "values": []}], "combine": "product"}, "has no values"),
        (
            {"axes": [VALUES, {"name": "b", "values": ["1", "2"]}], "combine": "zip"},
            "different lengths",
        ),
        ({"axes": [], "combine": "sum"}, "cannot be combined"),
        ({"axes": [], "combine": "zip", "x": 1}, "unknown fields"),
        ({"axes": [VALUES | {"x": 1}], "combine": "zip"}, "unknown fields"),
        ({"axes": [{"name": "1", "values": ["1"]}], "combine": "zip"}, "not a parameter name"),
        ({"axes": [{"name": "a", "values": ["\n"]}], "combine": "zip"}, "control characters"),
        ({"axes": [{"name": "a", "start": 0, "step": 1, "count": 0}], "combine": "zip"}, "count"),
        ({"axes": [{"name": "a", "count": 1}], "combine": "zip"}, "lacks the field"),
        ({"axes": [VALUES] * (MAX_AXES + 1), "combine": "zip"}, "entries, more than"),
        (
            {"axes": [{"name": "a", "values": ["x" * (MAX_VALUE_BYTES + 1)]}], "combine": "zip"},
            "is over 1024",
        ),
        (
            {"axes": [{"name": "a", "values": ["x"] * (MAX_VALUES + 1)}], "combine": "zip"},
            "entries, more than",
        ),
        (
            {"axes": [{"name": "a", "files": [blob("x").value() | {"name": ".."}]}]}
            | {"combine": "zip"},
            "not a plain file name",
        ),
    ],
)
def test_a_sweep_that_breaks_a_rule_is_refused(value: object, message: str) -> None:
    with pytest.raises((MalformedError, LimitError), match=message):
        parse(value)
