"""The web seed: small blobs that the tracker keeps as the seed of last resort."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

from tracker.rows import BlobRow
from workunits.errors import LimitError, RefusedError
from workunits.ids import PeerKey
from workunits.metainfo import hash_stream

MAX_BLOB = 16 << 20
QUOTA = 1 << 30


class WebSeed:
    """Blobs as files named by v2 info-hash, within a quota. ``held`` is bytes kept now."""

    def __init__(self, folder: Path, held: int, quota: int = QUOTA) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self.held = held
        self.quota = quota

    def path(self, v2: bytes) -> Path:
        """Where a blob is kept."""
        return self._folder / v2.hex()

    def check(self, length: int) -> None:
        """Raise ``LimitError`` when ``length`` more bytes are too many."""
        if length > MAX_BLOB:
            raise LimitError(
                f"a blob of {length:,} bytes is over the web seed's limit of {MAX_BLOB:,}",
                hint="Seed it from your own machine instead: swarm submit --watch, or swarm seed.",
            )
        if self.held + length > self.quota:
            raise LimitError(
                f"the web seed is full ({self.held:,} of {self.quota:,} bytes)",
                hint="Seed the blob from your own machine, or ask the operator for room.",
            )

    async def keep(
        self, v2: bytes, length: int, chunks: AsyncIterator[bytes], account: PeerKey
    ) -> BlobRow:
        """Take in a blob whose content must hash to ``v2``; it is on disk when this returns."""
        content = bytearray()
        async for chunk in chunks:
            content += chunk
            if len(content) > length:
                raise LimitError(f"the upload is longer than the {length:,} bytes announced")
        if len(content) < length:
            raise RefusedError(
                f"the upload ends after {len(content):,} of {length:,} bytes",
                hint="Upload the whole file again.",
            )
        self.check(length)
        self.held += length
        try:
            torrent = await asyncio.to_thread(self._store, v2, bytes(content))
        except BaseException:
            self.held -= length
            raise
        return BlobRow(v2, len(content), torrent, account)

    def _store(self, v2: bytes, content: bytes) -> bytes:
        info = hash_stream(BytesIO(content), len(content)).info
        if info.ref.v2 != v2:
            raise RefusedError(
                "the uploaded bytes have another hash than the address says",
                hint="Upload the file again; it may have changed meanwhile.",
            )
        handle, name = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).rename(self.path(v2))
        return info.raw
