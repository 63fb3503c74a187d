"""Hash requests: answers come from the same trees as libtorrent's piece layers, and prove it."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workunits.torrent_cases import KIB, content, make
from workunits.canonical import encode
from workunits.errors import LimitError, MalformedError, ProofError, SwarmError
from workunits.hashtree import (
    CHUNK,
    MAX_HASHES,
    HashRequest,
    HashTree,
    LayerBuilder,
    TreeShape,
    check_answer,
    leaf_hashes,
)
from workunits.metainfo import LEAF_SIZE
from workunits.torrent_files import parse_torrent_file

ROOT = sha256(b"root").digest()


def naive(leaves: list[bytes]) -> list[list[bytes]]:
    """All layers of a tree over leaves, padded to a power of two, by the definition."""
    size = 1 << (len(leaves) - 1).bit_length()
    levels = [leaves + [bytes(32)] * (size - len(leaves))]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append(
            [sha256(below[at] + below[at + 1]).digest() for at in range(0, len(below), 2)]
        )
    return levels


def blocks_of(data: bytes) -> list[bytes]:
    return [sha256(data[at : at + LEAF_SIZE]).digest() for at in range(0, len(data), LEAF_SIZE)]


def tree_of(data: bytes, span: int) -> tuple[HashTree, list[list[bytes]], dict[int, bytes]]:
    levels = naive(blocks_of(data))
    shape = TreeShape(levels[-1][0], len(data), span)
    layer = levels[min(shape.base, shape.height)][: shape.pieces]
    pieces = {at: leaf_hashes(data[at * span : (at + 1) * span]) for at in range(shape.pieces)}
    return HashTree(shape, b"".join(layer)), levels, pieces


@pytest.mark.parametrize(
    ("size", "span"),
    [
        (16 * KIB + 1, 16 * KIB),
        (100_000, 16 * KIB),
        (100_000, 32 * KIB),
        (1_000_000, 64 * KIB),
        (513 * 16 * KIB, 16 * KIB),
        (1025 * 16 * KIB - 5, 16 * KIB),
    ],
)
def test_answers_add_up_to_the_layer_that_libtorrent_made(
    size: int, span: int, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(content("f", size))
    read = parse_torrent_file(encode(make(tmp_path, "f", "v2", span)))
    shape = TreeShape.of(read.info, read.info.files[0])
    layer = read.layers[shape.root]
    tree = HashTree(shape, layer)
    builder = LayerBuilder(shape)
    assert builder.layer is None
    for request in reversed(builder.missing):
        answer = tree.answer(request, {})
        assert answer is not None and len(answer) <= MAX_HASHES * 32
        assert not shape.wanted(request)
        assert builder.add(request, answer)
        assert not builder.add(request, answer)
    assert builder.layer == layer == tree.layer


@given(st.data(), st.integers(1, 70), st.sampled_from([16 * KIB, 32 * KIB, 128 * KIB]))
@settings(max_examples=200, deadline=None)
def test_every_answer_is_the_part_of_the_tree_that_was_asked_for(
    data: st.DataObject, blocks: int, span: int
) -> None:
    size = blocks * LEAF_SIZE - data.draw(st.sampled_from([0, 1, LEAF_SIZE - 1]))
    tree, levels, pieces = tree_of(content("x", size), span)
    height = tree.shape.height
    assert height == len(levels) - 1
    base = data.draw(st.integers(0, max(0, height - 1)))
    length = data.draw(st.integers(1, len(levels[base])))
    step = 1 << (length - 1).bit_length()
    index = data.draw(st.integers(0, (len(levels[base]) - length) // step)) * step
    proof = data.draw(st.integers(0, max(0, height - base - 1)))
    request = HashRequest(tree.shape.root, base, index, length, proof)
    answer = tree.answer(request, pieces)
    if not tree.shape.fits(request):
        assert answer is None
        return
    assert answer is not None
    assert answer[: 32 * length] == b"".join(levels[base][index : index + length])
    uncles = [answer[at : at + 32] for at in range(32 * length, len(answer), 32)]
    above = index >> request.height
    expected = []
    for level in request.uncles:
        expected.append(levels[level][above ^ 1])
        above >>= 1
    assert uncles == expected
    whole = length == step  # else what comes between must be padding
    if whole and request.base + max(request.height, proof + 1) == height:
        check_answer(tree.shape, request, answer)
        at = data.draw(st.integers(0, len(answer) - 1))
        forged = answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :]
        with pytest.raises(ProofError):
            check_answer(tree.shape, request, forged)


def test_below_the_piece_layer_the_piece_is_needed() -> None:
    data = content("x", 300_000)
    tree, levels, pieces = tree_of(data, 64 * KIB)
    request = HashRequest(tree.shape.root, 0, 8, 4, tree.shape.height - 1)
    assert tree.shape.wanted(request) == range(2, 3)
    assert tree.answer(request, {}) is None
    assert tree.answer(request, {1: pieces[1]}) is None
    answer = tree.answer(request, {2: pieces[2]})
    assert answer is not None and answer[:128] == b"".join(levels[0][8:12])
    check_answer(tree.shape, request, answer)


@pytest.mark.parametrize("size", [1, LEAF_SIZE, LEAF_SIZE + 1, 4 * LEAF_SIZE])
def test_a_file_of_one_piece_needs_no_layer_and_serves_its_blocks(size: int) -> None:
    data = content("x", size)
    tree, levels, pieces = tree_of(data, 64 * KIB)
    assert LayerBuilder(tree.shape).layer == tree.layer == tree.shape.root
    if tree.shape.height:
        request = HashRequest(tree.shape.root, 0, 0, 1 << tree.shape.height, tree.shape.height - 1)
        answer = tree.answer(request, pieces)
        assert answer == b"".join(levels[0])
        check_answer(tree.shape, request, answer)


def test_hashes_that_prove_nothing_are_refused() -> None:
    tree, _, _ = tree_of(content("x", 40 * LEAF_SIZE), 32 * KIB)
    shape = tree.shape
    good = shape.requests()[0]
    answer = tree.answer(good, {})
    assert answer is not None
    check_answer(shape, good, answer)
    part = HashRequest(shape.root, shape.base, 0, 4, 2)
    answered = tree.answer(part, {})
    assert answered is not None
    for request, hashes in [
        (good, answer[:-32]),
        (good, answer + bytes(32)),
        (good, b""),
        (good, bytes(len(answer))),
        (part, answered),  # right, and leads nowhere
        (HashRequest(ROOT, good.base, 0, good.length, good.proof), answer),
    ]:
        with pytest.raises(ProofError):
            check_answer(shape, request, hashes)
    builder = LayerBuilder(shape)
    with pytest.raises(ProofError):
        builder.add(good, bytes(len(answer)))
    assert builder.missing == (good,)
    assert not builder.add(part, answered)


def test_a_layer_that_leads_elsewhere_is_refused() -> None:
    tree, _, _ = tree_of(content("x", 100_000), 16 * KIB)
    for layer in (tree.layer[:-32], tree.layer + bytes(32), bytes(len(tree.layer))):
        with pytest.raises(MalformedError):
            HashTree(tree.shape, layer)


@pytest.mark.parametrize(
    "fields",
    [
        (ROOT[:31], 0, 0, 2, 0),
        (ROOT, -1, 0, 2, 0),
        (ROOT, 99, 0, 2, 0),
        (ROOT, 0, 1, 2, 0),
        (ROOT, 0, -2, 2, 0),
        (ROOT, 0, 0, 0, 0),
        (ROOT, 0, 0, CHUNK + 1, 0),
        (ROOT, 0, 0, 2, 99),
        (ROOT, 0, 2, 3, 0),
    ],
)
def test_requests_that_fit_no_tree_are_refused(fields: Any) -> None:
    with pytest.raises((MalformedError, LimitError)):
        HashRequest(*fields)


@given(st.builds(tuple, st.tuples(*[st.integers(-1, 600)] * 4)), st.binary(max_size=200))
def test_garbage_raises_nothing_but_our_errors(fields: Any, hashes: bytes) -> None:
    tree, _, pieces = tree_of(content("x", 70_000), 32 * KIB)
    try:
        request = HashRequest(tree.shape.root, *fields)
    except SwarmError:
        return
    answer = tree.answer(request, pieces)
    assert answer is None or len(answer) == 32 * (request.length + len(request.uncles))
    with pytest.raises(ProofError):
        check_answer(tree.shape, request, hashes)
