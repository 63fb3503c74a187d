"""Ledger entries: one spelling, strict reading, no surprise from any bytes."""

from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workunits.strategies import hashes, keys, signatures, texts
from workunits import canonical, entries
from workunits.entries import (
    MAX_CAST,
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
from workunits.errors import LimitError, MalformedError, RemoteError, SignatureError
from workunits.ids import JobId, LeaseToken, PeerKey
from workunits.ledger.credit import MAX_FINAL, runs
from workunits.ledger.moves import MAX_MOVES, MAX_NAME
from workunits.ledger.roster import NETWORK
from workunits.ledger.work import MAX_DRAWS, MAX_PACKED, MAX_RINGERS
from workunits.results import MAX_RESULT
from workunits.signing import Identity
from workunits.statements import MAX_STATEMENT
from workunits.wire.handshake import Offerings, Vouch

OWNER = Identity.from_seed(b"o" * 32)
LONG = 2**64 - 1
MAX_REASON = 200
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

SILENT = b"".join(at.to_bytes(8, "big") for at in range(MAX_CAST))
VOID = b"".join(at.to_bytes(2, "big") for at in range(MAX_DRAWS))
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
    value = canonical.decode(entries.encode(entry), limit=MAX_ENTRY)
    assert isinstance(value, dict)
    return value


def change(kind: str, changes: Mapping[str, object]) -> bytes:
    value: dict[bytes, object] = dict(value_of(EXAMPLES[kind]))
    return canonical.encode(value | {key.encode(): each for key, each in changes.items()})


# -- every kind -----------------------------------------------------------------------------


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


# -- what each kind may not say -------------------------------------------------------------


def cast(*results: int) -> bytes:
    return b"".join(bytes(32) + bytes(8) + bytes([result]) for result in results)


def run(first: int, count: int) -> bytes:
    return first.to_bytes(8, "big") + count.to_bytes(8, "big")


def drawn(referee: int) -> bytes:
    return bytes(8) + bytes([referee]) + bytes(32)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mint", {"statement": 1}),
        ("escrow", {"manifest": []}),
        ("commits", {"job": bytes(31)}),
        ("commits", {"peer": bytes(33)}),
        ("commits", {"signature": bytes(63)}),
        ("commits", {"link": b""}),
        ("commits", {"link": bytes(33)}),
        ("commits", {"void": b"x"}),
        ("commits", {"void": bytes(5)}),
        ("draws", {"draws": drawn(2)}),
        ("draws", {"draws": drawn(1) + drawn(255)}),
        ("draws", {"draws": drawn(0)[:-1]}),
        ("draws", {"draws": drawn(0) + b"x"}),
        ("draws", {"link": bytes(31)}),
        ("verdict", {"cast": cast(0, 0)[:-1]}),
        ("verdict", {"cast": cast(0, 1)}),
        ("verdict", {"cast": b"", "right": b""}),
        ("verdict", {"cast": []}),
        ("verdict", {"results": []}),
        ("verdict", {"results": [1]}),
        ("verdict", {"right": b"\x01\x00"}),
        ("verdict", {"right": b"\x00\x00"}),
        ("verdict", {"right": b"\x02"}),
        ("verdict", {"wrong": b"\x02"}),
        ("verdict", {"wrong": b"\x01\x00"}),
        ("verdict", {"wrong": [1]}),
        ("verdict", {"index": -1}),
        ("verdict", {"index": b"0"}),
        ("verdict", {"silent": bytes(7)}),
        ("verdict", {"silent": bytes(9)}),
        ("verdict", {"silent": [1]}),
        ("verdict", {"known": 2}),
        ("verdict", {"known": b"1"}),
        ("failed", {"job": bytes(31)}),
        ("failed", {"index": -1}),
        ("failed", {"index": b"0"}),
        ("failed", {"reason": b"\xff"}),
        ("failed", {"reason": 1}),
        ("final", {"units": run(0, 1)[:-1]}),
        ("final", {"units": run(0, 0)}),
        ("final", {"units": run(0, 1) + run(5, 0)}),
        ("final", {"units": run(0, MAX_FINAL + 1)}),
        ("final", {"units": run(0, MAX_FINAL) + run(5000, 1)}),
        ("final", {"units": run(0, LONG)}),
        ("final", {"units": run(0, LONG) + run(0, LONG)}),
        ("known", {"job": b""}),
        ("refund", {"job": bytes(33)}),
        ("anchor", {"link": bytes(31)}),
        ("anchor", {"link": 0}),
        ("join", {"peer": bytes(31)}),
        ("join", {"owner": bytes(33)}),
        ("join", {"offerings": {}}),
        ("join", {"offerings": BRINGS.value() | {"more": 1}}),
        ("join", {"offerings": BRINGS.value() | {"cores": 0}}),
        ("join", {"offerings": []}),
        ("leave", {"peer": bytes(31)}),
        ("doubt", {"doubted": 2}),
        ("doubt", {"doubted": b""}),
        ("doubt", {"peer": bytes(31)}),
        ("ban", {"peer": bytes(31)}),
    ],
)
def test_what_an_entry_of_its_kind_may_not_say_is_refused(
    kind: str, changes: dict[str, object]
) -> None:
    with pytest.raises(MalformedError):
        entries.parse(change(kind, changes))


def test_nobody_is_both_right_and_wrong() -> None:
    for changes in ({"wrong": b"\x01"}, {"right": b"\x00", "wrong": b"\x00\x01"}):
        with pytest.raises(MalformedError, match="both right and wrong"):
            entries.parse(change("verdict", changes))


# -- what goes without saying ---------------------------------------------------------------

SAYS_ALL = {"right": b"\x00", "wrong": b"\x01", "silent": bytes(8), "known": 1}
GOES_WITHOUT_SAYING = [
    {"right": b"\x00\x01"},
    {"wrong": b""},
    {"silent": b""},
    {"known": 0},
]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_moves_are_written_only_where_there_are_some(kind: str) -> None:
    assert b"moves" not in value_of(EXAMPLES[kind])
    with pytest.raises(MalformedError, match="no moves"):
        entries.parse(change(kind, {"moves": []}))
    raw = change(kind, {"moves": [[b"a", b"b", 1]]})
    assert entries.parse(raw).moves == (Move(b"a", b"b", 1),)
    assert entries.encode(entries.parse(raw)) == raw


def test_a_verdict_in_which_all_are_right_says_no_more_than_who_gave_what() -> None:
    assert set(value_of(EXAMPLES["verdict"])) == {b"cast", b"index", b"job", b"results", b"t"}
    assert entries.parse(change("verdict", {})) == EXAMPLES["verdict"]


@pytest.mark.parametrize("field", SAYS_ALL)
def test_each_field_of_a_verdict_stands_alone(field: str) -> None:
    beside = {"right": b"\x00"} if field == "wrong" else {}
    raw = change("verdict", {field: SAYS_ALL[field]} | beside)
    said = entries.parse(raw)
    assert isinstance(said, Verdict)
    assert entries.encode(said) == raw
    assert (said.right, said.wrong) == {
        "right": ((0,), ()),
        "wrong": ((0,), (1,)),
    }.get(field, ((0, 1), ()))


def test_a_verdict_says_all_that_it_can() -> None:
    said = entries.parse(change("verdict", SAYS_ALL))
    silent = (LeaseToken(0),)
    assert said == Verdict((), JOB, 0, CAST, (b"r",), (0,), (1,), silent, known=True)


@pytest.mark.parametrize("superfluous", GOES_WITHOUT_SAYING)
@pytest.mark.parametrize("beside", [{}, SAYS_ALL])
def test_a_verdict_that_says_what_goes_without_saying_is_refused(
    superfluous: dict[str, object], beside: dict[str, object]
) -> None:
    with pytest.raises(MalformedError):
        entries.parse(change("verdict", beside | superfluous))


@pytest.mark.parametrize(
    "changes",
    [
        {"cast": b"", "results": []},
        {"results": [b"r", b"s"]},
        {"cast": cast(0) + cast(1), "results": [b"r", b"r"]},
    ],
)
def test_every_execution_has_a_result_and_every_result_one(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError, match="every result one"):
        entries.parse(change("verdict", changes))


# -- whose a peer is ------------------------------------------------------------------------


def test_an_owner_who_did_not_vouch_is_refused() -> None:
    with pytest.raises(MalformedError, match="did not vouch"):
        entries.parse(change("join", {"owner": OWNER.key}))


def test_only_the_owners_own_word_for_this_peer_is_a_vouch() -> None:
    good = Vouch.sign(OWNER, PEER).signature
    joined = entries.parse(change("join", {"owner": OWNER.key, "signature": good}))
    assert isinstance(joined, Join)
    assert joined.vouch == Vouch(OWNER.key, good)
    forged = Vouch.sign(OWNER, OWNER.key).signature
    for signature in (forged, bytes(64), good[:-1], b"x"):
        with pytest.raises(SignatureError):
            entries.parse(change("join", {"owner": OWNER.key, "signature": signature}))
    with pytest.raises(SignatureError):
        entries.parse(change("join", {"owner": PEER, "signature": good}))


def test_a_peer_of_its_own_and_a_peer_of_a_network_have_no_vouch() -> None:
    for owner in (PEER, NETWORK + bytes(24)):
        joined = entries.parse(change("join", {"owner": owner}))
        assert isinstance(joined, Join)
        assert joined.owner == owner
        assert joined.vouch is None


# -- limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes", "over"),
    [
        ("leave", {"moves": [[b"a", b"b", 1]] * MAX_MOVES}, [[b"a", b"b", 1]]),
        ("mint", {"statement": bytes(MAX_STATEMENT)}, b"x"),
        ("transfer", {"statement": bytes(MAX_STATEMENT)}, b"x"),
        ("refund", {"statement": bytes(MAX_STATEMENT)}, b"x"),
        ("commits", {"commits": bytes(MAX_PACKED)}, b"x"),
        ("commits", {"void": VOID}, (MAX_DRAWS).to_bytes(2, "big")),
        ("draws", {"draws": drawn(1) * MAX_DRAWS}, drawn(0)),
        ("verdict", {"cast": cast(0) * MAX_CAST}, cast(0)),
        ("verdict", {"silent": SILENT}, MAX_CAST.to_bytes(8, "big")),
        ("failed", {"reason": b"r" * MAX_REASON}, b"r"),
        ("known", {"ringers": bytes(MAX_RINGERS)}, b"x"),
        ("join", {"signature": b""}, bytes(65)),
    ],
)
def test_an_entry_at_a_limit_is_read_and_one_beyond_it_is_over_the_limit(
    kind: str, changes: dict[str, list[object]], over: list[object]
) -> None:
    assert entries.encode(entries.parse(change(kind, changes))) == change(kind, changes)
    beyond = {key: value + over for key, value in changes.items()}
    with pytest.raises(LimitError):
        entries.parse(change(kind, beyond))


def test_a_result_in_a_verdict_is_no_larger_than_any_result() -> None:
    entries.parse(change("verdict", {"results": [bytes(MAX_RESULT)]}))
    with pytest.raises(LimitError):
        entries.parse(change("verdict", {"results": [bytes(MAX_RESULT + 1)]}))


def test_the_largest_entry_is_read_and_a_larger_one_is_over_the_limit() -> None:
    size = MAX_ENTRY - len(entries.encode(Escrow((), bytes(10**6)))) + 10**6
    largest = entries.encode(Escrow((), bytes(size)))
    assert len(largest) == MAX_ENTRY
    assert entries.encode(entries.parse(largest)) == largest
    with pytest.raises(LimitError):
        entries.parse(entries.encode(Escrow((), bytes(size + 1))))


def test_as_many_units_as_may_be_final_at_once_are_read() -> None:
    for ranges in (((7, MAX_FINAL),), tuple((2 * at, 1) for at in range(MAX_FINAL))):
        entry = Final((), JOB, ranges)
        assert entries.parse(entries.encode(entry)) == entry
        assert len(list(entry.indices)) == MAX_FINAL


# -- runs of units --------------------------------------------------------------------------


@given(st.sets(st.one_of(st.integers(0, 60), st.integers(0, 2**40)), max_size=60))
def test_runs_name_every_unit_once_and_are_as_few_as_can_be(units: set[int]) -> None:
    ranges = runs(sorted(units))
    assert list(Final((), JOB, ranges).indices) == sorted(units)
    assert len(ranges) == sum(unit - 1 not in units for unit in units)
    assert all(count > 0 for _, count in ranges)


def test_no_units_are_no_runs() -> None:
    assert runs([]) == ()
    assert runs([3, 4, 5, 9]) == ((3, 3), (9, 1))
