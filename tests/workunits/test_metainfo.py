"""Hybrid torrents: what is made is what libtorrent makes, and nothing else is accepted."""

import io
from hashlib import sha1, sha256
from pathlib import Path

import libtorrent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workunits.canonical import decode, encode
from workunits.errors import LimitError, MalformedError, SwarmError
from workunits.ids import BlobRef
from workunits.metainfo import (
    MAX_INFO,
    MAX_LENGTH,
    MAX_PIECE,
    MIN_PIECE,
    PIECES_AIM,
    Hasher,
    Torrent,
    encode_torrent,
    hash_stream,
    info_size_of,
    parse_info,
    parse_torrent,
    piece_length_of,
)

KIB = 1024
SIZES = [1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 48 * KIB, 100_000, 1_000_003]
BIG = PIECES_AIM * MIN_PIECE + 12_345  # the first size class with 32 KiB pieces


def content(size: int) -> bytes:
    return (sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]


def hashed(data: bytes) -> Torrent:
    return hash_stream(io.BytesIO(data), len(data))


@pytest.mark.parametrize("size", [*SIZES, BIG])
def test_libtorrent_makes_the_same_info_dictionary(size: int, tmp_path: Path) -> None:
    data = content(size)
    ours = hashed(data)
    path = tmp_path / ours.info.root.hex()
    path.write_bytes(data)
    entry = libtorrent.create_file_entry(path.name, size)
    maker = libtorrent.create_torrent([entry], ours.info.piece_length)
    libtorrent.set_piece_hashes(maker, str(tmp_path))
    made = maker.generate()
    theirs = made[b"info"]
    assert encode(theirs) == ours.info.raw
    layers = dict(made.get(b"piece layers", {}))
    assert layers == ({ours.info.root: ours.layer} if ours.layer else {})


@pytest.mark.parametrize("size", SIZES)
def test_libtorrent_reads_our_torrent_file_and_sees_both_hashes(size: int) -> None:
    ours = hashed(content(size))
    info = libtorrent.load_torrent_buffer(encode_torrent(ours)).ti
    assert info is not None
    hashes = info.info_hashes()
    assert hashes.v1.to_bytes() == ours.info.ref.v1
    assert hashes.v2.to_bytes() == ours.info.ref.v2
    assert info.is_valid() and info.total_size() == size


@pytest.mark.parametrize("size", [0, *SIZES, BIG])
def test_what_was_made_parses_back(size: int) -> None:
    ours = hashed(content(size))
    assert parse_info(ours.info.raw, ours.info.ref) == ours.info
    assert parse_torrent(encode_torrent(ours)) == ours
    assert info_size_of(size) == len(ours.info.raw)
    announced = Torrent(ours.info, ours.layer, "ws://127.0.0.1/announce")
    assert parse_torrent(encode_torrent(announced)) == announced


def test_pieces_cover_the_content() -> None:
    data = content(100_000)
    info = hashed(data).info
    at = 0
    for piece in range(info.count):
        part = data[at : at + info.size_of(piece)]
        assert sha1(part).digest() == info.hash_of(piece)
        at += len(part)
    assert at == len(data)


@given(st.binary(max_size=70_000), st.lists(st.integers(1, 40_000), max_size=8))
@settings(max_examples=50)
def test_the_way_the_stream_is_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    hasher = Hasher(len(data))
    at = 0
    for cut in cuts:
        hasher.update(data[at : at + cut])
        at += cut
    hasher.update(data[at:])
    assert hasher.finish() == hashed(data)


@given(st.integers(0, MAX_LENGTH))
def test_piece_length_is_a_bounded_power_of_two(length: int) -> None:
    size = piece_length_of(length)
    assert MIN_PIECE <= size <= MAX_PIECE and size & (size - 1) == 0
    assert size == MAX_PIECE or -(-length // size) <= PIECES_AIM
    assert size == MIN_PIECE or length > PIECES_AIM * size // 2


def test_the_largest_info_dictionary_is_within_its_limit() -> None:
    assert info_size_of(MAX_LENGTH) <= MAX_INFO


def test_a_blob_over_the_limit_is_refused_with_a_hint() -> None:
    with pytest.raises(LimitError) as caught:
        Hasher(MAX_LENGTH + 1)
    assert caught.value.hint


def test_content_that_is_longer_or_shorter_than_announced_is_refused() -> None:
    with pytest.raises(MalformedError, match="short"):
        hash_stream(io.BytesIO(b"abc"), 4)
    with pytest.raises(MalformedError, match="longer"):
        hash_stream(io.BytesIO(b"abc"), 2)


def change(raw: bytes, **changes: object) -> bytes:
    value = decode(raw, limit=MAX_INFO)
    assert isinstance(value, dict)
    new: dict[bytes, object] = dict(value)
    for key, item in changes.items():
        name = key.replace("_", " ").encode()
        if item is None:
            del new[name]
        else:
            new[name] = item
    return encode(new)


@pytest.mark.parametrize(
    "changes",
    [
        {"length": 99_999},
        {"length": -1},
        {"length": MAX_LENGTH + 1},
        {"piece_length": 32 * KIB},
        {"piece_length": 0},
        {"meta_version": 1},
        {"name": "../evil"},
        {"name": "0" * 64},
        {"pieces": b""},
        {"pieces": bytes(19)},
        {"pieces": bytes(20 * 8)},
        {"pieces": None},
        {"file_tree": {}},
        {"file_tree": None},
        {"private": 1},
        {"files": []},
    ],
)
def test_an_info_dictionary_that_is_off_in_one_field_is_refused(changes: dict[str, object]) -> None:
    raw = hashed(content(100_000)).info.raw
    with pytest.raises((MalformedError, LimitError)):
        parse_info(change(raw, **changes))


def test_a_second_file_in_the_tree_is_refused() -> None:
    info = hashed(content(100_000)).info
    leaf = {"": {"length": 100_000, "pieces root": info.root}}
    with pytest.raises(MalformedError):
        parse_info(change(info.raw, file_tree={info.root.hex(): leaf, "z": leaf}))


def test_each_hash_and_the_length_of_the_reference_are_checked() -> None:
    info = hashed(content(100_000)).info
    good = info.ref
    for wrong in (
        BlobRef(bytes(32), good.v1, good.length),
        BlobRef(good.v2, bytes(20), good.length),
        BlobRef(good.v2, good.v1, good.length + 1),
    ):
        with pytest.raises(MalformedError):
            parse_info(info.raw, wrong)


def test_a_torrent_file_with_a_wrong_piece_layer_is_refused() -> None:
    ours = hashed(content(100_000))
    wrong = bytes([ours.layer[0] ^ 1]) + ours.layer[1:]
    for layer in (wrong, ours.layer[:-32], b""):
        with pytest.raises(MalformedError):
            parse_torrent(encode_torrent(Torrent(ours.info, layer)))
    small = hashed(b"small")
    with pytest.raises(MalformedError):
        parse_torrent(encode_torrent(Torrent(small.info, bytes(32))))


@given(st.binary(max_size=300))
def test_noise_is_refused_with_blame(raw: bytes) -> None:
    for parse in (parse_info, parse_torrent):
        with pytest.raises(SwarmError):
            parse(raw)


@given(st.data())
def test_no_flipped_byte_is_accepted_under_the_reference(data: st.DataObject) -> None:
    info = hashed(b"abc" * 20_000).info
    raw = bytearray(info.raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SwarmError):
        parse_info(bytes(raw), info.ref)
