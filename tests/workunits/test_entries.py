"""Ledger entries: one spelling, strict reading, no surprise from any bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits import canonical, entries
from workunits.entries import Cast, Commits, Entry, Escrow, Mint, Move, Refund, Transfer, Verdict
from workunits.errors import MalformedError, SwarmError
from workunits.ids import JobId, LeaseToken, PeerKey

names = st.binary(max_size=64)
keys = st.binary(min_size=32, max_size=32)
jobs, peers = keys.map(JobId), keys.map(PeerKey)
moves = st.lists(st.builds(Move, names, names, st.integers(0, 10**15)), max_size=4).map(tuple)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    results = draw(st.lists(st.binary(max_size=50), min_size=1, max_size=4))
    casts = st.builds(
        Cast, peers, st.integers(0, 2**60).map(LeaseToken), st.integers(0, len(results) - 1)
    )
    cast = draw(st.lists(casts, min_size=1, max_size=5))
    places = st.sets(st.integers(0, len(cast) - 1)).map(sorted).map(tuple)
    return Verdict(
        draw(moves),
        draw(jobs),
        draw(st.integers(0, 10**8)),
        tuple(cast),
        tuple(results),
        draw(places),
        draw(places),
    )


any_entry: st.SearchStrategy[Entry] = st.one_of(
    st.builds(Mint, moves, st.binary(max_size=200)),
    st.builds(Transfer, moves, st.binary(max_size=200)),
    st.builds(Escrow, moves, st.binary(max_size=200)),
    st.builds(
        Commits, moves, jobs, peers, st.binary(max_size=200), st.binary(min_size=64, max_size=64)
    ),
    st.builds(Refund, moves, jobs, st.binary(max_size=200)),
    verdicts(),
)


@given(any_entry)
def test_every_entry_comes_back_as_it_was(entry: Entry) -> None:
    raw = entries.encode(entry)
    assert entries.parse(raw) == entry
    assert entries.encode(entries.parse(raw)) == raw


@given(any_entry, st.data())
def test_a_changed_entry_is_refused_or_has_its_own_one_spelling(
    entry: Entry, data: st.DataObject
) -> None:
    raw = bytearray(entries.encode(entry))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(SwarmError):
        assert entries.encode(entries.parse(bytes(raw))) == raw


@pytest.mark.parametrize(
    "change",
    [
        {"t": "gift"},
        {"more": 1},
        {"moves": [[b"a", b"b"]]},
        {"moves": [[b"a", b"b", -1]]},
        {"moves": [[b"a" * 65, b"b", 1]]},
        {"moves": 5},
        {"cast": [[b"short", 1, 0]]},
        {"cast": [[bytes(32), 1, 9]]},
        {"winners": [1, 0]},
        {"winners": [0, 0]},
        {"winners": [7]},
        {"winners": [b"x"]},
        {"index": -1},
    ],
)
def test_what_an_entry_may_not_say_is_refused(change: dict[str, object]) -> None:
    cast = tuple(Cast(PeerKey(bytes([at]) * 32), LeaseToken(at), 0) for at in range(2))
    entry = Verdict((), JobId(bytes(32)), 0, cast, (b"r",), (0, 1), ())
    value = canonical.decode(entries.encode(entry), limit=10_000)
    assert isinstance(value, dict)
    changed = value | {key.encode(): each for key, each in change.items()}
    with pytest.raises(MalformedError):
        entries.parse(canonical.encode(changed))
