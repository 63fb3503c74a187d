"""Content-addressed store of blobs on disk: one folder a blob, under the hex of its v2 hash.

    store/<v2>/content     the bytes, read-only
    store/<v2>/info        the info dictionary (see ``workunits.metainfo``)
    store/incoming/        what is being written; what was received so far survives (``incoming``)
    store/holds            why blobs are kept, for people (``holds``)

A blob appears by renaming a finished, synced folder, so a crash leaves nothing half-written under
its name. Methods block on the disk for as long as the bytes take: call ``adopt`` and ``commit`` of
large files in a thread. All methods may be called from any thread.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import BinaryIO

from client.disk import (
    SpaceError,
    disk_error,
    is_plain,
    lock_folder,
    open_regular,
    sync_folder,
    write_synced,
)
from client.holds import Holds
from client.incoming import CONTENT, INFO, JOURNAL, LAYER, Incoming
from client.inventory import INCOMING, named_in, parts_in, stored_in
from client.syncer import PAUSE, Syncer
from workunits.errors import LimitError, LocalError, MalformedError, UnavailableError
from workunits.ids import HASH_SIZE, BlobRef
from workunits.metainfo import LEAF_SIZE, Hasher, Metainfo, Readable, layer_root

_READ = 1024 * 1024
_RESERVE = 64 * 1024 * 1024
"""Free disk space in bytes that the store never uses up."""

EXPIRY = 7 * 86400.0
"""Seconds after which a download that nobody went on with is forgotten."""


@dataclass(slots=True)
class _Part:
    """A download that has begun."""

    info: Metainfo
    used: float
    kept: int
    active: Incoming | None = None


class BlobStore:
    """Blobs by reference, within a quota; the least recently used ones that nobody holds go first.

    Holds live in memory: whoever needs a blob holds it again after a restart, before anything new
    is stored.
    """

    def __init__(
        self,
        directory: Path,
        *,
        quota: int | None,
        clock: Callable[[], float] = time.time,
        pause: float = PAUSE,
    ) -> None:
        """Open or make the store at ``directory``, of at most ``quota`` bytes of content.

        Without ``quota`` it is what it was before. ``clock`` gives Unix seconds; ``pause`` is how
        many seconds of a download one sync covers.

        Raises ``LocalError`` when the folder cannot be used or another process has it open.
        """
        self._root = directory
        self._clock = clock
        self._mutex = RLock()
        self._entries: dict[BlobRef, Metainfo] = {}  # in order of last use, oldest first
        self._parts: dict[BlobRef, _Part] = {}
        self._reserved = self._claimed = 0
        self._closed = False
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise disk_error(error, directory) from None
        self._lock = lock_folder(directory)
        try:
            (directory / INCOMING).mkdir(exist_ok=True)
            self._scan()
        except OSError as error:
            self._lock.close()
            raise disk_error(error, directory) from None
        self._syncer = Syncer(pause)
        self._holds = Holds(directory, quota, self._syncer)
        self._quota = self._holds.quota

    def close(self) -> None:
        """Put on disk what was kept, and let another process have the folder."""
        self._syncer.close()
        with self._mutex:
            self._closed = True
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
        """Bytes in the store and set aside: for downloads, also unfinished ones, and elsewhere."""
        with self._mutex:
            parts = sum(ref.length for ref in self._parts)
            return sum(ref.length for ref in self._entries) + parts + self._reserved + self._claimed

    def room(self) -> int:
        """Bytes that one new blob could take now, when all that may go makes room for it."""
        with self._mutex:
            try:
                free = shutil.disk_usage(self._root).free - _RESERVE - self._unwritten()
            except OSError as error:
                raise disk_error(error, self._root) from None
            idle = [ref for ref in self._idle() if ref not in self._holds]
            unheld = sum(ref.length for ref in self._entries if ref not in self._holds)
            by_disk = free + unheld + sum(self._parts[ref].kept for ref in idle)
            by_quota = self._quota - self.used + unheld + sum(ref.length for ref in idle)
            return max(0, min(by_disk, by_quota))

    def refs(self) -> tuple[BlobRef, ...]:
        """Every blob here, least recently used first."""
        with self._mutex:
            return tuple(self._entries)

    def info_of(self, ref: BlobRef) -> Metainfo | None:
        """The metainfo of a blob that is here."""
        return self._entries.get(ref)

    def parts(self) -> dict[BlobRef, int]:
        """Downloads that have begun, and the bytes of each that are here."""
        with self._mutex:
            return {
                ref: part.active.kept if part.active else part.kept
                for ref, part in self._parts.items()
            }

    def part_info_of(self, ref: BlobRef) -> Metainfo | None:
        """The metainfo of a blob of which a part is here."""
        part = self._parts.get(ref)
        return part.info if part is not None else None

    def part_folder(self, ref: BlobRef) -> Path:
        """Where the first download of ``ref`` at a time writes, also before ``begin``."""
        return self._root / INCOMING / str(ref)

    def path_of(self, ref: BlobRef) -> Path | None:
        """The file with the content, or None. Counts as a use. Never write to it."""
        with self._mutex:
            if ref not in self._entries:
                return None
            path = self._folder(ref) / CONTENT
            if not is_plain(path, ref.length):
                self._forget(ref)  # somebody touched the folder: what is there is not the blob
                return None
            self._entries[ref] = self._entries.pop(ref)
            with suppress(OSError):
                os.utime(self._folder(ref) / INFO)
            return path

    def digests_of(self, ref: BlobRef) -> bytes:
        """The roots of the SHA-256 trees of the pieces of a blob that is here, in order, 32 bytes
        each; empty where they cannot be read, or do not lead to its root."""
        info = self._entries.get(ref)
        if info is None or info.count <= 1:
            return info.root if info is not None else b""
        try:
            layer = (self._folder(ref) / LAYER).read_bytes()
        except OSError:
            return b""
        whole = len(layer) == info.count * HASH_SIZE
        if whole and layer_root(layer, info.piece_length // LEAF_SIZE) == info.root:
            return layer
        return b""

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
        self._holds.add(ref, reason)

    def release(self, ref: BlobRef, reason: str) -> None:
        """End a hold; unknown ones are no error."""
        self._holds.discard(ref, reason)

    def holds(self, ref: BlobRef) -> frozenset[str]:
        """Why ``ref`` is kept."""
        return self._holds.of(ref)

    def claim(self, size: int) -> None:
        """Count ``size`` bytes kept elsewhere as used, in place of an earlier claim; what nobody
        holds goes for them. Raises like ``begin`` when they do not fit."""
        with self._mutex:
            if size > self._claimed:
                self._make_room(size - self._claimed)
            self._claimed = size
        self._holds.claim(size)

    # -- writing ----------------------------------------------------------------------------

    def add(self, data: bytes) -> BlobRef:
        """Store ``data``."""
        return self._copy(BytesIO(data), len(data))

    def adopt(self, path: Path) -> BlobRef:
        """Copy a regular file into the store, hashing on the way. Links are refused.

        Raises ``LocalError`` when the file cannot be read or changes meanwhile.
        """
        with open_regular(path) as stream:
            try:
                return self._copy(stream, os.fstat(stream.fileno()).st_size)
            except MalformedError as error:
                raise LocalError(
                    f"{path} changed while it was read: {error.message}",
                    hint="Wait until nothing writes to the file and try again.",
                ) from None

    def begin(self, info: Metainfo) -> "Incoming":
        """Receive a blob piece by piece, from where the last time ended.

        Room for all of it is set aside until it is discarded or evicted. Only the first of several
        downloads of one blob at the same time can be gone on with later.

        Raises ``LimitError`` when it can never fit and ``SpaceError`` when it does not fit now.
        """
        while True:
            with self._mutex:
                part = self._parts.get(info.ref)
                if part is None or part.active is None or not part.active.closing:
                    return self._begin(info, part)
                ending = part.active
            ending.wait()

    def remove(self, ref: BlobRef) -> None:
        """Delete a blob, held or not, or the part of it that is here and not being added to."""
        with self._mutex:
            if ref in self._entries:
                self._forget(ref)
            if ref in self._idle():
                self._drop(ref)

    # -- inside -----------------------------------------------------------------------------

    def _copy(self, source: Readable, length: int) -> BlobRef:
        with self._mutex:
            self._make_room(length)
            self._reserved += length
        folder = self._root / INCOMING / secrets.token_hex(8)
        done = False
        try:
            hasher = Hasher(length)
            with self._writing(folder) as stream:
                while data := source.read(_READ):
                    hasher.update(data)
                    stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            torrent = hasher.finish()
            if torrent.layer:
                write_synced(folder / LAYER, torrent.layer)
            info = torrent.info
            self._publish(folder, info)
            done = True
        finally:
            if not done:
                self._discard(folder, length)
        return info.ref

    @contextmanager
    def _writing(self, folder: Path) -> Iterator[BinaryIO]:
        try:
            folder.mkdir()
            with (folder / CONTENT).open("wb", buffering=0) as stream:
                yield stream
        except OSError as error:
            raise disk_error(error, folder) from None

    def _begin(self, info: Metainfo, part: _Part | None) -> Incoming:
        """``part`` is what is known of the blob; it is not about to end."""
        ref = info.ref
        lasting = part is None or part.active is None
        if part is None or not lasting:
            self._make_room(info.length)
        folder = self._root / INCOMING / (str(ref) if lasting else secrets.token_hex(8))
        try:
            folder.mkdir(exist_ok=True)
            incoming = Incoming(
                *(info, folder, self._syncer),
                lasting=lasting,
                publish=partial(self._publish, folder, info),
                ended=partial(self._ended, folder),
            )
        except OSError as error:
            # Whatever is wrong with what is there: the next time begins anew.
            self._bury(folder)
            if lasting:
                self._parts.pop(ref, None)
            raise disk_error(error, folder) from None
        if lasting:
            self._parts[ref] = _Part(info, self._clock(), incoming.kept, incoming)
        else:
            self._reserved += info.length
        return incoming

    def _ended(self, folder: Path, incoming: Incoming, forget: bool) -> None:
        ref = incoming.info.ref
        with self._mutex:
            if self._closed:
                return  # the folder may be another process's by now
            part = self._parts.get(ref)
            if part is None or part.active is not incoming:
                if forget:
                    self._discard(folder, ref.length)
                return
            part.active, part.kept, part.used = None, incoming.kept, self._clock()
            if forget or ref in self._entries:
                self._drop(ref)

    def _make_room(self, length: int) -> None:
        """Evict what must go for ``length`` more bytes."""
        if length > self._quota:
            raise LimitError(
                f"a blob of {length} bytes is over the quota of {self._quota}",
                hint="Raise the disk quota (--disk).",
            )
        self._expire()
        over = self.used + length - self._quota
        victims = []
        for ref in [*self._idle(), *self._entries]:
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
            if ref in self._entries:
                self._forget(ref)
            else:
                self._drop(ref)
        try:
            free = shutil.disk_usage(self._root).free
        except OSError as error:
            raise disk_error(error, self._root) from None
        if free < length + _RESERVE + self._unwritten():
            raise SpaceError(
                f"the disk of {self._root} has {free} bytes left, too few for {length}",
                hint="Free disk space or move the data folder to another disk.",
            )

    def _idle(self) -> list[BlobRef]:
        """Downloads that nobody goes on with now, oldest first."""
        idle = [(part.used, ref) for ref, part in self._parts.items() if part.active is None]
        return [ref for _, ref in sorted(idle)]

    def _unwritten(self) -> int:
        """Bytes that downloads under way will still write."""
        active = [part.active for part in self._parts.values() if part.active is not None]
        return sum(each.info.length - each.kept for each in active)

    def _expire(self) -> None:
        limit = self._clock() - EXPIRY
        for ref in self._idle():
            if self._parts[ref].used < limit and ref not in self._holds:
                self._drop(ref)

    def _publish(self, folder: Path, info: Metainfo) -> Path:
        """Give a finished folder its name; its content is on disk already."""
        ref = info.ref
        try:
            write_synced(folder / INFO, info.raw)
            (folder / CONTENT).chmod(0o444)
            sync_folder(folder)
            with self._mutex:
                if self.path_of(ref) is None:
                    shutil.rmtree(self._folder(ref), ignore_errors=True)
                    folder.rename(self._folder(ref))
                    self._entries[ref] = info
                    self._settle(folder, ref)
                    with suppress(OSError):
                        (self._folder(ref) / JOURNAL).unlink(missing_ok=True)
                else:
                    self._settle(folder, ref)
                    self._bury(folder)
            sync_folder(self._root)
        except OSError as error:
            raise disk_error(error, folder) from None
        return self._folder(ref) / CONTENT

    def _settle(self, folder: Path, ref: BlobRef) -> None:
        """What was set aside for the download in ``folder`` is not any more."""
        if folder.name == str(ref):
            self._parts.pop(ref, None)
        else:
            self._reserved -= ref.length

    def _discard(self, folder: Path, length: int) -> None:
        with self._mutex:
            self._reserved -= length
        shutil.rmtree(folder, ignore_errors=True)

    def _drop(self, ref: BlobRef) -> None:
        """Forget an unfinished download."""
        del self._parts[ref]
        self._bury(self._root / INCOMING / str(ref))

    def _forget(self, ref: BlobRef) -> None:
        del self._entries[ref]
        self._bury(self._folder(ref))

    def _bury(self, folder: Path) -> None:
        """Delete a folder; renamed first, so that a crash leaves no damaged one by its name."""
        grave = self._root / INCOMING / secrets.token_hex(8)
        with suppress(OSError):
            folder.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)

    def _folder(self, ref: BlobRef) -> Path:
        return self._root / ref.v2.hex()

    def _scan(self) -> None:
        """Find what is here, and delete what is no blob and no download to go on with."""
        self._entries = {each.ref: each.info for each in stored_in(self._root)}
        for path in named_in(self._root):
            if path.name not in set(map(str, self._entries)):
                shutil.rmtree(path, ignore_errors=True)
        for each in parts_in(self._root):
            if each.kept and each.ref not in self._entries:
                self._parts[each.ref] = _Part(each.info, each.used, each.kept)
        self._expire()
        names = set(map(str, self._parts))
        with os.scandir(self._root / INCOMING) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    Path(entry.path).unlink()
                elif entry.name not in names:
                    shutil.rmtree(entry.path, ignore_errors=True)


def _missing(ref: BlobRef) -> UnavailableError:
    return UnavailableError(f"blob {ref} is not in the store", hint="Fetch it first.")
