"""Which pieces of a download are on disk: a file that is only ever appended to.

    magic (16 bytes), salt (16), v2 hash of the blob (32), CRC-32 of all that (4)
    record after record: piece (4, big-endian), root of its SHA-256 tree (32), CRC-32 (4)

The CRC of a record covers the salt too, so that a record of another journal, which a file system
may leave behind after a power loss, is not taken for one of this. What follows the first record
that is not whole is cut off.
"""

import os
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

from workunits.ids import HASH_SIZE

MAGIC = b"swarm journal 1\n"
SALT_SIZE = 16
_HEAD = struct.Struct(f">{len(MAGIC)}s{SALT_SIZE}s{HASH_SIZE}sI")
_RECORD = struct.Struct(f">I{HASH_SIZE}sI")
_UNKNOWN = bytes(HASH_SIZE)

Kept = tuple[int, bytes]
"""A piece, and the root of its SHA-256 tree (32 bytes; empty when nobody computed it)."""


def _limit(count: int) -> int:
    """Most bytes of the journal of ``count`` pieces, some of them fetched again and again."""
    return _HEAD.size + 4 * max(count, 1) * _RECORD.size


def encode_head(v2: bytes, salt: bytes) -> bytes:
    """The start of the journal of the blob ``v2``."""
    body = MAGIC + salt + v2
    return body + crc32(body).to_bytes(4, "big")


def encode_record(salt: bytes, kept: Kept) -> bytes:
    """One record."""
    piece, digest = kept
    check = crc32(struct.pack(">I", piece) + (digest or _UNKNOWN), crc32(salt))
    return _RECORD.pack(piece, digest or _UNKNOWN, check)


def parse_journal(raw: bytes, v2: bytes, count: int) -> tuple[bytes, dict[int, bytes], int] | None:
    """The salt, the pieces that are on disk with their digests, and how many bytes are whole.

    None when it is not the journal of blob ``v2`` with ``count`` pieces.
    """
    if len(raw) < _HEAD.size:
        return None
    magic, salt, name, check = _HEAD.unpack_from(raw)
    if magic != MAGIC or name != v2 or check != crc32(raw[: _HEAD.size - 4]):
        return None
    pieces: dict[int, bytes] = {}
    at = _HEAD.size
    while at + _RECORD.size <= len(raw):
        piece, digest, check = _RECORD.unpack_from(raw, at)
        if check != crc32(raw[at : at + _RECORD.size - 4], crc32(salt)) or piece >= count:
            break
        pieces[piece] = b"" if digest == _UNKNOWN else digest
        at += _RECORD.size
    return salt, pieces, at


def read_journal(path: Path, v2: bytes, count: int) -> dict[int, bytes] | None:
    """The pieces that a journal names; None when it cannot be read or is another's."""
    try:
        with path.open("rb") as stream:
            found = parse_journal(stream.read(_limit(count)), v2, count)
    except OSError:
        return None
    return found[1] if found is not None else None


class Journal:
    """A journal that is being written. All methods raise ``OSError``."""

    def __init__(self, number: int, salt: bytes, end: int) -> None:
        self._number = number
        self._salt = salt
        self._end = end

    @classmethod
    def create(cls, path: Path, v2: bytes) -> "Journal":
        """Begin a journal; it is on disk after the first ``append`` and a sync of its folder."""
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        salt = secrets.token_bytes(SALT_SIZE)
        try:
            end = os.pwrite(number, encode_head(v2, salt), 0)
        except OSError:
            os.close(number)
            raise
        return cls(number, salt, end)

    @classmethod
    def resume(cls, path: Path, v2: bytes, count: int) -> tuple["Journal", dict[int, bytes]]:
        """Go on with a journal, and the pieces that it names; a torn tail is cut off."""
        number = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = parse_journal(os.pread(number, _limit(count), 0), v2, count)
            if found is None:
                raise OSError("it is not the journal of this blob")
            salt, pieces, end = found
            os.ftruncate(number, end)
            os.utime(number)
        except OSError:
            os.close(number)
            raise
        return cls(number, salt, end), pieces

    def append(self, kept: Iterable[Kept]) -> None:
        """Record pieces whose bytes are on disk; the records are when this returns."""
        data = b"".join(encode_record(self._salt, each) for each in kept)
        # Where it belongs, not at the end: what a failed write left there is overwritten.
        written = os.pwrite(self._number, data, self._end)
        os.fdatasync(self._number)
        if written < len(data):
            raise OSError("the disk took only a part of the journal")
        self._end += written

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._number)
