"""Trees against the RFC's own recursion, and proofs that hold for one thing only."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import hashes
from workunits.errors import MalformedError, ProofError
from workunits.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    MAX_SIZE,
    Frontier,
    Tree,
    check_consistency,
    check_inclusion,
    leaf_hash,
)

MOST = 200
ENTRIES = [b"entry %d" % index for index in range(MOST)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]

KNOWN_ENTRIES = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
KNOWN_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
N01 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
N03 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
N1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
N23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
N45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
N47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
N6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
N67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"


def split(size: int) -> int:
    """The largest power of two below ``size`` (RFC 9162 section 2.1.1)."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def naive_root(entries: list[bytes]) -> bytes:
    """MTH(D_n) of RFC 9162 section 2.1.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = split(len(entries))
    return sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def naive_inclusion(index: int, entries: list[bytes]) -> tuple[bytes, ...]:
    """PATH(m, D_n) of RFC 9162 section 2.1.3.1."""
    if len(entries) == 1:
        return ()
    k = split(len(entries))
    if index < k:
        return (*naive_inclusion(index, entries[:k]), naive_root(entries[k:]))
    return (*naive_inclusion(index - k, entries[k:]), naive_root(entries[:k]))


def naive_consistency(old: int, entries: list[bytes], whole: bool = True) -> tuple[bytes, ...]:
    """SUBPROOF(m, D_n, b) of RFC 9162 section 2.1.4.1; PROOF is the one with ``whole``."""
    if old == len(entries):
        return () if whole else (naive_root(entries),)
    k = split(len(entries))
    if old <= k:
        return (*naive_consistency(old, entries[:k], whole), naive_root(entries[k:]))
    return (*naive_consistency(old - k, entries[k:], False), naive_root(entries[:k]))


def grown(leaves: list[bytes]) -> Tree:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree


TREE = grown(LEAVES)
KNOWN = grown([leaf_hash(bytes.fromhex(entry)) for entry in KNOWN_ENTRIES])


def hexes(*proof: str) -> tuple[bytes, ...]:
    return tuple(map(bytes.fromhex, proof))


@st.composite
def inclusions(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, MOST))
    return draw(st.integers(0, size - 1)), size


@st.composite
def growths(draw: st.DrawFn, least: int = 0) -> tuple[int, int]:
    new = draw(st.integers(least, MOST))
    return draw(st.integers(least, new)), new


def flipped(data: st.DataObject, raw: bytes) -> bytes:
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    return (int.from_bytes(raw) ^ (1 << bit)).to_bytes(len(raw))


def test_roots_are_those_of_the_reference_tree() -> None:
    """Entries and roots of Certificate Transparency's test tree (transparency-dev/merkle,
    testonly/constants.go; first in google/certificate-transparency)."""
    for size, root in enumerate(KNOWN_ROOTS):
        assert KNOWN.root(size).hex() == root
        assert naive_root([bytes.fromhex(each) for each in KNOWN_ENTRIES[:size]]).hex() == root


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, ()),
        (0, 8, (N1, N23, N47)),
        (5, 8, (N4, N67, N03)),
        (2, 3, (N01,)),
        (1, 5, (KNOWN_ROOTS[1], N23, N4)),
    ],
)
def test_inclusion_proofs_are_those_of_the_reference_tree(
    index: int, size: int, proof: tuple[str, ...]
) -> None:
    """Paths from the tests of google/certificate-transparency (merkle_tree_test.cc)."""
    assert KNOWN.inclusion(index, size) == hexes(*proof)
    leaf = leaf_hash(bytes.fromhex(KNOWN_ENTRIES[index]))
    check_inclusion(leaf, index, size, hexes(*proof), bytes.fromhex(KNOWN_ROOTS[size]))


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [
        (1, 1, ()),
        (1, 8, (N1, N23, N47)),
        (6, 8, (N45, N67, N03)),
        (2, 5, (N23, N4)),
        (6, 7, (N45, N6, N03)),
    ],
)
def test_consistency_proofs_are_those_of_the_reference_tree(
    old: int, new: int, proof: tuple[str, ...]
) -> None:
    """Paths from the tests of google/certificate-transparency (merkle_tree_test.cc)."""
    assert KNOWN.consistency(old, new) == hexes(*proof)
    old_root, new_root = hexes(KNOWN_ROOTS[old], KNOWN_ROOTS[new])
    check_consistency(old, old_root, new, new_root, hexes(*proof))


@pytest.mark.parametrize("size", range(MOST + 1))
def test_tree_and_frontier_have_the_root_of_the_definition(size: int) -> None:
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    assert frontier.size == size
    assert frontier.root() == TREE.root(size) == naive_root(ENTRIES[:size])
    assert grown(LEAVES[:size]).root() == TREE.root(size)


def test_the_first_trees_prove_every_pair_as_defined() -> None:
    for new in range(1, 34):
        for old in range(new):
            path = naive_inclusion(old, ENTRIES[:new])
            assert TREE.inclusion(old, new) == path
            check_inclusion(LEAVES[old], old, new, path, TREE.root(new))
        for old in range(1, new + 1):
            path = naive_consistency(old, ENTRIES[:new])
            assert TREE.consistency(old, new) == path
            check_consistency(old, TREE.root(old), new, TREE.root(new), path)


@given(inclusions())
def test_inclusion_is_proved_as_defined(pair: tuple[int, int]) -> None:
    index, size = pair
    proof = TREE.inclusion(index, size)
    assert proof == naive_inclusion(index, ENTRIES[:size])
    check_inclusion(LEAVES[index], index, size, proof, TREE.root(size))


@given(growths(least=1))
def test_consistency_is_proved_as_defined(pair: tuple[int, int]) -> None:
    old, new = pair
    proof = TREE.consistency(old, new)
    assert proof == naive_consistency(old, ENTRIES[:new])
    check_consistency(old, TREE.root(old), new, TREE.root(new), proof)


@given(st.integers(0, MOST), hashes)
def test_every_log_begins_with_the_empty_one(size: int, other: bytes) -> None:
    root = TREE.root(size)
    assert TREE.consistency(0, size) == ()
    check_consistency(0, EMPTY_ROOT, size, root, ())
    for old_root, new_root, proof in (
        (other, root, ()),
        (EMPTY_ROOT, other if size == 0 else root, (other,)),
    ):
        with pytest.raises(ProofError):
            check_consistency(0, old_root, size, new_root, proof)


@given(growths(), st.data())
def test_a_frontier_goes_on_where_it_was_saved(pair: tuple[int, int], data: st.DataObject) -> None:
    old, new = pair
    saved = Frontier()
    for leaf in LEAVES[:old]:
        saved.append(leaf)
    frontier = Frontier(saved.size, saved.peaks)
    for leaf in LEAVES[old:new]:
        frontier.append(leaf)
    assert frontier.root() == TREE.root(new)
    assert len(frontier.peaks) <= new.bit_length()
    assert saved.root() == TREE.root(old)


@pytest.mark.parametrize(
    ("size", "peaks"),
    [
        (0, (b"p" * 32,)),
        (1, ()),
        (2, (b"p" * 32,) * 2),
        (1, (b"p" * 31,)),
        (-1, (b"p" * 32,)),
        (MAX_SIZE + 1, (b"p" * 32,)),
    ],
)
def test_a_frontier_that_does_not_fit_its_size_is_refused(
    size: int, peaks: tuple[bytes, ...]
) -> None:
    with pytest.raises(MalformedError):
        Frontier(size, peaks)


@pytest.mark.parametrize("leaf", [b"", b"l" * 31, b"l" * 33])
def test_what_is_no_hash_is_not_appended(leaf: bytes) -> None:
    tree, frontier = Tree(), Frontier()
    for appended in (tree, frontier):
        with pytest.raises(ValueError, match="32 bytes"):
            appended.append(leaf)
        assert appended.size == 0
        assert appended.root() == EMPTY_ROOT


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (4, 3), (0, 0), (0, MOST + 1)])
def test_no_inclusion_is_proved_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ProofError, match=f"log of {MOST} entries"):
        TREE.inclusion(index, size)


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3), (3, MOST + 1), (MOST + 1, MOST + 1)])
def test_no_consistency_is_proved_of_what_is_not_there(old: int, new: int) -> None:
    with pytest.raises(ProofError):
        TREE.consistency(old, new)
    for size in (-1, MOST + 1):
        with pytest.raises(ProofError):
            TREE.root(size)


@given(inclusions(), st.data())
def test_an_inclusion_proof_with_a_flipped_bit_is_refused(
    pair: tuple[int, int], data: st.DataObject
) -> None:
    index, size = pair
    parts = [LEAVES[index], TREE.root(size), *TREE.inclusion(index, size)]
    at = data.draw(st.integers(0, len(parts) - 1))
    parts[at] = flipped(data, parts[at])
    with pytest.raises(ProofError):
        check_inclusion(parts[0], index, size, tuple(parts[2:]), parts[1])


@given(growths(least=1), st.data())
def test_a_consistency_proof_with_a_flipped_bit_is_refused(
    pair: tuple[int, int], data: st.DataObject
) -> None:
    old, new = pair
    parts = [TREE.root(old), TREE.root(new), *TREE.consistency(old, new)]
    at = data.draw(st.integers(0, len(parts) - 1))
    parts[at] = flipped(data, parts[at])
    with pytest.raises(ProofError):
        check_consistency(old, parts[0], new, parts[1], tuple(parts[2:]))


@given(inclusions(), inclusions())
def test_an_inclusion_proof_places_its_entry_nowhere_else(
    pair: tuple[int, int], other: tuple[int, int]
) -> None:
    (index, size), (claimed, within) = pair, other
    proof = TREE.inclusion(index, size)
    if index == claimed:
        return
    with pytest.raises(ProofError):
        check_inclusion(LEAVES[index], claimed, within, proof, TREE.root(within))


@given(inclusions(), st.integers(1, MOST))
def test_a_proof_is_refused_for_a_size_that_needs_another_length(
    pair: tuple[int, int], claimed: int
) -> None:
    """Even under the root that it was made for: a size decides how long a proof is."""
    index, size = pair
    proof, root = TREE.inclusion(index, size), TREE.root(size)
    if index < claimed and len(TREE.inclusion(index, claimed)) != len(proof):
        with pytest.raises(ProofError, match="length"):
            check_inclusion(LEAVES[index], index, claimed, proof, root)
    old, old_root = index + 1, TREE.root(index + 1)
    grown = TREE.consistency(old, size)
    if size > old and claimed > old and len(TREE.consistency(old, claimed)) != len(grown):
        with pytest.raises(ProofError, match="length"):
            check_consistency(old, old_root, claimed, root, grown)


@pytest.mark.parametrize("root", [b"", b"r" * 31, b"r" * 33])
def test_what_is_no_hash_proves_nothing(root: bytes) -> None:
    with pytest.raises(ProofError, match="hashes"):
        check_inclusion(root, 0, 1, (), root)
    with pytest.raises(ProofError, match="hashes"):
        check_consistency(3, root, 3, root, ())


@given(growths(least=1), st.sampled_from(("cut", "grown", "emptied", "short hash")))
def test_a_proof_of_another_length_is_refused(pair: tuple[int, int], how: str) -> None:
    old, new = pair

    def changed(proof: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return {
            "cut": proof[:-1],
            "grown": (*proof, b"p" * HASH_SIZE),
            "emptied": (),
            "short hash": (*proof[:-1], b"p" * (HASH_SIZE - 1)),
        }[how]

    inclusion, consistency = TREE.inclusion(old - 1, new), TREE.consistency(old, new)
    if changed(inclusion) != inclusion:
        with pytest.raises(ProofError):
            check_inclusion(LEAVES[old - 1], old - 1, new, changed(inclusion), TREE.root(new))
    if changed(consistency) != consistency:
        with pytest.raises(ProofError):
            check_consistency(old, TREE.root(old), new, TREE.root(new), changed(consistency))


@given(
    st.integers(-3, 2**70),
    st.integers(-3, 2**70),
    st.lists(st.one_of(hashes, st.binary(max_size=40)), max_size=70),
    st.one_of(hashes, st.binary(max_size=40)),
    hashes,
)
def test_an_arbitrary_proof_is_refused_with_a_proof_error(
    one: int, other: int, proof: list[bytes], some: bytes, root: bytes
) -> None:
    if some in (root, EMPTY_ROOT):
        return
    with pytest.raises(ProofError):
        check_inclusion(some, one, other, tuple(proof), root)
    with pytest.raises(ProofError):
        check_consistency(one, some, other, root, tuple(proof))


def test_a_node_does_not_pass_for_a_leaf() -> None:
    """The second preimage that the two prefixes are there to prevent (RFC 9162 section 2.1.1)."""
    inner = leaf_hash(LEAVES[0] + LEAVES[1])
    with pytest.raises(ProofError):
        check_inclusion(inner, 0, 1, (), TREE.root(2))


def test_the_largest_sizes_are_checked_and_larger_ones_refused() -> None:
    proof = (b"p" * HASH_SIZE,) * 63
    root = b"r" * HASH_SIZE
    with pytest.raises(ProofError, match="root"):
        check_inclusion(root, 0, MAX_SIZE, proof, root)
    with pytest.raises(ProofError, match="entry 0 of"):
        check_inclusion(root, 0, MAX_SIZE + 1, proof, root)


def test_an_inclusion_proof_among_a_million_entries_is_at_most_640_bytes() -> None:
    size = 10**6
    tree = Tree()
    for index in range(size):
        tree.append(sha256(b"%d" % index).digest())
    for index in (0, 1, 524_287, 524_288, 777_777, size - 1):
        proof = tree.inclusion(index, size)
        assert sum(map(len, proof)) <= 640
        check_inclusion(sha256(b"%d" % index).digest(), index, size, proof, tree.root())
