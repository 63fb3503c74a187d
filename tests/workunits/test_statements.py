"""Signed statements: what a person asks for over REST."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import hashes, keys
from workunits.canonical import decode, encode
from workunits.errors import LimitError, MalformedError, RemoteError, SignatureError
from workunits.ids import BlobRef, JobId, PeerKey
from workunits.signing import Domain, Identity
from workunits.statements import (
    MAX_AMOUNT,
    MAX_PER_MINUTE,
    MAX_STATEMENT,
    MAX_TORRENT_NAME,
    Admit,
    Cancel,
    Claim,
    CloseKey,
    Grant,
    OpenKey,
    Passkey,
    Publish,
    Register,
    Statement,
    Unregister,
    Upload,
    Withdraw,
)

AUTHOR = Identity.from_seed(b"a" * 32)
names = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=MAX_TORRENT_NAME // 4)
both = st.sampled_from([(b"1" * 20, b""), (b"", b"2" * 32), (b"1" * 20, b"2" * 32)])
models = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}", fullmatch=True)
cards = st.builds(BlobRef, hashes, st.binary(min_size=20, max_size=20), st.integers(1, 2**40))
claims: st.SearchStrategy[Claim] = st.one_of(
    st.builds(Publish, models, cards),
    st.builds(Withdraw, models),
    st.builds(
        OpenKey,
        hashes,
        names.filter(lambda name: len(name) <= 25),
        st.integers(1, MAX_AMOUNT),
        st.integers(1, MAX_PER_MINUTE),
    ),
    st.builds(CloseKey, hashes),
    st.builds(
        lambda pair, *rest: Register(*pair, *rest),
        both,
        st.integers(0, 2**60),
        names,
        st.booleans(),
    ),
    both.map(lambda pair: Unregister(*pair)),
    st.builds(Admit, keys, st.booleans()),
    st.builds(Passkey, keys, st.booleans()),
    st.builds(Grant, keys, st.integers(1, MAX_AMOUNT)),
    st.builds(Cancel, hashes.map(JobId)),
    st.builds(Upload, hashes, st.integers(0, 2**40)),
)


def sign(claim: Claim, time: int = 1000) -> Statement:
    return Statement.sign(AUTHOR, claim, time=time, nonce=b"n" * 16)


@given(claims, st.integers(0, 2**40))
def test_a_statement_round_trips(claim: Claim, time: int) -> None:
    statement = sign(claim, time)
    again = Statement.parse(statement.encode())
    assert again == statement
    assert (again.author, again.time, again.claim) == (AUTHOR.key, time, claim)
    assert again.id == statement.id


@given(claims, st.data())
def test_a_mutated_statement_is_refused_with_a_remote_error(
    claim: Claim, data: st.DataObject
) -> None:
    raw = bytearray(sign(claim).encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteError):
        Statement.parse(bytes(raw))


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_no_statement(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        Statement.parse(raw)


def torrent(**changes: object) -> dict[str, object]:
    return {"length": 1, "name": "n", "private": 0, "v1": b"1" * 20, "v2": b"2" * 32} | changes


def card(**changes: object) -> dict[str, object]:
    return {"length": 1, "name": "n", "v1": b"1" * 20, "v2": b"2" * 32} | changes


def key(**changes: object) -> dict[str, object]:
    return {"amount": 1, "hash": b"h" * 32, "name": "n", "per_minute": 1} | changes


def envelope(**changes: object) -> bytes:
    inner = decode(sign(Grant(PeerKey(b"k" * 32), 5)).raw, limit=MAX_STATEMENT)
    assert isinstance(inner, dict)
    raw = encode(inner | {key.encode(): change for key, change in changes.items()})
    return encode({"signature": AUTHOR.sign(Domain.STATEMENT, raw), "statement": raw})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": "wish"}, "unknown statement 'wish'"),
        ({"t": "cancel"}, "lacks the field 'job'"),
        ({"claim": {"account": b"k" * 32, "amount": 0}}, "amount must be"),
        ({"claim": {"account": b"k" * 32, "amount": -5}}, "amount must be"),
        ({"claim": {"account": b"k" * 32, "amount": MAX_AMOUNT + 1}}, "amount must be"),
        ({"claim": {"account": b"k" * 31, "amount": 1}}, "account must be 32 bytes"),
        ({"claim": {"account": b"k" * 32, "amount": 1, "x": 1}}, "unknown fields"),
        ({"t": "register", "claim": torrent(v1=b"", v2=b"")}, "needs a v1 info-hash"),
        ({"t": "register", "claim": torrent(v1=b"1" * 19)}, "needs a v1 info-hash"),
        ({"t": "register", "claim": torrent(v2=b"2" * 20)}, "needs a v1 info-hash"),
        ({"t": "register", "claim": torrent(name="a\nb")}, "control characters"),
        ({"t": "register", "claim": torrent(name=b"\xff")}, "UTF-8"),
        ({"t": "register", "claim": torrent(private=2)}, "private must be"),
        ({"t": "register", "claim": torrent(length=-1)}, "length must be"),
        ({"t": "unregister", "claim": torrent()}, "unknown fields"),
        ({"t": "admit", "claim": {"account": b"k" * 32, "admitted": 2}}, "admitted must be"),
        ({"t": "publish", "claim": card(name="")}, "cannot have the name"),
        ({"t": "publish", "claim": card(name="a b")}, "cannot have the name"),
        ({"t": "publish", "claim": card(name="a\n")}, "cannot have the name"),
        ({"t": "publish", "claim": card(v1=b"")}, "v1 must be 20 bytes"),
        ({"t": "publish", "claim": card(v2=b"")}, "v2 must be 32 bytes"),
        ({"t": "publish", "claim": card(length=0)}, "length must be"),
        ({"t": "withdraw", "claim": {"name": "-"}}, "cannot have the name"),
        ({"t": "withdraw", "claim": card()}, "unknown fields"),
        ({"t": "open_key", "claim": key(amount=0)}, "amount must be"),
        ({"t": "open_key", "claim": key(amount=MAX_AMOUNT + 1)}, "amount must be"),
        ({"t": "open_key", "claim": key(per_minute=0)}, "per_minute must be"),
        ({"t": "open_key", "claim": key(per_minute=MAX_PER_MINUTE + 1)}, "per_minute must be"),
        ({"t": "open_key", "claim": key(hash=b"h")}, "hash must be 32 bytes"),
        ({"t": "open_key", "claim": key(name="a\nb")}, "control characters"),
        ({"t": "close_key", "claim": {"hash": b""}}, "hash must be 32 bytes"),
        ({"t": "close_key", "claim": key()}, "unknown fields"),
        ({"x": 1}, "unknown fields"),
        ({"nonce": b""}, "nonce must be 16 bytes"),
        ({"time": -1}, "time must be"),
    ],
)
def test_a_statement_that_breaks_a_rule_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(MalformedError, match=message):
        Statement.parse(envelope(**changes))


def test_nobody_can_say_it_in_anothers_name() -> None:
    with pytest.raises(SignatureError, match="statement signature"):
        Statement.parse(envelope(author=Identity.from_seed(b"b" * 32).key))


def test_a_signature_for_another_purpose_does_not_count() -> None:
    raw = sign(Cancel(JobId(b"j" * 32))).raw
    forged = {"signature": AUTHOR.sign(Domain.MANIFEST, raw), "statement": raw}
    with pytest.raises(SignatureError):
        Statement.parse(encode(forged))


def test_the_nonce_tells_equal_claims_apart() -> None:
    claim = Grant(PeerKey(b"k" * 32), 5)
    one = Statement.sign(AUTHOR, claim, time=1, nonce=b"1" * 16)
    assert one.id != Statement.sign(AUTHOR, claim, time=1, nonce=b"2" * 16).id


def test_a_statement_over_its_limit_is_not_looked_at() -> None:
    with pytest.raises(LimitError):
        Statement.parse(b"d" * (MAX_STATEMENT + 1))
