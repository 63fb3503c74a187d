"""A compact set must answer as a set does."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from tracker.fingerprints import Fingerprints


@given(st.lists(st.binary(max_size=3), max_size=300), st.lists(st.binary(max_size=3)))
def test_it_holds_what_was_added_and_nothing_else(added: list[bytes], asked: list[bytes]) -> None:
    marks = Fingerprints()
    for value in added:
        marks.add(value)
    assert len(marks) == len(set(added))
    assert [value in marks for value in asked + added] == [
        value in set(added) for value in asked + added
    ]


def test_it_takes_few_bytes_for_each() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        marks = Fingerprints()
        for number in range(20_000):
            marks.add(number.to_bytes(20, "big"))
        assert tracemalloc.get_traced_memory()[0] - before < 32 * 20_000
    finally:
        tracemalloc.stop()
    assert all(number.to_bytes(20, "big") in marks for number in range(20_000))
