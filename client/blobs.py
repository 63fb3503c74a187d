"""Content-addressed store of blobs on disk: one folder a blob, under the hex of its v2 hash.

    store/<v2>/content     the bytes, read-only
    store/<v2>/info        the info dictionary (see ``workunits.metainfo``)
    store/incoming/<id>/   what is being written; emptied at start

A blob appears by renaming a finished, synced folder, so a crash leaves nothing half-written under
its name. Methods block on the disk for as long as the bytes take: call ``adopt`` and ``commit`` of
large files in a thread. All methods may be called from any thread.
"""

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from threading import Lock, RLock
from typing import BinaryIO

from workunits.errors import LimitError, LocalError, MalformedError, SwarmError, UnavailableError
from workunits.ids import HASH_SIZE, BlobRef
from workunits.metainfo import MAX_INFO, Hasher, Metainfo, Readable, parse_info

CONTENT = "content"
INFO = "info"
INCOMING = "incoming"
LOCK = "lock"
_READ = 1024 * 1024
_RESERVE = 64 * 1024 * 1024
"""Free disk space in bytes that the store never uses up."""


class SpaceError(LocalError):
    """The blob is small enough, but there is no room for it now."""

    code = "space"


class BlobStore:
    """Blobs by reference, within a quota; the least recently used ones that nobody holds go first.

    Holds live in memory: whoever needs a blob holds it again after a restart, before anything new
    is stored.
    """

    def __init__(self, directory: Path, *, quota: int) -> None:
        """Open or make the store at ``directory``, of at most ``quota`` bytes of content.

        Raises ``LocalError`` when the folder cannot be used or another process has it open.
        """
        self._root = directory
        self._quota = quota
        self._mutex = RLock()
        self._entries: dict[BlobRef, Metainfo] = {}  # in order of last use, oldest first
        self._holds: dict[BlobRef, set[str]] = {}
        self._reserved = 0
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (directory / LOCK).open("ab")
        except OSError as error:
            raise _disk_error(error, directory) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise LocalError(
                f"another process uses the blob store {directory}",
                hint="Stop the other process or give this one a data folder of its own.",
            ) from None
        try:
            shutil.rmtree(directory / INCOMING, ignore_errors=True)
            (directory / INCOMING).mkdir(exist_ok=True)
            self._scan()
        except OSError as error:
            self._lock.close()
            raise _disk_error(error, directory) from None

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()

    def __enter__(self) -> "BlobStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading ----------------------------------------------------------------------------

    @property
    def quota(self) -> int:
        """Most bytes of content that the store keeps."""
        return self._quota

    @property
    def used(self) -> int:
        """Bytes of content in the store and promised to downloads under way."""
        with self._mutex:
            return sum(ref.length for ref in self._entries) + self._reserved

    def refs(self) -> tuple[BlobRef, ...]:
        """Every blob here, least recently used first."""
        with self._mutex:
            return tuple(self._entries)

    def info_of(self, ref: BlobRef) -> Metainfo | None:
        """The metainfo of a blob that is here."""
        return self._entries.get(ref)

    def path_of(self, ref: BlobRef) -> Path | None:
        """The file with the content, or None. Counts as a use. Never write to it."""
        with self._mutex:
            if ref not in self._entries:
                return None
            path = self._folder(ref) / CONTENT
            if not _is_plain(path, ref.length):
                self._forget(ref)  # somebody touched the folder: what is there is not the blob
                return None
            self._entries[ref] = self._entries.pop(ref)
            with suppress(OSError):
                os.utime(self._folder(ref) / INFO)
            return path

    def open(self, ref: BlobRef) -> BinaryIO:
        """Open the content for reading. Raises ``UnavailableError`` when it is not here."""
        path = self.path_of(ref)
        if path is None:
            raise _missing(ref)
        try:
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0)
        except OSError:
            raise _missing(ref) from None

    # -- holding ----------------------------------------------------------------------------

    def hold(self, ref: BlobRef, reason: str) -> None:
        """Keep ``ref`` from eviction until ``release`` with the same reason; may come before it."""
        with self._mutex:
            self._holds.setdefault(ref, set()).add(reason)

    def release(self, ref: BlobRef, reason: str) -> None:
        """End a hold; unknown ones are no error."""
        with self._mutex:
            reasons = self._holds.get(ref, set())
            reasons.discard(reason)
            if not reasons:
                self._holds.pop(ref, None)

    def holds(self, ref: BlobRef) -> frozenset[str]:
        """Why ``ref`` is kept."""
        with self._mutex:
            return frozenset(self._holds.get(ref, ()))

    # -- writing ----------------------------------------------------------------------------

    def add(self, data: bytes) -> BlobRef:
        """Store ``data``."""
        return self._copy(BytesIO(data), len(data))

    def adopt(self, path: Path) -> BlobRef:
        """Copy a regular file into the store, hashing on the way. Links are refused.

        Raises ``LocalError`` when the file cannot be read or changes meanwhile.
        """
        try:
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise LocalError(
                    f"{path} is a symbolic link", hint="Name the file that it points to."
                ) from None
            raise LocalError(
                f"cannot read {path}: {error.strerror}", hint="Check the path and its permissions."
            ) from None
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            os.close(number)
            raise LocalError(f"{path} is not a regular file", hint="Name a regular file.")
        with os.fdopen(number, "rb", buffering=0) as stream:
            try:
                return self._copy(stream, status.st_size)
            except MalformedError as error:
                raise LocalError(
                    f"{path} changed while it was read: {error.message}",
                    hint="Wait until nothing writes to the file and try again.",
                ) from None

    def begin(self, info: Metainfo) -> "Incoming":
        """Start to receive a blob piece by piece; room for all of it is set aside.

        Raises ``LimitError`` when it can never fit and ``SpaceError`` when it does not fit now.
        """
        return Incoming(self, info, self._start(info.length))

    def remove(self, ref: BlobRef) -> None:
        """Delete a blob, held or not."""
        with self._mutex:
            if ref in self._entries:
                self._forget(ref)

    # -- inside -----------------------------------------------------------------------------

    def _copy(self, source: Readable, length: int) -> BlobRef:
        folder = self._start(length)
        done = False
        try:
            hasher = Hasher(length)
            with self._writing(folder) as stream:
                while data := source.read(_READ):
                    hasher.update(data)
                    stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            info = hasher.finish().info
            self._publish(folder, info)
            done = True
        finally:
            if not done:
                self._discard(folder, length)
        return info.ref

    @contextmanager
    def _writing(self, folder: Path) -> Iterator[BinaryIO]:
        try:
            with (folder / CONTENT).open("wb", buffering=0) as stream:
                yield stream
        except OSError as error:
            raise _disk_error(error, folder) from None

    def _start(self, length: int) -> Path:
        """Set ``length`` bytes aside, evicting what must go, and make a folder to write in."""
        with self._mutex:
            if length > self._quota:
                raise LimitError(
                    f"a blob of {length} bytes is over the quota of {self._quota}",
                    hint="Raise the disk quota (--disk).",
                )
            over = self.used + length - self._quota
            victims = []
            for ref in self._entries:
                if over <= 0:
                    break
                if ref not in self._holds:
                    victims.append(ref)
                    over -= ref.length
            if over > 0:
                raise SpaceError(
                    f"no room for {length} bytes: what is stored is in use",
                    hint="Raise the disk quota (--disk) or wait until running jobs end.",
                )
            for ref in victims:
                self._forget(ref)
            free = shutil.disk_usage(self._root).free
            if free < length + _RESERVE:
                raise SpaceError(
                    f"the disk of {self._root} has {free} bytes left, too few for {length}",
                    hint="Free disk space or move the data folder to another disk.",
                )
            folder = self._root / INCOMING / secrets.token_hex(8)
            try:
                folder.mkdir()
            except OSError as error:
                raise _disk_error(error, folder) from None
            self._reserved += length
            return folder

    def _publish(self, folder: Path, info: Metainfo) -> Path:
        """Give a finished folder its name; its content is on disk already."""
        ref = info.ref
        try:
            with (folder / INFO).open("wb") as stream:
                stream.write(info.raw)
                stream.flush()
                os.fsync(stream.fileno())
            (folder / CONTENT).chmod(0o444)
            _sync_folder(folder)
            with self._mutex:
                if self.path_of(ref) is None:
                    shutil.rmtree(self._folder(ref), ignore_errors=True)
                    folder.rename(self._folder(ref))
                    self._entries[ref] = info
                    self._reserved -= ref.length
                else:
                    self._discard(folder, ref.length)
            _sync_folder(self._root)
        except OSError as error:
            raise _disk_error(error, folder) from None
        return self._folder(ref) / CONTENT

    def _discard(self, folder: Path, length: int) -> None:
        with self._mutex:
            self._reserved -= length
        shutil.rmtree(folder, ignore_errors=True)

    def _forget(self, ref: BlobRef) -> None:
        del self._entries[ref]
        # Renamed first, so that a crash in mid-delete leaves no damaged blob under its name.
        grave = self._root / INCOMING / secrets.token_hex(8)
        with suppress(OSError):
            self._folder(ref).rename(grave)
            shutil.rmtree(grave, ignore_errors=True)

    def _folder(self, ref: BlobRef) -> Path:
        return self._root / ref.v2.hex()

    def _scan(self) -> None:
        found: list[tuple[int, BlobRef, Metainfo]] = []
        with os.scandir(self._root) as entries:
            for entry in entries:
                if len(entry.name) != 2 * HASH_SIZE or not entry.is_dir(follow_symlinks=False):
                    continue
                folder = Path(entry.path)
                info = _read_info(folder)
                if info is None or info.ref.v2.hex() != entry.name:
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                used = (folder / INFO).stat(follow_symlinks=False).st_mtime_ns
                found.append((used, info.ref, info))
        self._entries = {ref: info for _, ref, info in sorted(found, key=lambda item: item[:2])}


class Incoming:
    """A blob that is being received. Reading works until ``close``, which always comes last."""

    def __init__(self, store: BlobStore, info: Metainfo, folder: Path) -> None:
        self.info = info
        self._store = store
        self._folder = folder
        self._mutex = Lock()  # ``close`` waits for a ``commit`` in another thread
        self._committed = False
        try:
            self._file: BinaryIO | None = (folder / CONTENT).open("x+b", buffering=0)
            self._file.truncate(info.length)
        except OSError as error:
            store._discard(folder, info.length)
            raise _disk_error(error, folder) from None

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write ``data`` at ``offset``. Raises ``LocalError`` when the disk fails."""
        try:
            os.pwrite(self._number(), data, offset)
        except OSError as error:
            raise _disk_error(error, self._folder) from None

    def read(self, offset: int, size: int) -> bytes:
        """Read back what was written. Raises ``LocalError`` when the disk fails."""
        try:
            return os.pread(self._number(), size, offset)
        except OSError as error:
            raise _disk_error(error, self._folder) from None

    def commit(self) -> Path:
        """Check the whole content against the v2 hash, sync it and give it its name.

        Blocks while all bytes are hashed. Raises ``MalformedError`` when the pieces fit their
        SHA-1 but the content is not the blob; ``close`` then forgets it.
        """
        with self._mutex:
            hasher = Hasher(self.info.length)
            for offset in range(0, self.info.length, _READ):
                hasher.update(self.read(offset, _READ))
            if hasher.finish().info.ref != self.info.ref:
                raise MalformedError(
                    f"the content of blob {self.info.ref} does not fit its v2 hash",
                    hint="Whoever named this blob made a bad torrent; ask for another one.",
                )
            try:
                os.fsync(self._number())
            except OSError as error:
                raise _disk_error(error, self._folder) from None
            path = self._store._publish(self._folder, self.info)
            self._committed = True
            return path

    def close(self) -> None:
        """End the download; what was not committed is forgotten and its room given back."""
        with self._mutex:
            file, self._file = self._file, None
            if file is not None:
                file.close()
                if not self._committed:
                    self._store._discard(self._folder, self.info.length)

    def _number(self) -> int:
        if self._file is None:
            raise UnavailableError("the download has ended", hint="Fetch the blob again.")
        return self._file.fileno()


def _read_info(folder: Path) -> Metainfo | None:
    try:
        with (folder / INFO).open("rb") as stream:
            info = parse_info(stream.read(MAX_INFO + 1))
    except (OSError, SwarmError):
        return None
    plain = _is_plain(folder / INFO, len(info.raw)) and _is_plain(folder / CONTENT, info.length)
    return info if plain else None


def _is_plain(path: Path, size: int) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def _sync_folder(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _missing(ref: BlobRef) -> UnavailableError:
    return UnavailableError(f"blob {ref} is not in the store", hint="Fetch it first.")


def _disk_error(error: OSError, path: Path) -> LocalError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpaceError(
            f"the disk of {path} is full",
            hint="Free disk space or move the data folder to another disk.",
        )
    return LocalError(
        f"cannot use the blob store at {path}: {error.strerror or error}",
        hint="Check that the folder exists, is yours and its disk works.",
    )
