"""Where the content of a torrent is kept: what the data plane asks of a disk.

``client.blobs`` keeps blobs in the store, ``client.folders`` files where people want them.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Protocol

from workunits.torrents import TorrentInfo

Halted = Callable[[], bool]


def never() -> bool:
    """Nobody stops it."""
    return False


class Storage(Protocol):
    """The bytes of one torrent. Offsets are those of its stream, padding included.

    All methods raise ``LocalError`` when the disk fails.
    """

    @property
    def verified(self) -> frozenset[int]:
        """Pieces that were kept before and are still there, known when it was opened."""

    @property
    def digests(self) -> bytes:
        """What ``keep`` was given for every piece in order, 32 bytes each; empty while one lacks,
        and for content whose digests were not kept. From it v2 hash requests are answered."""

    def read(self, offset: int, size: int) -> bytes:
        """Bytes that were written; padding is zeros."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write ``data`` at ``offset``; what falls on padding is dropped."""

    def keep(self, piece: int, digest: bytes) -> None:
        """``piece`` is verified; it survives a power loss soon after. Does not wait for the disk.

        ``digest`` is the root of its SHA-256 tree (32 bytes), empty for a torrent of v1 only.
        """

    def commit(self) -> Path:
        """Every piece is kept: put it all on disk under its name. Blocks.

        Raises ``MalformedError`` when the digests do not lead to the root in the metainfo.
        """

    def close(self) -> None:
        """Let go of files; what was kept stays for the next time. May be called again."""

    def discard(self) -> None:
        """Let go of files, and forget what was kept, unless it was committed."""


class Shelf(Protocol):
    """The place for one torrent's content."""

    @property
    def info(self) -> TorrentInfo | None:
        """The metainfo, where it is known before anybody is asked."""

    @property
    def complete(self) -> bool:
        """Whether all of the content is here."""

    def begin(self, info: TorrentInfo, halted: Halted = never) -> Storage:
        """Receive the content, or go on with it. Raises ``LimitError`` or ``LocalError``.

        May read what is there for long: call it in a thread. ``halted`` says that nobody waits for
        it any more.
        """

    def open(self) -> Storage:
        """Read complete content. Raises ``UnavailableError`` when it is gone."""


async def begin(shelf: Shelf, info: TorrentInfo) -> Storage:
    """``shelf.begin`` in a thread. Cancelled, it ends soon and leaves nothing open."""
    halt = Event()
    begun: list[Storage] = []

    def work() -> Storage:
        begun.append(shelf.begin(info, halt.is_set))
        if halt.is_set():
            begun[0].close()
        return begun[0]

    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        halt.set()
        for storage in begun:
            storage.close()
        raise
