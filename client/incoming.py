"""A blob that is being received: written in any order, gone on with after a restart.

A piece counts as kept for good once its bytes and then its journal record are synced; both happen
in the store's one thread, for all pieces that came since the last time.
"""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Event, Lock

from client.disk import disk_error, sync_folder, write_synced
from client.journal import Journal, Kept
from client.syncer import Syncer
from workunits.errors import LocalError, MalformedError, UnavailableError
from workunits.metainfo import LEAF_SIZE, Metainfo, Tree, layer_root

CONTENT = "content"
INFO = "info"
JOURNAL = "journal"
LAYER = "layer"
"""The digests of all pieces, once they are known to lead to the pieces root."""


class Incoming:
    """One download; see ``client.peers.storage.Storage``.

    ``write``, ``read``, ``keep``, ``close`` and ``discard`` belong to one thread; ``commit`` may
    run in another. Reading works until ``close`` or ``discard``, one of which comes last.
    """

    def __init__(
        self,
        info: Metainfo,
        folder: Path,
        syncer: Syncer,
        *,
        lasting: bool,
        publish: Callable[[], Path],
        ended: Callable[["Incoming", bool], None],
    ) -> None:
        """Go on in ``folder`` if it has a journal, else begin there.

        ``lasting`` is whether what was kept outlives ``close``. ``publish`` gives the finished
        folder its name; ``ended`` is told at the very end whether to forget the folder.
        Raises ``OSError``.
        """
        self.info = info
        self.over = Event()
        """Set when everything has ended, in whichever thread."""

        self._folder = folder
        self._syncer = syncer
        self._lasting = lasting
        self._publish = publish
        self._ended = ended
        self._mutex = Lock()  # never held while the disk works
        self._pending: list[Kept] = []
        self._busy = 0
        self._closed = False
        self._released = False
        self._forget = False
        self._committed = False
        self._failure: LocalError | None = None
        self._anchored = (folder / JOURNAL).exists()
        self._digests: dict[int, bytes] = {}
        if self._anchored:
            self._journal, self._digests = Journal.resume(folder / JOURNAL, info.ref.v2, info.count)
            flags = os.O_RDWR | os.O_NOFOLLOW
        else:
            (folder / INFO).write_bytes(info.raw)
            self._journal = Journal.create(folder / JOURNAL, info.ref.v2)
            # Another engine may have begun to write before the metainfo was known here.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        try:
            self._file = os.open(folder / CONTENT, flags | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, info.length)
        except OSError:
            self._journal.close()
            raise
        self._verified = frozenset(self._digests)

    @property
    def verified(self) -> frozenset[int]:
        """Pieces that were on disk when the download began."""
        return self._verified

    @property
    def digests(self) -> bytes:
        """See ``Storage``: nothing before all is here."""
        return b""

    @property
    def kept(self) -> int:
        """Bytes of the pieces that were kept, before or now."""
        return sum(map(self.info.size_of, tuple(self._digests)))

    @property
    def closing(self) -> bool:
        """Whether the end has begun; ``over`` says when it is done."""
        return self._closed

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write ``data`` at ``offset``. Raises ``LocalError`` when the disk fails."""
        number = self._number()
        try:
            while (done := os.pwrite(number, data, offset)) < len(data):
                data, offset = memoryview(data)[done:], offset + done
        except OSError as error:
            raise disk_error(error, self._folder) from None

    def read(self, offset: int, size: int) -> bytes:
        """Read back what was written. Raises ``LocalError`` when the disk fails."""
        try:
            return os.pread(self._number(), size, offset)
        except OSError as error:
            raise disk_error(error, self._folder) from None

    def keep(self, piece: int, digest: bytes) -> None:
        """``piece`` is verified and all of it written; ``digest`` is the root of its SHA-256 tree.

        It survives a power loss soon after. Does not wait for the disk. Raises ``LocalError`` when
        the disk has failed to keep earlier ones.
        """
        self._number()
        with self._mutex:
            self._digests[piece] = digest
            self._pending.append((piece, digest))
        self._syncer.submit(self._sync)

    def flush(self) -> None:
        """Wait until what was kept is on disk. Raises ``LocalError`` when it cannot be."""
        self._syncer.wait(self._sync)
        self._number()

    def wait(self) -> None:
        """After ``close``: wait until all of it has ended."""
        self._syncer.wait(self._sync)
        self.over.wait()

    def commit(self) -> Path:
        """Check that the digests of the pieces lead to the pieces root, and name the blob.

        Blocks for the sync; what was kept without a digest is read and hashed. Raises
        ``MalformedError`` when the content is not the blob: it is of no use then, and forgotten
        at ``close``.
        """
        with self._mutex:
            number = self._number()
            self._busy += 1
            self._pending.clear()  # the sync below is theirs too, and then no journal is needed
        try:
            self._syncer.wait(self._sync)  # it must not meet a folder that is being renamed
            layer = self._layer()
            if self._root(layer) != self.info.root:
                self._forget = True
                raise MalformedError(
                    f"the content of blob {self.info.ref} does not fit its v2 hash",
                    hint="Whoever named this blob made a bad torrent; ask for another one.",
                )
            try:
                os.fsync(number)
                write_synced(self._folder / LAYER, layer)
            except OSError as error:
                raise disk_error(error, self._folder) from None
            path = self._publish()
            self._committed = True
            return path
        finally:
            self._leave()

    def close(self) -> None:
        """End the download. What was kept stays for the next time; nothing kept, nothing stays."""
        self._end(forget=False)

    def discard(self) -> None:
        """End the download, and forget what was kept unless it was committed."""
        self._end(forget=True)

    # -- inside -----------------------------------------------------------------------------

    def _number(self) -> int:
        if self._closed:
            raise UnavailableError("the download has ended", hint="Fetch the blob again.")
        if self._failure is not None:
            raise self._failure
        return self._file

    def _layer(self) -> bytes:
        count = self.info.count
        return b"".join(self._digests.get(piece) or self._hash(piece) for piece in range(count))

    def _root(self, layer: bytes) -> bytes:
        if self.info.count <= 1:
            return layer or self.info.root
        return layer_root(layer, self.info.piece_length // LEAF_SIZE)

    def _hash(self, piece: int) -> bytes:
        info = self.info
        try:
            data = os.pread(self._file, info.size_of(piece), piece * info.piece_length)
        except OSError as error:
            raise disk_error(error, self._folder) from None
        tree = Tree()
        for at in range(0, len(data), LEAF_SIZE):
            tree.add(sha256(data[at : at + LEAF_SIZE]).digest())
        return tree.root(1 if info.count == 1 else info.piece_length // LEAF_SIZE)

    def _sync(self) -> None:
        """In the syncer's thread: put on disk what was kept since the last time."""
        with self._mutex:
            if self._released:
                return
            batch, self._pending = self._pending, []
            if self._failure or self._forget or self._committed:
                batch = []
            self._busy += 1
        try:
            if batch:
                self._write_down(batch)
        except OSError as error:
            # Never tried again: after a failed sync the system forgets which bytes are not there.
            self._failure = disk_error(error, self._folder)
        self._leave()

    def _write_down(self, batch: list[Kept]) -> None:
        if self._anchored:
            os.fdatasync(self._file)
        else:
            os.fsync(self._file)
            info = os.open(self._folder / INFO, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(info)
            finally:
                os.close(info)
            for folder in (self._folder, self._folder.parent, self._folder.parent.parent):
                sync_folder(folder)
            self._anchored = True
        self._journal.append(batch)

    def _end(self, *, forget: bool) -> None:
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            self._forget |= forget or not self._lasting or not self._digests
            waits = self._busy or (self._pending and not self._forget and not self._committed)
            self._busy += 1
        if not waits or not self._syncer.submit(self._sync):
            with self._mutex:
                self._pending.clear()
        self._leave()

    def _leave(self) -> None:
        """Whoever is the last to leave after the end turns off the light."""
        with self._mutex:
            self._busy -= 1
            if self._busy or self._pending or not self._closed or self._released:
                return
            self._released = True
        os.close(self._file)
        self._journal.close()
        self._ended(self, self._forget and not self._committed)
        self.over.set()
