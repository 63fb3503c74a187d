"""``.torrent`` files: what libtorrent writes we read, and what we write it reads."""

from pathlib import Path
from typing import Any

import libtorrent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.torrent_cases import FOLDER, KIB, KINDS, SHAPES, make, write
from workunits.canonical import encode
from workunits.errors import LimitError, MalformedError, SwarmError
from workunits.torrent_files import (
    MAX_FILE,
    MAX_URLS,
    TorrentDocument,
    encode_torrent_file,
    layers_of,
    parse_torrent_file,
)

Fields = dict[bytes, Any]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_libtorrent_writes_is_read_whole(kind: str, shape: str, tmp_path: Path) -> None:
    write(tmp_path, "D", SHAPES[shape])
    made = make(tmp_path, "D", kind)
    read = parse_torrent_file(encode(made))
    assert read.info.raw == encode(made[b"info"])
    assert read.layers == made.get(b"piece layers", {})
    assert {root: len(layer) for root, layer in read.layers.items()} == layers_of(read.info)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_by_libtorrent_and_by_us(kind: str, tmp_path: Path) -> None:
    write(tmp_path, "D", FOLDER)
    read = parse_torrent_file(encode(make(tmp_path, "D", kind)))
    document = TorrentDocument(
        read.info, read.layers, ("http://a/announce", "udp://b:1"), ("http://seed/",)
    )
    raw = encode_torrent_file(document)
    assert parse_torrent_file(raw) == document
    theirs = libtorrent.load_torrent_buffer(raw)
    assert theirs.trackers == list(document.trackers)
    assert theirs.url_seeds == list(document.webseeds)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Fields:
    root = tmp_path_factory.mktemp("torrents")
    write(root, "D", FOLDER)
    return make(root, "D", "hybrid")


def test_urls_that_are_none_are_passed_over(fields: Fields) -> None:
    read = parse_torrent_file(
        encode(
            fields
            | {
                b"announce": b"http://a/",
                b"announce-list": [[b"http://a/", b"\xff"], [b"http://b/", 5], b"x", [b"a b:c"]],
                b"url-list": b"http://seed/",
                b"comment": b"anything",
            }
        )
    )
    assert read.trackers == ("http://a/", "http://b/")
    assert read.webseeds == ("http://seed/",)
    many = [[b"http://%d/" % at] for at in range(2 * MAX_URLS)]
    assert len(parse_torrent_file(encode(fields | {b"announce-list": many})).trackers) == MAX_URLS
    with pytest.raises(LimitError):
        parse_torrent_file(encode(fields | {b"announce-list": many * 10}))


@pytest.mark.parametrize(
    "change",
    [
        {b"info": 5},
        {b"piece layers": 5},
        {b"piece layers": {}},
        {b"piece layers": {bytes(32): bytes(64)}},
    ],
)
def test_files_that_are_not_sound_are_refused(fields: Fields, change: Fields) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_torrent_file(encode(fields | change))
    assert caught.value.hint


def test_layers_must_lead_to_their_roots(fields: Fields) -> None:
    layers: dict[bytes, bytes] = fields[b"piece layers"]
    for root, layer in layers.items():
        for bad in (layer[:-1], layer[:-32], layer + bytes(32), bytes([layer[0] ^ 1]) + layer[1:]):
            with pytest.raises(MalformedError, match="piece layer"):
                parse_torrent_file(encode(fields | {b"piece layers": layers | {root: bad}}))
    extra = layers | {bytes(32): bytes(64)}
    with pytest.raises(MalformedError):
        parse_torrent_file(encode(fields | {b"piece layers": extra}))


def test_a_file_without_an_info_dictionary_or_over_the_limit_is_refused() -> None:
    for bad in (b"de", b"i5e", b"le", b"", bytes(MAX_FILE + 1)):
        with pytest.raises(SwarmError):
            parse_torrent_file(bad)


@given(st.binary(max_size=100))
def test_garbage_raises_nothing_but_our_errors(raw: bytes) -> None:
    with pytest.raises(SwarmError):
        parse_torrent_file(raw)


@pytest.mark.parametrize("size", [1, 64 * KIB])
def test_a_file_of_one_piece_has_no_layer(size: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(size))
    made = make(tmp_path, "f", "v2", 64 * KIB)
    assert parse_torrent_file(encode(made)).layers == {}
