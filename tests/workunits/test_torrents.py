"""Torrents of any client: read as libtorrent reads them, and refused when they are not sound."""

import io
from collections.abc import Callable
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workunits.torrent_cases import (
    FOLDER,
    KIB,
    KINDS,
    SHAPES,
    content,
    files_of,
    load,
    make,
    write,
)
from workunits.canonical import decode, encode
from workunits.errors import LimitError, MalformedError, SwarmError
from workunits.metainfo import hash_stream
from workunits.torrents import (
    MAX_DEPTH,
    MAX_FILES,
    MAX_INFO,
    Span,
    TorrentInfo,
    of_blob,
    parse_torrent_info,
    piece_root,
)

Tree = dict[bytes, Any]


def stream_of(info: TorrentInfo) -> bytes:
    """The stream of a torrent made by ``write``."""
    stream = bytearray(info.length)
    for file in info.files:
        path = "/".join(file.path if info.single else file.path[1:])
        stream[file.offset : file.offset + file.length] = content(path, file.length)
    return bytes(stream)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("span", [16 * KIB, 32 * KIB])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_folder_is_understood_as_libtorrent_understands_it(
    kind: str, shape: str, span: int, tmp_path: Path
) -> None:
    write(tmp_path, "D", SHAPES[shape])
    made = make(tmp_path, "D", kind, span)
    theirs = load(made)
    info = parse_torrent_info(encode(made[b"info"]))
    hashes = theirs.info_hashes()
    assert info.v1 == (hashes.v1.to_bytes() if hashes.has_v1() else None)
    assert info.v2 == (hashes.v2.to_bytes() if hashes.has_v2() else None)
    assert info.hash20 == hashes.get_best().to_bytes() or hashes.has_v1()
    lone = (shape, kind) == ("lone", "v2")  # BEP 52: then the name is advice, and no folder
    assert info.name == theirs.name() == ("only" if lone else "D")
    assert info.single == lone
    assert info.length == theirs.total_size()
    assert info.count == theirs.num_pieces()
    sizes = [theirs.piece_size(piece) for piece in range(info.count)]
    assert [info.size_of(piece) for piece in range(info.count)] == sizes
    full = [file for file in info.files if file.length]
    assert [("/".join(file.path), file.length, file.offset) for file in full] == [
        file for file in files_of(theirs) if file[1]
    ]
    assert sorted("/".join(file.path) for file in info.files) == sorted(
        path if lone else f"D/{path}" for path in SHAPES[shape]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 16 * KIB, 16 * KIB + 1, 100_000])
def test_a_file_is_understood_as_libtorrent_understands_it(
    kind: str, size: int, tmp_path: Path
) -> None:
    (tmp_path / "file.bin").write_bytes(content("file.bin", size))
    made = make(tmp_path, "file.bin", kind)
    theirs = load(made)
    info = parse_torrent_info(encode(made[b"info"]))
    assert info.single and info.files[0].path == ("file.bin",)
    assert (info.length, info.count) == (theirs.total_size(), theirs.num_pieces())
    check_pieces(info, made)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_hash_to_what_the_torrent_says(kind: str, shape: str, tmp_path: Path) -> None:
    write(tmp_path, "D", SHAPES[shape])
    made = make(tmp_path, "D", kind, 32 * KIB)
    check_pieces(parse_torrent_info(encode(made[b"info"])), made)


def check_pieces(info: TorrentInfo, made: Tree) -> None:
    stream = stream_of(info)
    layers: dict[bytes, bytes] = made.get(b"piece layers", {})
    for piece in range(info.count):
        at = piece * info.piece_length
        data = stream[at : at + info.size_of(piece)]
        assert not info.pieces or sha1(data).digest() == info.hash_of(piece)
        if info.v2 is None:
            continue
        file, index = info.place_of(piece)
        layer = layers.get(file.root, file.root)
        expected = layer[32 * index : 32 * index + 32]
        assert piece_root(data, info, piece) == expected
        assert piece_root(data[: info.data_of(piece)], info, piece) == expected


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_blob_is_a_torrent_like_any_other(size: int) -> None:
    meta = hash_stream(io.BytesIO(bytes(size)), size).info
    info = of_blob(meta)
    assert parse_torrent_info(meta.raw, v1=meta.ref.v1, v2=meta.ref.v2) == info
    assert (info.count, info.length, info.content) == (meta.count, size, size)
    assert [info.hash_of(piece) for piece in range(info.count)] == [
        meta.hash_of(piece) for piece in range(info.count)
    ]


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
@settings(max_examples=60)
def test_spans_cover_every_byte_once(
    folders: dict[str, TorrentInfo], kind: str, data: st.DataObject
) -> None:
    info = folders[kind]
    start = data.draw(st.integers(0, info.length))
    size = data.draw(st.integers(0, info.length - start))
    stream = stream_of(info)
    found = bytearray()
    for span in info.spans(start, size):
        assert span.size > 0
        if span.file is None:
            found += bytes(span.size)
        else:
            file = info.files[span.file]
            assert span.offset + span.size <= file.length
            at = file.offset + span.offset
            found += stream[at : at + span.size]
    assert bytes(found) == stream[start : start + size]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TorrentInfo]:
    root = tmp_path_factory.mktemp("folders")
    write(root, "D", FOLDER)
    return {kind: parse_torrent_info(encode(make(root, "D", kind)[b"info"])) for kind in KINDS}


def test_padding_is_in_no_file(folders: dict[str, TorrentInfo]) -> None:
    info = folders["v2"]
    assert info.spans(19_999, 16 * KIB) == [
        Span(0, 19_999, 1),
        Span(None, 0, 12_768),
        Span(2, 0, 100),
        Span(None, 0, 3515),
    ]
    assert info.file_at(20_000) is None and info.file_at(32 * KIB) == 2
    with pytest.raises(IndexError):
        info.spans(info.length, 1)


def test_pieces_of_a_file_are_those_that_hold_its_bytes(folders: dict[str, TorrentInfo]) -> None:
    for info in folders.values():
        for file in info.files:
            holding = {
                piece
                for piece in range(info.count)
                if piece * info.piece_length < file.offset + file.length
                and file.offset < (piece + 1) * info.piece_length
            }
            assert set(info.pieces_of(file)) == (holding if file.length else set())


def v1_info(**changes: Any) -> Tree:
    fields: Tree = {
        b"files": [{b"length": 5, b"path": [b"a"]}, {b"length": 6, b"path": [b"b", b"c"]}],
        b"name": b"D",
        b"piece length": 16 * KIB,
        b"pieces": bytes(20),
    }
    return fields | {key.replace("_", " ").encode(): value for key, value in changes.items()}


def v2_info(tree: Tree | None = None, **changes: Any) -> Tree:
    leaf = {b"": {b"length": 5, b"pieces root": bytes(32)}}
    fields: Tree = {
        b"file tree": tree if tree is not None else {b"a": leaf, b"b": {b"c": leaf}},
        b"meta version": 2,
        b"name": b"D",
        b"piece length": 16 * KIB,
    }
    return fields | {key.replace("_", " ").encode(): value for key, value in changes.items()}


def entry(*path: bytes, length: int = 1, **more: Any) -> Tree:
    return {b"length": length, b"path": list(path)} | {
        key.encode(): value for key, value in more.items()
    }


def test_the_plain_cases_are_sound() -> None:
    assert len(parse_torrent_info(encode(v1_info())).files) == 2
    assert len(parse_torrent_info(encode(v2_info())).files) == 2


def test_unknown_keys_are_let_be_and_private_is_seen() -> None:
    info = parse_torrent_info(encode(v1_info(source=b"x", private=1, extra={b"a": [1]})))
    assert info.private
    assert not parse_torrent_info(encode(v1_info())).private


@pytest.mark.parametrize(
    "name", [b"", b".", b"..", b"a/b", b"/", b"a\0b", b"a\nb", b"\x1b[2J", b"\xff", b"\xc2\x9b", 5]
)
def test_names_that_cannot_be_files_are_refused(name: Any) -> None:
    for bad in (
        v1_info(name=name),
        v1_info(files=[{b"length": 11, b"path": [b"a", name]}]),
        *([v2_info({name: {b"": {b"length": 0}}})] if isinstance(name, bytes) else []),
    ):
        with pytest.raises(MalformedError) as caught:
            parse_torrent_info(encode(bad))
        assert caught.value.hint


@pytest.mark.parametrize(
    "files",
    [
        [],
        [5],
        [entry()],
        [entry(b"a"), entry(b"a")],
        [entry(b"a"), entry(b"a", b"b")],
        [entry(b"a", b"b"), entry(b"a")],
        [entry(b"a", length=-1)],
        [entry(b"a", attr=b"l")],
        [entry(b"a", attr=b"x") | {b"symlink path": [b".."]}],
        [entry(b"a", attr=5)],
        [entry(b"a", attr=b"p")],
        [entry(b"a", length=16 * KIB + 1)],
    ],
)
def test_v1_files_that_are_not_sound_are_refused(files: list[Any]) -> None:
    with pytest.raises(MalformedError):
        parse_torrent_info(encode(v1_info(files=files)))


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {b"a": {}},
        {b"a": 5},
        {b"a": {b"": 5}},
        {b"a": {b"": {b"length": 0}, b"b": {b"": {b"length": 0}}}},
        {b"a": {b"": {b"length": 0, b"pieces root": bytes(32)}}},
        {b"a": {b"": {b"length": 1}}},
        {b"a": {b"": {b"length": 1, b"pieces root": bytes(31)}}},
        {b"a": {b"": {b"length": 0, b"attr": b"p"}}},
        {b"a": {b"": {b"length": 0, b"attr": b"l"}}},
        {b"a": {b"": {}}},
    ],
)
def test_v2_trees_that_are_not_sound_are_refused(tree: Tree) -> None:
    with pytest.raises(MalformedError):
        parse_torrent_info(encode(v2_info(tree)))


@pytest.mark.parametrize(
    "changes",
    [
        {"piece_length": 0},
        {"piece_length": 1000},
        {"piece_length": 512},
        {"piece_length": 17 * KIB},
        {"piece_length": b"x"},
        {"pieces": bytes(40)},
        {"pieces": bytes(19)},
        {"meta_version": 2},
        {"length": 11},
    ],
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse_torrent_info(encode(v1_info(**changes)))


def test_old_torrents_may_have_pieces_of_many_sizes() -> None:
    for span in (1024, 48 * KIB, 64 * KIB * KIB):
        assert parse_torrent_info(encode(v1_info(piece_length=span))).piece_length == span
    for span in (48 * KIB, 1024):
        with pytest.raises(MalformedError):
            parse_torrent_info(encode(v2_info(piece_length=span)))


def test_padding_without_an_attribute_is_known_by_its_path() -> None:
    files = [entry(b"a", length=5), entry(b".pad", b"11", length=11), entry(b"b", length=1)]
    info = parse_torrent_info(encode(v1_info(files=files)))
    assert [file.offset for file in info.files] == [0, 16]
    kept = [entry(b".pad", b"real", length=11)]
    assert parse_torrent_info(encode(v1_info(files=kept))).files[0].length == 11


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info[b"files"].pop(-2),
        lambda info: info[b"files"].reverse(),
        lambda info: info[b"files"][0].update(length=info[b"files"][0][b"length"] + 1),
        lambda info: info[b"files"][0].update({b"path": [b"other"]}),
        lambda info: info[b"file tree"].pop(b"a"),
        lambda info: info[b"file tree"][b"z"][b""].update({b"length": 40_001}),
        lambda info: info[b"files"].append(entry(b".pad", b"16384", length=16384)),
        lambda info: (info.pop(b"files"), info.update({b"length": 98_304 + 16384})),
    ],
)
def test_halves_that_disagree_are_refused(
    change: Callable[[Tree], object], folders: dict[str, TorrentInfo]
) -> None:
    fields: Any = decode(folders["hybrid"].raw, limit=MAX_INFO)
    change(fields)
    with pytest.raises(MalformedError):
        parse_torrent_info(encode(fields))


def test_an_info_hash_that_was_not_asked_for_is_refused() -> None:
    raw = encode(v2_info())
    assert parse_torrent_info(raw, v2=sha256(raw).digest()).v1 is None
    for wanted in ({"v2": bytes(32)}, {"v1": sha1(raw).digest()}):
        with pytest.raises(MalformedError, match="info-hash"):
            parse_torrent_info(raw, **wanted)


def test_limits_hold() -> None:
    leaf = {b"": {b"length": 0}}
    deep: Tree = leaf
    for _ in range(MAX_DEPTH - 1):
        deep = {b"d": deep}
    assert len(parse_torrent_info(encode(v2_info(deep))).files[0].path) == MAX_DEPTH
    root = bytes(32)
    for bad in (
        v2_info({b"d": deep}),
        v1_info(files=[entry(*[b"d"] * MAX_DEPTH, length=11)]),
        v1_info(name=b"x" * 256),
        v1_info(piece_length=128 * KIB * KIB),
        v1_info(files=[entry(b"%d" % at, length=0) for at in range(MAX_FILES + 1)], pieces=b""),
        v2_info({b"a": {b"": {b"length": 2**60, b"pieces root": root}}}),
        v2_info({b"a": {b"": {b"length": 2**40, b"pieces root": root}}}),
        v1_info(extra=bytes(MAX_INFO)),
    ):
        with pytest.raises(LimitError):
            parse_torrent_info(encode(bad))


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_our_errors(raw: bytes) -> None:
    with pytest.raises(SwarmError):
        parse_torrent_info(raw)


values = st.recursive(
    st.one_of(st.integers(-10, 2**40), st.binary(max_size=40)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.binary(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.data(), st.sampled_from([v1_info, v2_info]))
@settings(max_examples=300)
def test_any_value_in_any_field_raises_nothing_but_our_errors(
    data: st.DataObject, base: Callable[[], Tree]
) -> None:
    fields = base()
    key = data.draw(st.sampled_from([*fields, b"length", b"meta version", b"file tree", b"files"]))
    fields[key] = data.draw(values)
    try:
        info = parse_torrent_info(encode(fields))
    except SwarmError:
        return
    assert sum(span.size for span in info.spans(0, info.length)) == info.length


def test_what_has_another_hash_is_not_even_read() -> None:
    for wanted in ({"v1": bytes(20)}, {"v2": bytes(32)}):
        with pytest.raises(MalformedError, match="wanted info-hash"):
            parse_torrent_info(b"no bencode", **wanted)
