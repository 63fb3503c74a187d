"""A blob that is being received: written in any order, gone on with after a restart."""

import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from client.disk import disk_error, sync_folder, write_synced
from client.journal import Journal, Kept
from client.keeper import Keeper
from client.syncer import Syncer
from workunits.errors import MalformedError
from workunits.metainfo import LEAF_SIZE, Metainfo, Tree, layer_root

CONTENT = "content"
INFO = "info"
JOURNAL = "journal"
LAYER = "layer"
"""The digests of all pieces, once they are known to lead to the pieces root."""


class Incoming(Keeper):
    """One download; ``commit`` may run in another thread than the rest."""

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
        self._folder = folder
        self._lasting = lasting
        self._publish = publish
        self._ended = ended
        self._anchored = (folder / JOURNAL).exists()
        digests: dict[int, bytes] = {}
        if self._anchored:
            self._journal, digests = Journal.resume(folder / JOURNAL, info.ref.v2, info.count)
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
        super().__init__(syncer, digests)

    @property
    def digests(self) -> bytes:
        """See ``Storage``: nothing before all is here."""
        return b""

    @property
    def kept(self) -> int:
        """Bytes of the pieces that were kept, before or now."""
        return sum(map(self.info.size_of, tuple(self._digests)))

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

    def commit(self) -> Path:
        """Check that the digests of the pieces lead to the pieces root, and name the blob.

        Blocks for the sync; what was kept without a digest is read and hashed. Raises
        ``MalformedError`` when the content is not the blob: it is of no use then, and forgotten
        at ``close``.
        """
        with self._committing(unwritten=True):
            layer = self._layer()
            if self._root(layer) != self.info.root:
                self._forget = True
                raise MalformedError(
                    f"the content of blob {self.info.ref} does not fit its v2 hash",
                    hint="Whoever named this blob made a bad torrent; ask for another one.",
                )
            try:
                os.fsync(self._file)
                write_synced(self._folder / LAYER, layer)
            except OSError as error:
                raise disk_error(error, self._folder) from None
            path = self._publish()
            self._committed = True
            return path

    # -- inside -----------------------------------------------------------------------------

    def _number(self) -> int:
        self._check()
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

    def _end(self, *, forget: bool) -> None:
        """Nothing kept, nothing stays."""
        super()._end(forget=forget or not self._lasting or not self._digests)

    def _write_down(self, batch: Sequence[Kept]) -> None:
        try:
            if self._anchored:
                os.fdatasync(self._file)
            else:
                self._anchor()
            self._journal.append(batch)
        except OSError as error:
            raise disk_error(error, self._folder) from None

    def _anchor(self) -> None:
        """The first time: the folder itself must outlast a power loss too."""
        os.fsync(self._file)
        info = os.open(self._folder / INFO, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(info)
        finally:
            os.close(info)
        for folder in (self._folder, self._folder.parent, self._folder.parent.parent):
            sync_folder(folder)
        self._anchored = True

    def _release(self, *, forget: bool) -> None:
        os.close(self._file)
        self._journal.close()
        self._ended(self, forget)
