"""Ledger entries: one spelling, strict reading, no surprise from any bytes."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workunits.ledger.kinds import EXAMPLES, KINDS, any_entry, change, check_limit, value_of
from workunits import canonical, entries
from workunits.entries import MAX_ENTRY, Entry, Escrow, Move
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.ledger.moves import MAX_MOVES, MAX_NAME


def test_every_kind_of_entry_is_tried_here() -> None:
    assert set(KINDS) == set(Entry.__args__)
    assert set(EXAMPLES) == {kind.t for kind in KINDS}
    assert len(EXAMPLES) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(data=st.data())
def test_every_entry_comes_back_as_it_was(kind: type[Entry], data: st.DataObject) -> None:
    entry = data.draw(KINDS[kind])
    raw = entries.encode(entry)
    again = entries.parse(raw)
    assert again == entry
    assert type(again) is kind
    assert entries.encode(again) == raw


@given(any_entry, st.data())
def test_a_changed_entry_is_refused_or_has_its_own_one_spelling(
    entry: Entry, data: st.DataObject
) -> None:
    raw = bytearray(entries.encode(entry))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(RemoteError):
        assert entries.encode(entries.parse(bytes(raw))) == raw


@given(any_entry, st.data())
def test_an_entry_that_is_cut_off_or_goes_on_is_refused(entry: Entry, data: st.DataObject) -> None:
    raw = entries.encode(entry)
    with pytest.raises(RemoteError):
        entries.parse(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(RemoteError):
        entries.parse(raw + data.draw(st.binary(min_size=1, max_size=5)))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_entry(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        entries.parse(raw)


odd = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.sampled_from([b"", bytes(31), bytes(32), bytes(33), bytes(64), bytes(41), bytes(82)]),
    st.binary(max_size=100),
    st.lists(st.one_of(st.integers(-5, 5), st.binary(max_size=40)), max_size=4),
    st.lists(
        st.lists(st.one_of(st.integers(-5, 5), st.binary(max_size=5)), max_size=4), max_size=3
    ),
    st.dictionaries(st.binary(max_size=5), st.integers(0, 5), max_size=3),
)


@pytest.mark.parametrize("kind", EXAMPLES)
@settings(max_examples=40)
@given(data=st.data())
def test_an_entry_with_odd_fields_is_read_as_it_is_or_refused(
    kind: str, data: st.DataObject
) -> None:
    names = sorted(key.decode() for key in value_of(EXAMPLES[kind]))
    changes = data.draw(st.dictionaries(st.sampled_from(names), odd, min_size=1, max_size=2))
    raw = change(kind, changes)
    with suppress(RemoteError):
        assert entries.encode(entries.parse(raw)) == raw


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_entry_without_one_of_its_fields_is_refused(kind: str) -> None:
    value = value_of(EXAMPLES[kind])
    for missing in value:
        less = {key: each for key, each in value.items() if key != missing}
        with pytest.raises(MalformedError, match=missing.decode()):
            entries.parse(canonical.encode(less))


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize(
    "changes",
    [
        {"t": "gift"},
        {"t": ""},
        {"t": b"\xff"},
        {"t": 1},
        {"more": 1},
        {"moves": 5},
        {"moves": [b"a"]},
        {"moves": [[b"a", b"b"]]},
        {"moves": [[b"a", b"b", 1, 1]]},
        {"moves": [[b"a", 1, b"b"]]},
        {"moves": [[b"a", b"b", -1]]},
        {"moves": [[b"a", b"b", b"1"]]},
        {"moves": [[b"a" * (MAX_NAME + 1), b"b", 1]]},
        {"moves": [[b"a", b"b" * (MAX_NAME + 1), 1]]},
        {"moves": {}},
    ],
)
def test_what_no_entry_may_say_is_refused(kind: str, changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        entries.parse(change(kind, changes))


@pytest.mark.parametrize("kind", EXAMPLES)
def test_moves_are_written_only_where_there_are_some(kind: str) -> None:
    assert b"moves" not in value_of(EXAMPLES[kind])
    with pytest.raises(MalformedError, match="no moves"):
        entries.parse(change(kind, {"moves": []}))
    raw = change(kind, {"moves": [[b"a", b"b", 1]]})
    assert entries.parse(raw).moves == (Move(b"a", b"b", 1),)
    assert entries.encode(entries.parse(raw)) == raw


def test_as_many_moves_as_may_be_are_read_and_more_are_over_the_limit() -> None:
    move: object = [b"a", b"b", 1]
    check_limit("leave", {"moves": [move] * MAX_MOVES}, [move])


def test_the_largest_entry_is_read_and_a_larger_one_is_over_the_limit() -> None:
    size = MAX_ENTRY - len(entries.encode(Escrow((), bytes(10**6)))) + 10**6
    largest = entries.encode(Escrow((), bytes(size)))
    assert len(largest) == MAX_ENTRY
    assert entries.encode(entries.parse(largest)) == largest
    with pytest.raises(LimitError):
        entries.parse(entries.encode(Escrow((), bytes(size + 1))))
