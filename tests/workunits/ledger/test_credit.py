"""Entries that move credits, and the runs of units that are paid at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.ledger.kinds import JOB, LONG, change, check_limit
from workunits import entries
from workunits.entries import Final
from workunits.errors import MalformedError
from workunits.ledger.credit import MAX_FINAL, runs
from workunits.statements import MAX_STATEMENT


def run(first: int, count: int) -> bytes:
    return first.to_bytes(8, "big") + count.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mint", {"statement": 1}),
        ("escrow", {"manifest": []}),
        ("final", {"units": run(0, 1)[:-1]}),
        ("final", {"units": run(0, 0)}),
        ("final", {"units": run(0, 1) + run(5, 0)}),
        ("final", {"units": run(0, MAX_FINAL + 1)}),
        ("final", {"units": run(0, MAX_FINAL) + run(5000, 1)}),
        ("final", {"units": run(0, LONG)}),
        ("final", {"units": run(0, LONG) + run(0, LONG)}),
        ("refund", {"job": bytes(33)}),
    ],
)
def test_what_an_entry_about_credits_may_not_say_is_refused(
    kind: str, changes: dict[str, object]
) -> None:
    with pytest.raises(MalformedError):
        entries.parse(change(kind, changes))


@pytest.mark.parametrize(
    ("kind", "changes", "over"),
    [
        ("mint", {"statement": bytes(MAX_STATEMENT)}, b"x"),
        ("transfer", {"statement": bytes(MAX_STATEMENT)}, b"x"),
        ("refund", {"statement": bytes(MAX_STATEMENT)}, b"x"),
    ],
)
def test_a_statement_at_the_limit_is_read_and_one_beyond_it_is_over_the_limit(
    kind: str, changes: dict[str, bytes], over: bytes
) -> None:
    check_limit(kind, changes, over)


def test_as_many_units_as_may_be_final_at_once_are_read() -> None:
    for ranges in (((7, MAX_FINAL),), tuple((2 * at, 1) for at in range(MAX_FINAL))):
        entry = Final((), JOB, ranges)
        assert entries.parse(entries.encode(entry)) == entry
        assert len(list(entry.indices)) == MAX_FINAL


@given(st.sets(st.one_of(st.integers(0, 60), st.integers(0, 2**40)), max_size=60))
def test_runs_name_every_unit_once_and_are_as_few_as_can_be(units: set[int]) -> None:
    ranges = runs(sorted(units))
    assert list(Final((), JOB, ranges).indices) == sorted(units)
    assert len(ranges) == sum(unit - 1 not in units for unit in units)
    assert all(count > 0 for _, count in ranges)


def test_no_units_are_no_runs() -> None:
    assert runs([]) == ()
    assert runs([3, 4, 5, 9]) == ((3, 3), (9, 1))
