"""One strategy and one example for every kind of ledger entry."""

from collections.abc import Mapping
from typing import TypeVar

import pytest
from hypothesis import strategies as st

from tests.workunits.strategies import hashes, keys, signatures, texts
from workunits import canonical, entries
from workunits.entries import (
    MAX_ENTRY,
    Anchor,
    Ban,
    Cast,
    Commits,
    Doubt,
    Draw,
    Draws,
    Entry,
    Escrow,
    Failed,
    Final,
    Join,
    Known,
    Leave,
    Mint,
    Move,
    Refund,
    Restart,
    Transfer,
    Verdict,
)
from workunits.errors import LimitError
from workunits.ids import JobId, LeaseToken, PeerKey
from workunits.ledger.credit import MAX_FINAL
from workunits.ledger.moves import MAX_NAME
from workunits.ledger.roster import NETWORK
from workunits.signing import Identity
from workunits.wire.handshake import Offerings, Vouch

OWNER = Identity.from_seed(b"o" * 32)
LONG = 2**64 - 1
Packed = TypeVar("Packed", bytes, list[object])
accounts = st.binary(max_size=MAX_NAME)
jobs = hashes.map(JobId)
words = st.binary(max_size=200)
longs = st.integers(0, LONG)
moves = st.lists(st.builds(Move, accounts, accounts, st.integers(0, 10**15)), max_size=4).map(tuple)
offerings = st.builds(
    Offerings,
    st.booleans(),
    st.integers(1, 4096),
    st.integers(0, 2**50),
    st.lists(texts, max_size=3).map(tuple),
    texts,
    st.text("x86_4arm", max_size=40),
    st.integers(0, 2**60),
)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    results = draw(st.lists(st.binary(max_size=50), min_size=1, max_size=4, unique=True))
    places = [*range(len(results)), *draw(st.lists(st.integers(0, len(results) - 1), max_size=2))]
    cast = [Cast(draw(keys), LeaseToken(draw(longs)), place) for place in places]
    right = draw(st.sets(st.integers(0, len(cast) - 1)))
    wrong = draw(st.sets(st.integers(0, len(cast) - 1))) - right
    return Verdict(
        draw(moves),
        draw(jobs),
        draw(st.integers(0, 10**8)),
        tuple(cast),
        tuple(results),
        tuple(sorted(right)),
        tuple(sorted(wrong)),
        draw(st.sets(longs.map(LeaseToken), max_size=3).map(sorted).map(tuple)),
        draw(st.booleans()),
    )


@st.composite
def joins(draw: st.DrawFn) -> Join:
    """By a peer of its own, of an owner who vouched, or of a network."""
    peer = draw(keys)
    vouch = Vouch.sign(OWNER, peer)
    network = PeerKey(NETWORK + draw(hashes)[len(NETWORK) :])
    owner, signature = draw(
        st.sampled_from([(peer, b""), (network, b""), (vouch.owner, vouch.signature)])
    )
    return Join(draw(moves), peer, owner, signature, draw(offerings))


@st.composite
def finals(draw: st.DrawFn) -> Final:
    ranges = draw(st.lists(st.tuples(longs, st.integers(1, MAX_FINAL // 5)), max_size=5))
    return Final(draw(moves), draw(jobs), tuple(ranges))


KINDS: dict[type[Entry], st.SearchStrategy[Entry]] = {
    Mint: st.builds(Mint, moves, words),
    Transfer: st.builds(Transfer, moves, words),
    Escrow: st.builds(Escrow, moves, words),
    Commits: st.builds(
        Commits,
        *(moves, jobs, keys, words, signatures, hashes),
        st.sets(st.integers(0, 2**16 - 1), max_size=5).map(sorted).map(tuple),
    ),
    Draws: st.builds(
        Draws,
        *(moves, jobs, hashes),
        st.lists(st.builds(Draw, longs, st.integers(0, 1), keys), max_size=4).map(tuple),
    ),
    Verdict: verdicts(),
    Failed: st.builds(Failed, moves, jobs, st.integers(0, 10**8), st.text(max_size=20)),
    Final: finals(),
    Known: st.builds(Known, moves, jobs, words),
    Refund: st.builds(Refund, moves, jobs, words),
    Anchor: st.builds(Anchor, moves, hashes),
    Join: joins(),
    Leave: st.builds(Leave, moves, keys),
    Restart: st.builds(Restart, moves),
    Doubt: st.builds(Doubt, moves, keys, st.booleans()),
    Ban: st.builds(Ban, moves, keys),
}
any_entry = st.one_of(*KINDS.values())

JOB, PEER = JobId(bytes(32)), PeerKey(b"p" * 32)
CAST = tuple(Cast(PeerKey(bytes([at]) * 32), LeaseToken(at), 0) for at in range(2))
BRINGS = Offerings(False, 1, 0, (), "agent")
EXAMPLES: dict[str, Entry] = {
    each.t: each
    for each in (
        Mint((), b"s"),
        Transfer((), b"s"),
        Escrow((), b"m"),
        Commits((), JOB, PEER, b"c", bytes(64), bytes(32), (0, 3)),
        Draws((), JOB, bytes(32), (Draw(0, 0, PEER), Draw(1, 1, PEER))),
        Verdict((), JOB, 0, CAST, (b"r",), (0, 1), ()),
        Failed((), JOB, 0, "no reason"),
        Final((), JOB, ((0, 2), (5, 1))),
        Known((), JOB, b"r"),
        Refund((), JOB, b""),
        Anchor((), bytes(32)),
        Join((), PEER, PEER, b"", BRINGS),
        Leave((), PEER),
        Restart(()),
        Doubt((), PEER, True),
        Ban((), PEER),
    )
}


def value_of(entry: Entry) -> dict[bytes, canonical.Value]:
    """What an entry says, field by field."""
    value = canonical.decode(entries.encode(entry), limit=MAX_ENTRY)
    assert isinstance(value, dict)
    return value


def change(kind: str, changes: Mapping[str, object]) -> bytes:
    """The example of a kind, with other fields."""
    value: dict[bytes, object] = dict(value_of(EXAMPLES[kind]))
    return canonical.encode(value | {key.encode(): each for key, each in changes.items()})


def check_limit(kind: str, changes: dict[str, Packed], over: Packed) -> None:
    """An entry with ``changes`` is read, and one with ``over`` more is over the limit."""
    assert entries.encode(entries.parse(change(kind, changes))) == change(kind, changes)
    beyond = {key: value + over for key, value in changes.items()}
    with pytest.raises(LimitError):
        entries.parse(change(kind, beyond))
