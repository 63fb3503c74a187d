"""What files hashed to, remembered so that seeding them again does not read them again.

One file a path, ``CACHE/hashes/<hash of the path>``: a fingerprint of what the files looked like
(sizes, times, inodes) and the torrent that came of them. It may be deleted at any time.
"""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from client.disk import replace_file
from workunits.canonical import decode_fields, encode
from workunits.errors import SwarmError
from workunits.ids import HASH_SIZE
from workunits.torrent_files import (
    MAX_FILE,
    TorrentDocument,
    encode_torrent_file,
    parse_torrent_file,
)

MOST = 500
"""Torrents that are remembered; the oldest go first."""

_MAX_ENTRY = MAX_FILE + 8192


class Hashes:
    """The torrents of paths, by what the files looked like."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is made when something is put into it."""
        self._folder = folder

    def get(self, path: Path, fingerprint: bytes) -> TorrentDocument | None:
        """What ``path`` hashed to when it looked like ``fingerprint`` (32 bytes)."""
        try:
            with self._place(path).open("rb") as stream:
                raw = stream.read(_MAX_ENTRY + 1)
            fields = decode_fields(raw, limit=_MAX_ENTRY, what="remembered hash")
            if fields.octets("fingerprint", length=HASH_SIZE) != fingerprint:
                return None
            return parse_torrent_file(fields.octets("torrent", limit=MAX_FILE))
        except (OSError, SwarmError):
            return None

    def put(self, path: Path, fingerprint: bytes, document: TorrentDocument) -> None:
        """Remember it. What fails is let be."""
        entry = {"fingerprint": fingerprint, "torrent": encode_torrent_file(document)}
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._place(path), encode(entry))
            self._prune()

    def _place(self, path: Path) -> Path:
        return self._folder / sha256(str(path).encode(errors="surrogateescape")).hexdigest()

    def _prune(self) -> None:
        found = sorted(self._folder.iterdir(), key=lambda each: each.stat().st_mtime)
        for each in found[:-MOST]:
            each.unlink()
