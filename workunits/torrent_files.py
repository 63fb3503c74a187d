"""``.torrent`` files (BEP 3, 12, 19, 52): info, piece layers, trackers, web seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workunits.canonical import Value, decode, encode
from workunits.errors import LimitError, MalformedError
from workunits.ids import HASH_SIZE
from workunits.metainfo import LEAF_SIZE, layer_root
from workunits.torrents import MAX_INFO, MAX_NESTING, MAX_PIECES, TorrentInfo, parse_torrent_info

MAX_FILE = 2 * MAX_INFO + 2 * MAX_PIECES * HASH_SIZE
MAX_URL = 2048
MAX_URLS = 64
_WHAT = "torrent file"


@dataclass(frozen=True, slots=True)
class TorrentDocument:
    """What a ``.torrent`` file says."""

    info: TorrentInfo
    layers: Mapping[bytes, bytes] = field(default_factory=dict)
    """Piece layer by pieces root, of every file of more than one piece; empty for v1 only."""

    trackers: tuple[str, ...] = ()
    webseeds: tuple[str, ...] = ()


def layer_size(info: TorrentInfo, length: int) -> int:
    """Bytes in the piece layer of a file of ``length`` bytes; 0 where it has none."""
    return HASH_SIZE * -(-length // info.piece_length) if length > info.piece_length else 0


def layers_of(info: TorrentInfo) -> dict[bytes, int]:
    """The piece layers that a torrent has: pieces root to size in bytes."""
    return {
        file.root: layer_size(info, file.length)
        for file in info.files
        if file.root and file.length > info.piece_length
    }


def check_layer(info: TorrentInfo, root: bytes, layer: bytes) -> None:
    """Raise ``MalformedError`` unless ``layer`` is the piece layer that leads to ``root``."""
    if layer_root(layer, info.piece_length // LEAF_SIZE) != root:
        raise _wrong("has a piece layer that does not lead to its pieces root")


def parse_torrent_file(raw: bytes) -> TorrentDocument:
    """Check a ``.torrent`` file. Every piece layer must be there and lead to its pieces root.

    Unknown keys and URLs that are too long or not text are passed over. Raises ``MalformedError``
    or ``LimitError``.
    """
    body = decode(raw, limit=MAX_FILE, what=_WHAT, depth=MAX_NESTING + 1)
    if not isinstance(body, dict):
        raise _wrong("is not a dictionary")
    if not isinstance(body.get(b"info"), dict):
        raise _wrong("has no info dictionary")
    # The file is canonical as a whole, so its parts re-encode to what they were.
    info = parse_torrent_info(encode(body[b"info"]))
    tiers: list[Value] = [body.get(b"announce", b"")]
    listed = body.get(b"announce-list", [])
    for tier in listed if isinstance(listed, list) else []:
        tiers += tier if isinstance(tier, list) else []
    seeds = body.get(b"url-list", [])
    return TorrentDocument(
        info,
        _check_layers(info, body.get(b"piece layers", {})),
        _urls(tiers),
        _urls(seeds if isinstance(seeds, list) else [seeds]),
    )


def encode_torrent_file(document: TorrentDocument) -> bytes:
    """The bytes of a ``.torrent`` file."""
    body: dict[str, object] = {
        "info": decode(document.info.raw, limit=MAX_INFO, depth=MAX_NESTING),
    }
    if document.info.v2 is not None:
        body["piece layers"] = dict(document.layers)
    if document.trackers:
        body["announce"] = document.trackers[0]
    if document.trackers[1:]:
        body["announce-list"] = [[url] for url in document.trackers]
    if document.webseeds:
        body["url-list"] = list(document.webseeds)
    return encode(body)


def _check_layers(info: TorrentInfo, found: Value) -> dict[bytes, bytes]:
    wanted = layers_of(info)
    if not isinstance(found, dict) or (info.v2 is not None and found.keys() != wanted.keys()):
        raise _wrong("does not have the piece layers of its files, and no others")
    layers: dict[bytes, bytes] = {}
    for root, size in wanted.items():
        layer = found[root]
        if not isinstance(layer, bytes) or len(layer) != size:
            raise _wrong("has a piece layer that does not fit its file")
        check_layer(info, root, layer)
        layers[root] = layer
    return layers


def _urls(found: list[Value]) -> tuple[str, ...]:
    if len(found) > 16 * MAX_URLS:
        raise LimitError(f"{_WHAT} with {len(found)} URLs is over the limit")
    urls: dict[str, None] = {}
    for item in found:
        if isinstance(item, bytes) and 0 < len(item) <= MAX_URL and len(urls) < MAX_URLS:
            try:
                text = item.decode()
            except UnicodeDecodeError:
                continue
            if text.isprintable() and ":" in text and " " not in text:
                urls[text] = None
    return tuple(urls)


def _wrong(text: str) -> MalformedError:
    return MalformedError(
        f"{_WHAT} {text}", hint="Ask whoever made this torrent for a correct one."
    )
