"""A blob's place in the store, as the data plane asks for it: ``client.peers.storage``."""

import os
from pathlib import Path
from typing import BinaryIO

from client.blobs import BlobStore
from client.disk import disk_error
from client.incoming import Incoming
from client.peers.storage import Halted, never
from workunits.errors import LocalError, UnavailableError
from workunits.ids import BlobRef
from workunits.metainfo import parse_info
from workunits.torrents import TorrentInfo, of_blob


class BlobShelf:
    """The place of one blob in a store; see ``client.peers.storage.Shelf``."""

    def __init__(self, store: BlobStore, ref: BlobRef) -> None:
        self._store = store
        self._ref = ref

    @property
    def info(self) -> TorrentInfo | None:
        """The metainfo, when the blob or a part of it is here."""
        found = self._store.info_of(self._ref) or self._store.part_info_of(self._ref)
        return of_blob(found) if found is not None else None

    @property
    def complete(self) -> bool:
        """Whether the blob is here."""
        return self._store.info_of(self._ref) is not None

    def begin(self, info: TorrentInfo, halted: Halted = never) -> Incoming:
        """See ``BlobStore.begin``; also raises ``MalformedError`` for what is not the blob."""
        return self._store.begin(parse_info(info.raw, self._ref))

    def open(self) -> "Whole":
        """Read the blob. Raises ``UnavailableError`` when it is gone."""
        info, path = self._store.info_of(self._ref), self._store.path_of(self._ref)
        if info is None or path is None:
            raise UnavailableError(f"blob {self._ref} is not in the store", hint="Fetch it first.")
        digests = self._store.digests_of(self._ref)
        return Whole(self._store.open(self._ref), path, info.count, digests)


class Whole:
    """A blob that is complete: a ``client.peers.storage.Storage`` that takes nothing."""

    def __init__(self, file: BinaryIO, path: Path, count: int, digests: bytes) -> None:
        self._file = file
        self._path = path
        self.verified = frozenset(range(count))
        self.digests = digests

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of content. Raises ``LocalError`` when the disk fails."""
        try:
            return os.pread(self._file.fileno(), size, offset)
        except ValueError:
            raise UnavailableError("the blob was closed", hint="Open it again.") from None
        except OSError as error:
            raise disk_error(error, self._path) from None

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises ``LocalError``: nothing is missing."""
        raise LocalError(f"{self._path} is complete", hint="This is a bug; please report it.")

    def keep(self, piece: int, digest: bytes) -> None:
        """Nothing to do."""

    def commit(self) -> Path:
        """Where the content is."""
        return self._path

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def discard(self) -> None:
        """Let go of the file; the blob stays."""
        self._file.close()
