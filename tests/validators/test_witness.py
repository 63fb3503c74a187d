"""Witnesses: one history is never called a fork, two histories always are when they meet."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validators.logs import NAME, TRACKER, TREE, head, leaf, proof_of, sign, tree_of
from tests.workunits.strategies import hashes
from validators.witness import (
    MAX_FORK,
    Fork,
    ForkError,
    Proof,
    Witness,
    bare,
    cosigned,
    meet,
    prefix_root,
    verify_log,
    witness_key,
    witness_name,
)
from workunits.checkpoints import Checkpoint, NoteKey, SignedCheckpoint
from workunits.errors import MalformedError, ProofError, RemoteError, SignatureError
from workunits.merkle import EMPTY_ROOT
from workunits.signing import Identity

WITNESS = Identity.from_seed(b"w" * 32)
OTHER = Identity.from_seed(b"o" * 32)
sizes = st.integers(0, TREE.size)


@given(sizes, sizes)
def test_two_heads_of_one_log_go_together(one: int, other: int) -> None:
    first, second = head(TREE, one), head(TREE, other)
    assert meet(first, second, proof_of(TREE, first, second)) is None
    small, large = sorted((first, second), key=lambda each: each.checkpoint.size)
    fork = Fork(small, large)
    if small.checkpoint.size in (0, large.checkpoint.size):
        with pytest.raises(ProofError, match="no fork"):
            fork.check()
        return
    assert not fork.check()
    number = small.checkpoint.size
    path = (leaf(number), *TREE.inclusion(number, large.checkpoint.size))
    with pytest.raises(ProofError, match="no fork"):
        replace(fork, path=path).check()


@given(st.integers(0, 40), st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_two_heads_of_forked_logs_are_caught(common: int, one: int, other: int, mine: bool) -> None:
    """Whichever of the two histories the log shows, and whether it can show anything."""
    ours, theirs = tree_of(common + one), tree_of(common + other, common)
    first, second = head(ours), head(theirs)
    for tree in (ours, theirs):
        fork = meet(first, second, proof_of(tree, first, second))
        assert fork is not None
        assert {fork.one, fork.other} == {first, second}
        assert Fork.parse(fork.encode()) == fork
    fork = meet(second, first, None)
    assert fork is not None
    if one == other:
        assert fork.check()
        return
    assert not fork.check()
    small, large = sorted((ours, theirs), key=lambda tree: tree.size)
    branch = "fork" if large is theirs else ""
    number = small.size
    path = (leaf(number, branch), *large.inclusion(number, large.size))
    assert prefix_root(number, fork.other.checkpoint, path) == large.root(number)
    proven = replace(fork, path=path)
    assert proven.check()
    assert Fork.parse(proven.encode()) == proven
    assert len(proven.encode()) <= MAX_FORK
    with pytest.raises(RemoteError):
        replace(fork, path=path[:-1]).check()
    with pytest.raises(RemoteError):
        replace(fork, path=(bytes(32), *path[1:])).check()
    with pytest.raises(RemoteError):
        replace(fork, path=(*path, bytes(32))).check()


@given(st.integers(1, 130), st.lists(hashes, max_size=9).map(tuple))
def test_no_path_of_strangers_makes_a_fork_of_one_log(size: int, path: Proof) -> None:
    fork = Fork.between(head(TREE, size), head(TREE))
    with suppress(ProofError, MalformedError):
        assert not replace(fork, path=path).check()


def test_a_wrong_proof_is_no_proof() -> None:
    first, second = head(TREE, 5), head(TREE, 9)
    assert meet(first, second, (bytes(32),)) is not None
    assert meet(first, second, ()) is not None


def test_a_log_that_signs_a_root_for_nothing_lies() -> None:
    lie = sign(0, bytes(32))
    for other in (head(TREE, 0), head(TREE, 7), lie):
        fork = meet(lie, other)
        assert fork is not None
        assert fork.check()
    assert meet(sign(0, EMPTY_ROOT), head(TREE, 7)) is None


def test_what_is_remembered_only_grows() -> None:
    witness = Witness(TRACKER.key)
    with pytest.raises(ValueError, match="no checkpoint"):
        witness.cosign(WITNESS, 1)
    first, second = head(TREE, 5), head(TREE, 9)
    witness = witness.see(first)
    assert witness.latest == first
    assert witness.see(first) == witness
    grown = witness.see(second, TREE.consistency(5, 9))
    assert grown.latest == second
    assert grown.see(first, TREE.consistency(5, 9)) == grown
    with pytest.raises(ForkError):
        grown.see(first)
    for proof in (None, (), TREE.consistency(4, 9)):
        with pytest.raises(ForkError) as caught:
            witness.see(second, proof)
        assert (caught.value.fork.one, caught.value.fork.other) == (first, second)
    with pytest.raises(ForkError, match="two ledgers of 5 entries") as caught:
        witness.see(sign(5, bytes(32)))
    assert caught.value.fork.check()


def test_only_checkpoints_that_the_log_signed_count() -> None:
    theirs = SignedCheckpoint(Checkpoint(NAME, 3, bytes(32))).sign(OTHER, NAME)
    foreign = sign(3, bytes(32), OTHER)
    good = head(TREE, 3)
    with pytest.raises(SignatureError):
        Witness(TRACKER.key).see(theirs)
    with pytest.raises(MalformedError, match="another log"):
        Witness(TRACKER.key).see(foreign)
    with pytest.raises(MalformedError, match="two logs"):
        meet(good, foreign)
    with pytest.raises(SignatureError):
        meet(good, theirs)
    with pytest.raises(SignatureError):
        Fork(good, theirs).check()
    with pytest.raises(MalformedError):
        Fork(good, foreign).check()
    with pytest.raises(MalformedError, match="first"):
        Fork(head(TREE, 9), good).check()


@pytest.mark.parametrize(
    "name", [NAME.upper(), NAME.removeprefix("openswarm/"), NAME + "0", "swarm.example/log"]
)
def test_a_log_has_one_spelling_of_its_name(name: str) -> None:
    signed = SignedCheckpoint(Checkpoint(name, 3, bytes(32))).sign(TRACKER, name)
    with pytest.raises(MalformedError):
        verify_log(signed)


def test_a_cosignature_names_the_witness_and_the_time() -> None:
    seen = Witness(TRACKER.key).see(head(TREE, 3))
    note = seen.cosign(WITNESS, 1700000000)
    assert cosigned(note) == {WITNESS.key: 1700000000}
    assert bare(note) == head(TREE, 3)
    both = note.cosign(OTHER, witness_name(OTHER.key), 5)
    read = SignedCheckpoint.parse(both.encode())
    assert cosigned(read) == {WITNESS.key: 1700000000, OTHER.key: 5}
    assert Witness(TRACKER.key).see(both).cosign(WITNESS, 1700000000) == note
    assert verify_log(note) == TRACKER.key
    forged = head(TREE, 4).cosign(OTHER, witness_name(WITNESS.key), 5)
    assert cosigned(forged) == {}  # the id of another key: nobody's signature
    spoilt = replace(note, checkpoint=head(TREE, 4).checkpoint)
    with pytest.raises(SignatureError):
        cosigned(spoilt)


@pytest.mark.parametrize(
    "name",
    ["", "openswarm-witness/", WITNESS.key.hex(), "openswarm-witness/" + "A" * 64, "x" * 64],
)
def test_a_witness_has_one_spelling_of_its_name(name: str) -> None:
    with pytest.raises(MalformedError):
        witness_key(name)


def test_a_log_s_signature_under_the_name_of_a_witness_is_no_cosignature() -> None:
    name = witness_name(WITNESS.key)
    note = head(TREE, 3).sign(WITNESS, name)
    assert note.verify(NoteKey(name, WITNESS.key)) is None
    assert cosigned(note) == {}


FORK = replace(Fork.between(head(TREE, 5), head(tree_of(9, 3))), path=(bytes(32),) * 3)


@given(st.binary(max_size=200))
def test_evidence_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        Fork.parse(raw)


@given(st.integers(0, len(FORK.encode()) - 1), st.integers(1, 255))
def test_evidence_that_was_changed_is_refused_or_proves_nothing(at: int, change: int) -> None:
    raw = bytearray(FORK.encode())
    raw[at] ^= change
    with suppress(RemoteError):
        fork = Fork.parse(bytes(raw))
        assert fork.encode() == bytes(raw)
        assert not fork.check()
