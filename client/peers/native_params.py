"""What libtorrent is told of a torrent that it is given."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import libtorrent

from client.peers.addresses import Reachable, Zone, zone_of
from client.peers.network import Network, TcpPolicy
from workunits.errors import MalformedError
from workunits.ids import BlobRef
from workunits.links import Target
from workunits.metainfo import Metainfo

CONTENT = "content"
FLAGS = libtorrent.torrent_flags
SEED = FLAGS.upload_mode | FLAGS.no_verify_files
"""Content of ours was checked when it came. libtorrent must never mend it: others read it too."""


def params_of(
    v1: bytes | None,
    v2: bytes | None,
    folder: Path,
    trackers: list[str],
    *,
    raw: bytes | None = None,
    layers: Mapping[bytes, bytes] | None = None,
) -> Any:
    """A torrent by its hashes, or with its metainfo ``raw`` and its piece ``layers`` by root.

    Raises ``MalformedError``.
    """
    if raw is not None:
        params = _load(raw, layers or {})
    else:
        params = libtorrent.add_torrent_params()
        halves: list[Any] = [libtorrent.sha1_hash(v1)] if v1 else []
        halves += [libtorrent.sha256_hash(v2)] if v2 else []
        params.info_hashes = libtorrent.info_hash_t(*halves)
    params.save_path = str(folder)
    params.trackers = trackers
    params.flags = FLAGS.disable_dht | FLAGS.apply_ip_filter
    return params


def params_of_blob(
    ref: BlobRef,
    folder: Path,
    trackers: list[str],
    info: Metainfo | None = None,
    *,
    digests: bytes = b"",
) -> Any:
    """The same for a blob below ``folder``; ``digests`` are those of its pieces."""
    raw = info.raw if info is not None else None
    # A layer of one piece is no layer (BEP 52).
    layers = {info.root: digests} if info is not None and digests and info.count > 1 else None
    params = params_of(ref.v1, ref.v2, folder, trackers, raw=raw, layers=layers)
    params.renamed_files = {0: CONTENT}
    return params


def resume(params: Any, have: Collection[int], count: int) -> None:
    """Say which of ``count`` pieces are there, so that it does not look."""
    params.have_pieces = [piece in have for piece in range(count)]
    params.flags |= FLAGS.no_verify_files


def extend(params: Any, target: Target, network: Network) -> None:
    """Add what a link says of where else to look, as far as ``network`` lets it know of us."""
    known = target.known
    told = (*target.trackers, *(known.trackers if known else ()))
    params.trackers = [*params.trackers, *(url for url in told if _serves(url, network))]
    params.url_seeds = [*target.webseeds, *(known.webseeds if known else ())]


def _serves(url: str, network: Network) -> bool:
    """Whether a tracker is of use: over HTTP and UDP it tells others where to dial us."""
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss") or network.tcp is TcpPolicy.ALWAYS:
        return True
    host = parts.hostname or ""
    zone = Zone.HOST if host == "localhost" else zone_of(host)
    return network.dials and Reachable(zone).local


def place(params: Any, places: Sequence[Sequence[str]]) -> None:
    """Say where the files go; padding is no file."""
    info = params.ti
    files = info.layout() if hasattr(info, "layout") else info.files()  # from 2.1, and before
    real = [
        index
        for index in range(files.num_files())
        if not files.file_flags(index) & libtorrent.file_flags_t.flag_pad_file
    ]
    params.renamed_files = {
        index: "/".join(parts) for index, parts in zip(real, places, strict=True)
    }


def _load(raw: bytes, layers: Mapping[bytes, bytes]) -> Any:
    """Parameters with metainfo; ``layers`` are piece layers by pieces root."""
    found = sorted(layers.items())
    entries = b"".join(b"32:%b%d:%b" % (root, len(layer), layer) for root, layer in found)
    try:
        if entries:
            torrent = b"d4:info%b12:piece layersd%bee" % (raw, entries)
            return libtorrent.load_torrent_buffer(torrent)
        params = libtorrent.add_torrent_params()
        params.ti = libtorrent.torrent_info(b"d4:info%be" % raw)
    except RuntimeError as error:
        raise MalformedError(
            f"libtorrent does not take the metainfo: {error}", hint="Ask for another torrent."
        ) from None
    return params
