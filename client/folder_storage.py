"""The content of one torrent in files where people want them: fetched, or served as they are."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from client.anchor import Anchor, Parts, folder_error
from client.journal import Journal, Kept
from client.keeper import Keeper
from client.syncer import Syncer
from workunits.errors import LocalError, MalformedError, UnavailableError
from workunits.metainfo import LEAF_SIZE, layer_root
from workunits.torrents import Span, TorrentInfo, piece_root

MAX_OPEN = 64
"""Files of one torrent that are open at once."""


@dataclass(slots=True)
class _Handle:
    number: int
    writable: bool
    users: int = 0
    stale: bool = False


class Files:
    """The files of one torrent, few of them open at a time. Methods may run in any thread.

    All of them raise ``LocalError``.
    """

    def __init__(self, anchor: Anchor, info: TorrentInfo, places: Sequence[Parts]) -> None:
        self.anchor = anchor
        self.places = places
        self._info = info
        self._mutex = Lock()
        self._open: OrderedDict[int, _Handle] = OrderedDict()
        self._closed = False

    def read(self, offset: int, size: int, *, short: bool = False) -> bytes:
        """Bytes of the stream; padding is zeros, and with ``short`` what is beyond a file's end.

        A file that is shorter than it should be is an error otherwise.
        """
        parts = []
        for span in self._info.spans(offset, size):
            if span.file is None:
                parts.append(bytes(span.size))
                continue
            with self._using(span.file, writable=False) as number:
                data = os.pread(number, span.size, span.offset)
            if len(data) < span.size and not short:
                raise LocalError(
                    f"{self.anchor.place(self.places[span.file])} has become shorter",
                    hint="Seed it again: it is not what it was.",
                )
            parts.append(data.ljust(span.size, b"\0"))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: bytes | memoryview) -> set[int]:
        """Write part of the stream; the files that it went to."""
        view = memoryview(data)
        touched = set()
        for span in self._info.spans(offset, len(view)):
            part, view = view[: span.size], view[span.size :]
            if span.file is None:
                continue
            with self._using(span.file, writable=True) as number:
                at = span.offset
                while part:
                    done = os.pwrite(number, part, at)
                    part, at = part[done:], at + done
            touched.add(span.file)
        return touched

    def sync(self, index: int) -> None:
        """Put the content of a file on disk."""
        with self._using(index, writable=False) as number:
            os.fsync(number)

    def close(self) -> None:
        """Let go of all files. May be called again."""
        with self._mutex:
            self._closed = True
            for handle in self._open.values():
                handle.stale = True
                if not handle.users:
                    os.close(handle.number)
            self._open.clear()
        self.anchor.close()

    @contextmanager
    def _using(self, index: int, *, writable: bool) -> Iterator[int]:
        handle = self._take(index, writable=writable)
        try:
            yield handle.number
        except OSError as error:
            raise folder_error(error, self.anchor.place(self.places[index])) from None
        finally:
            with self._mutex:
                handle.users -= 1
                if handle.stale and not handle.users:
                    os.close(handle.number)

    def _take(self, index: int, *, writable: bool) -> _Handle:
        with self._mutex:
            if self._closed:
                raise UnavailableError("the download has ended", hint="Start it again.")
            handle = self._open.pop(index, None)
            if handle is not None and writable and not handle.writable:
                self._drop(handle)
                handle = None
            if handle is None:
                flags = os.O_RDWR if writable else os.O_RDONLY
                handle = _Handle(self.anchor.open(self.places[index], flags), writable)
            self._open[index] = handle
            handle.users += 1
            while len(self._open) > MAX_OPEN:
                self._drop(self._open.popitem(last=False)[1])
            return handle

    def _drop(self, handle: _Handle) -> None:
        handle.stale = True
        if not handle.users:
            os.close(handle.number)


class FolderStorage(Keeper):
    """One download into a folder; ``commit`` may run in another thread than the rest."""

    def __init__(
        self,
        info: TorrentInfo,
        files: Files,
        journal: Journal,
        digests: dict[int, bytes],
        syncer: Syncer,
        *,
        fresh: Sequence[int],
        finished: Callable[[], None],
        ended: Callable[[bool], None],
    ) -> None:
        """``digests`` are the verified pieces, of which the journal lacks the ``fresh`` ones.

        ``finished`` is called when the content is complete and on disk; ``ended`` is told at the
        very end whether to forget what there is of it.
        """
        super().__init__(syncer, digests, fresh)
        self.info = info
        self._files = files
        self._journal = journal
        self._finished = finished
        self._ended = ended
        self._dirty = {
            span.file for piece in fresh for span in self._spans(piece) if span.file is not None
        }
        self._anchored = False
        if self._pending:
            syncer.submit(self._sync)

    @property
    def digests(self) -> bytes:
        """The SHA-256 digests of all pieces in order; empty while one lacks."""
        with self._mutex:
            if self.info.v2 is None or len(self._digests) < self.info.count:
                return b""
            parts = [self._digests[piece] for piece in range(self.info.count)]
        return b"".join(parts) if all(parts) else b""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write part of the stream; what falls on padding is dropped. Raises ``LocalError``."""
        self._check()
        touched = self._files.write(offset, data)
        with self._mutex:  # after the write: a sync in between must not take it for done
            self._dirty |= touched

    def read(self, offset: int, size: int) -> bytes:
        """Read back what was written; padding is zeros. Raises ``LocalError``."""
        self._check()
        return self._files.read(offset, size)

    def keep(self, piece: int, digest: bytes) -> None:
        """See ``Keeper``."""
        with self._mutex:  # another engine may have written it past us
            self._dirty |= {span.file for span in self._spans(piece) if span.file is not None}
        super().keep(piece, digest)

    def commit(self) -> Path:
        """Check that the digests of the pieces lead to the roots, and put all on disk.

        Blocks for the sync; what was kept without a digest is read and hashed. Returns the file or
        folder. Raises ``MalformedError`` when the content is not that of the torrent.
        """
        with self._committing(unwritten=False):
            self._check_roots()
            self._sync_files()
            self._committed = True
            self._finished()
            places = self._files.places
            return self._files.anchor.place(places[0] if self.info.single else places[0][:1])

    # -- inside -----------------------------------------------------------------------------

    def _spans(self, piece: int) -> list[Span]:
        at = piece * self.info.piece_length
        return self.info.spans(at, self.info.size_of(piece))

    def _check_roots(self) -> None:
        info = self.info
        missing = info.count - len(self._digests)
        if missing:
            raise UnavailableError(f"{missing} pieces are missing", hint="Fetch them first.")
        if info.v2 is None:
            return
        for file in info.files:
            layer = [self._digests[piece] or self._hash(piece) for piece in info.pieces_of(file)]
            if not layer:
                continue
            one = len(layer) == 1
            root = layer[0] if one else layer_root(b"".join(layer), info.piece_length // LEAF_SIZE)
            if root != file.root:
                raise MalformedError(
                    f"the content of {'/'.join(file.path)} does not fit its v2 hash",
                    hint="Whoever made this torrent made a bad one; ask for another.",
                )

    def _hash(self, piece: int) -> bytes:
        at = piece * self.info.piece_length
        return piece_root(self._files.read(at, self.info.data_of(piece)), self.info, piece)

    def _write_down(self, batch: Sequence[Kept]) -> None:
        self._sync_files()
        try:
            self._journal.append(batch)
        except OSError as error:
            raise folder_error(error, self._files.anchor.path) from None

    def _sync_files(self) -> None:
        with self._mutex:
            dirty, self._dirty = self._dirty, set()
        anchor = self._files.anchor
        try:
            for index in sorted(dirty):
                self._files.sync(index)
            if self._anchored:
                return
            for folder in {
                tuple(place[:depth]) for place in self._files.places for depth in range(len(place))
            }:
                anchor.sync(folder)
        except OSError as error:
            raise folder_error(error, anchor.path) from None
        self._anchored = True

    def _release(self, *, forget: bool) -> None:
        self._journal.close()
        self._ended(forget)
        self._files.close()
