"""Results on disk between the commit and the reveal, in a few append-only files.

What a peer committed to it must be able to show, also after it was killed. A record is

    length (4 bytes, big-endian), CRC-32 of the body (4 bytes), body

and its body is the canonical bencoding of an entry, or the bare token (an integer) of one that is
no longer needed. Threads that write at the same moment share one sync.
"""

import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO
from zlib import crc32

from workunits import canonical
from workunits.canonical import Fields
from workunits.errors import LocalError, MalformedError, SwarmError
from workunits.ids import JobId, LeaseToken, UnitId
from workunits.manifest import MAX_NUMERIC_OUTPUT, MAX_OUTPUTS
from workunits.results import MAX_RESULT, Result

_SUFFIX = ".results"
_HEAD = struct.Struct(">II")
_MAX_BODY = MAX_NUMERIC_OUTPUT + MAX_RESULT + 4096
_SEGMENT = 4 << 20
"""Bytes after which the next file is begun."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A computed unit: its result manifest, and its outputs if they travel inline."""

    token: LeaseToken
    unit: UnitId
    result: bytes
    contents: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The body of its record."""
        return canonical.encode(
            {
                "contents": list(self.contents),
                "index": self.unit.index,
                "job": self.unit.job,
                "result": self.result,
                "token": self.token,
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Entry":
        """Read a body strictly; raises ``RemoteError``."""
        return cls._read(canonical.decode_fields(raw, limit=_MAX_BODY, what="kept result"))

    @classmethod
    def _read(cls, fields: Fields) -> "Entry":
        entry = cls(
            LeaseToken(fields.integer("token")),
            UnitId(JobId(fields.octets("job", length=32)), fields.integer("index")),
            fields.octets("result", limit=MAX_RESULT),
            fields.blocks("contents", MAX_OUTPUTS, MAX_NUMERIC_OUTPUT),
        )
        fields.end()
        Result.parse(entry.result)
        return entry


@dataclass(slots=True, eq=False)
class _Segment:
    """One file; ``live`` of its entries are still needed."""

    path: Path
    live: int = 0
    size: int = 0


class Stash:
    """Entries in a folder. All methods may be called from any thread; ``put`` and ``get`` block.

    Raises ``LocalError`` when the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder; what it holds is found by ``load``."""
        self._folder = folder
        self._mutex = Lock()
        self._writing = Lock()
        self._queue: list[Entry | LeaseToken] = []
        self._places: dict[LeaseToken, tuple[_Segment, int, int]] = {}
        self._segment: _Segment | None = None
        self._file: BinaryIO | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _disk_error(folder, error) from None

    def load(self) -> tuple[list[Entry], int]:
        """Every entry that is needed, and how many records could not be read."""
        entries: dict[LeaseToken, Entry] = {}
        broken = 0
        try:
            segments = [_Segment(path) for path in sorted(self._folder.glob("*" + _SUFFIX))]
            for segment in segments:
                broken += self._scan(segment, segment.path.read_bytes(), entries)
            for segment in segments:
                if not segment.live:
                    segment.path.unlink(missing_ok=True)
        except OSError as error:
            raise _disk_error(self._folder, error) from None
        return [entries[token] for token in entries if token in self._places], broken

    def put(self, entry: Entry) -> None:
        """Keep ``entry``; it is on disk when this returns. Raises ``LocalError``."""
        with self._mutex:
            self._queue.append(entry)
        with self._writing:
            with self._mutex:
                if entry.token in self._places:
                    return  # whoever wrote before us took it along
                batch, self._queue = self._queue, []
            try:
                self._write(batch)
            except OSError as error:
                self._abandon()
                # The others of this batch are not there either: each of them tries for itself.
                with self._mutex:
                    self._queue += [each for each in batch if each is not entry]
                raise _disk_error(self._folder, error) from None

    def get(self, token: LeaseToken) -> Entry | None:
        """The entry of ``token``, if it is there and whole."""
        with self._mutex:
            place = self._places.get(token)
        if place is None:
            return None
        segment, offset, length = place
        try:
            with segment.path.open("rb") as file:
                file.seek(offset)
                return Entry.parse(_checked(file.read(length)))
        except (OSError, SwarmError):
            return None

    def remove(self, token: LeaseToken) -> None:
        """Forget ``token``; unknown ones are no error.

        Not synced: after a crash it may be there again, and the tracker will not know it.
        """
        with self._mutex:
            place = self._places.pop(token, None)
            if place is None:
                return
            segment = place[0]
            segment.live -= 1
            if segment.live or segment is self._segment:
                self._queue.append(token)
            else:
                with suppress(OSError):
                    segment.path.unlink()

    def close(self) -> None:
        """Let go of the open file. Whatever is not needed is removed."""
        with self._writing:
            with self._mutex:
                batch, self._queue = self._queue, []
            with suppress(OSError):
                self._write(batch)
            self._abandon()

    # -- inside -----------------------------------------------------------------------------

    def _write(self, batch: list[Entry | LeaseToken]) -> None:
        """Append ``batch`` and sync it."""
        if not batch:
            return
        segment, file = self._open()
        start = segment.size
        places = []
        blocks = []
        for each in batch:
            body = each.encode() if isinstance(each, Entry) else canonical.encode(each)
            record = _HEAD.pack(len(body), crc32(body)) + body
            if isinstance(each, Entry):
                places.append((each.token, start, len(record)))
            blocks.append(record)
            start += len(record)
        file.write(b"".join(blocks))
        file.flush()
        os.fsync(file.fileno())
        with self._mutex:
            segment.size = start
            segment.live += len(places)
            for token, offset, length in places:
                self._places[token] = (segment, offset, length)
        if segment.size >= _SEGMENT:
            self._abandon()

    def _open(self) -> tuple[_Segment, BinaryIO]:
        if self._segment is None or self._file is None:
            last = max((int(path.stem, 16) for path in self._folder.glob("*" + _SUFFIX)), default=0)
            path = self._folder / f"{last + 1:08x}{_SUFFIX}"
            self._file = path.open("xb")
            self._segment = _Segment(path)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return self._segment, self._file

    def _abandon(self) -> None:
        """Write no more to the open file."""
        with self._mutex:
            segment, self._segment = self._segment, None
            file, self._file = self._file, None
        with suppress(OSError):
            if file is not None:
                file.close()
            if segment is not None and not segment.live:
                segment.path.unlink()

    def _scan(self, segment: _Segment, raw: bytes, entries: dict[LeaseToken, Entry]) -> int:
        """Take the records of one file; what follows a broken length cannot be found."""
        at = broken = 0
        while at < len(raw):
            length = _HEAD.size
            try:
                size, _ = _HEAD.unpack_from(raw, at)
                length += size
                value = canonical.decode(
                    _checked(raw[at : at + length]), limit=_MAX_BODY, what="kept result"
                )
                if isinstance(value, int):
                    self._unplace(LeaseToken(value))
                else:
                    entry = Entry._read(Fields.of(value, "kept result"))
                    self._unplace(entry.token)
                    self._places[entry.token] = (segment, at, length)
                    segment.live += 1
                    entries[entry.token] = entry
            except (struct.error, SwarmError):
                broken += 1
            at += length
        return broken

    def _unplace(self, token: LeaseToken) -> None:
        place = self._places.pop(token, None)
        if place is not None:
            place[0].live -= 1


def _checked(record: bytes) -> bytes:
    if len(record) < _HEAD.size:
        raise MalformedError("a kept result was cut off")
    size, checksum = _HEAD.unpack_from(record)
    body = record[_HEAD.size :]
    if len(body) != size or crc32(body) != checksum:
        raise MalformedError("a kept result was damaged")
    return body


def _disk_error(folder: Path, error: OSError) -> LocalError:
    return LocalError(
        f"cannot keep results in {folder}: {error.strerror or error}",
        hint="Free disk space, and check that the folder is yours.",
    )
