"""Cosignatures that a tracker keeps: one of each witness, and no room for floods of strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.serving import identity
from tracker.witnesses import MAX_STRANGERS, Cosigned, Witnesses
from validators.witness import cosigned, witness_name
from workunits.archive import origin
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.errors import MalformedError, RefusedError, RemoteError, SignatureError
from workunits.ids import PeerKey
from workunits.signing import Identity
from workunits.statements import MAX_AGE

LOG = identity("log")
NAME = origin(LOG.key)
NOW = 1_700_000_000


def head(size: int, log: Identity = LOG) -> SignedCheckpoint:
    name = origin(log.key)
    root = size.to_bytes(32)
    return SignedCheckpoint(Checkpoint(name, size, root)).sign(log, name)


def note(size: int, witness: str = "w", time: int = NOW) -> SignedCheckpoint:
    who = identity(witness)
    return head(size).cosign(who, witness_name(who.key), time)


def read(signed: SignedCheckpoint) -> Cosigned:
    return Cosigned.parse(signed.encode(), LOG.key)


def shown(witnesses: Witnesses) -> dict[int, set[PeerKey]]:
    found: dict[int, set[PeerKey]] = {}
    for each in witnesses.notes():
        parsed = SignedCheckpoint.parse(each.encode())
        found.setdefault(parsed.checkpoint.size, set()).update(cosigned(parsed))
    return found


def test_a_note_needs_exactly_the_log_and_one_witness() -> None:
    assert read(note(3)) == Cosigned(note(3), identity("w").key, NOW)
    other = identity("other")
    twice = note(3).cosign(other, witness_name(other.key), NOW)
    again = note(3).cosign(identity("w"), witness_name(identity("w").key), NOW + 1)
    elsewhere = head(3).cosign(other, "witness.example/w1", NOW)
    alone = SignedCheckpoint(head(3).checkpoint).cosign(other, witness_name(other.key), NOW)
    backwards = alone.sign(LOG, NAME)
    for bad in (head(3), twice, again, elsewhere, backwards):
        with pytest.raises(MalformedError):
            read(bad)
    with pytest.raises(SignatureError):
        read(alone)
    with pytest.raises(MalformedError, match="another tracker"):
        read(head(3, other).cosign(other, witness_name(other.key), NOW))


@given(st.binary(max_size=300))
def test_what_is_no_note_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        Cosigned.parse(raw, LOG.key)


@given(st.integers(0, len(note(3).encode()) - 1), st.integers(1, 255))
def test_a_note_that_was_changed_is_refused(at: int, change: int) -> None:
    raw = bytearray(note(3).encode())
    raw[at] ^= change
    with pytest.raises(RemoteError):
        Cosigned.parse(bytes(raw), LOG.key)


def test_the_newest_of_each_witness_is_shown_with_what_others_signed() -> None:
    witnesses = Witnesses()
    assert witnesses.take(read(note(3, "a")), NOW, peer=True)
    assert witnesses.take(read(note(3, "b")), NOW, peer=False)
    assert witnesses.take(read(note(5, "a", NOW + 1)), NOW, peer=True)
    a, b = identity("a").key, identity("b").key
    assert shown(witnesses) == {5: {a}, 3: {b}}
    assert not witnesses.take(read(note(3, "a")), NOW, peer=True)  # an old one, said again
    assert not witnesses.take(read(note(5, "a", NOW + 2)), NOW, peer=True)
    assert witnesses.take(read(note(5, "b", NOW + 2)), NOW, peer=True)
    assert shown(witnesses) == {5: {a, b}}
    assert len(witnesses.notes()) == 1


def test_a_smaller_checkpoint_that_is_newer_counts() -> None:
    """It is what a fork looks like."""
    witnesses = Witnesses()
    witnesses.take(read(note(5)), NOW, peer=True)
    assert witnesses.take(read(note(3, time=NOW + 1)), NOW, peer=True)
    assert list(shown(witnesses)) == [3]


@pytest.mark.parametrize("off", [-MAX_AGE - 1, MAX_AGE + 1])
def test_a_wrong_clock_is_told(off: int) -> None:
    with pytest.raises(RefusedError, match="time is"):
        Witnesses().take(read(note(3, time=NOW + off)), NOW, peer=True)


def test_strangers_push_out_strangers_only() -> None:
    witnesses = Witnesses(peers=2, strangers=3)
    for name in ("a", "b"):
        witnesses.take(read(note(3, name)), NOW, peer=True)
    for number in range(5):
        witnesses.take(read(note(3, f"s{number}")), NOW, peer=False)
    assert shown(witnesses) == {3: {identity(n).key for n in ("a", "b", "s2", "s3", "s4")}}
    witnesses.take(read(note(3, "s4")), NOW, peer=True)  # it joined: the peer silent longest goes
    assert shown(witnesses) == {3: {identity(n).key for n in ("b", "s2", "s3", "s4")}}


def test_many_signatures_fill_several_notes_within_their_limits() -> None:
    witnesses = Witnesses()
    for number in range(MAX_STRANGERS):
        witnesses.take(read(note(3, f"s{number}")), NOW, peer=False)
    assert len(witnesses.notes()) == -(-MAX_STRANGERS // 15)
    assert len(shown(witnesses)[3]) == MAX_STRANGERS
