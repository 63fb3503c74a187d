"""The blob store as the data plane sees it: one shelf for one blob."""

from pathlib import Path
from typing import BinaryIO

from client.blobs import BlobStore, Incoming
from client.peers.storage import Storage
from workunits.errors import UnavailableError
from workunits.ids import BlobRef
from workunits.metainfo import parse_info
from workunits.torrents import TorrentInfo, of_blob


class _Receiving:
    verified: frozenset[int] = frozenset()
    digests = b""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def read(self, offset: int, size: int) -> bytes:
        return self._incoming.read(offset, size)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._incoming.write(offset, data)

    def keep(self, piece: int, digest: bytes) -> None:
        pass

    def commit(self) -> Path:
        return self._incoming.commit()

    def close(self) -> None:
        self._incoming.close()

    def discard(self) -> None:
        self._incoming.close()


class _Complete:
    verified: frozenset[int] = frozenset()
    digests = b""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path

    def read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        raise UnavailableError("the content is complete")

    def keep(self, piece: int, digest: bytes) -> None:
        pass

    def commit(self) -> Path:
        return self._path

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        self._file.close()


class BlobShelf:
    """The place of one blob in a store."""

    def __init__(self, store: BlobStore, ref: BlobRef) -> None:
        self._store = store
        self._ref = ref

    @property
    def info(self) -> TorrentInfo | None:
        """See ``Shelf``."""
        info = self._store.info_of(self._ref)
        return of_blob(info) if info is not None else None

    @property
    def complete(self) -> bool:
        """See ``Shelf``."""
        return self._store.info_of(self._ref) is not None

    def begin(self, info: TorrentInfo) -> Storage:
        """See ``Shelf``."""
        return _Receiving(self._store.begin(parse_info(info.raw, self._ref)))

    def open(self) -> Storage:
        """See ``Shelf``."""
        path = self._store.path_of(self._ref)
        file = self._store.open(self._ref)
        assert path is not None
        return _Complete(file, path)
