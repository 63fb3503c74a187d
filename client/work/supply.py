"""Where a volunteer gets its inputs and puts its outputs: the seam to the data plane."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Protocol

from client.blobs import BlobStore
from client.peers.engine import SEED_REASON, Engine
from workunits.errors import SwarmError
from workunits.ids import BlobRef
from workunits.models.gguf import MAGIC

_MODEL = "model"
"""Why a model is held while it is announced."""

_LEAST_MODEL = 1 << 20
"""Bytes; nothing smaller is looked at."""


class Blobs(Protocol):
    """Blobs by reference. ``why`` names a hold, which keeps the blob here until ``release``."""

    async def fetch(self, ref: BlobRef, why: str) -> Path:
        """Get ``ref`` and hold it. Raises ``SwarmError`` when it cannot be had."""

    async def share(self, path: Path, why: str) -> BlobRef:
        """Take a file over, hold it and serve it to others. Raises ``SwarmError``."""

    def reshare(self, ref: BlobRef, why: str) -> bool:
        """Hold and serve again what was shared before, a restart perhaps, and tell the tracker so
        anew; whether it is still here."""

    def release(self, ref: BlobRef, why: str) -> None:
        """End a hold; an unknown one is no error. The blob is served until it is evicted."""

    def held(self) -> tuple[BlobRef, ...]:
        """Every blob that is here, the one used last at the end."""

    @property
    def quota(self) -> int:
        """Bytes of disk for blobs, and for what is claimed beside them."""

    def room(self) -> int:
        """Bytes that more blobs can take, those that are on their way included."""

    def claim(self, size: int) -> None:
        """Set aside ``size`` bytes for what is kept elsewhere, in place of an earlier claim.

        Raises ``SpaceError`` or ``LimitError`` when they do not fit.
        """


class SwarmBlobs:
    """``Blobs`` out of the store on disk and the swarm of peers."""

    def __init__(self, store: BlobStore, swarm: Engine) -> None:
        """``swarm`` must have been entered."""
        self._store = store
        self._swarm = swarm
        self._coming: Counter[BlobRef] = Counter()

    async def fetch(self, ref: BlobRef, why: str) -> Path:
        """See ``Blobs.fetch``."""
        self._store.hold(ref, why)
        self._coming[ref] += 1
        try:
            return await self._swarm.fetch(ref)
        except SwarmError:
            self._store.release(ref, why)
            raise
        finally:
            self._coming[ref] -= 1
            if not self._coming[ref]:
                del self._coming[ref]

    async def share(self, path: Path, why: str) -> BlobRef:
        """See ``Blobs.share``."""
        ref = await asyncio.to_thread(self._store.adopt, path)
        self._serve(ref, why)
        return ref

    def reshare(self, ref: BlobRef, why: str) -> bool:
        """See ``Blobs.reshare``."""
        if self._store.path_of(ref) is None:
            return False
        self._serve(ref, why)
        return True

    def release(self, ref: BlobRef, why: str) -> None:
        """See ``Blobs.release``."""
        self._store.release(ref, why)

    async def serve_models(self) -> None:
        """Serve the models again that earlier runs brought here, for as long as there is room.

        Others would have to fetch them from the tracker, and they are large.
        """
        for ref in self._store.refs():
            if ref.length >= _LEAST_MODEL and await asyncio.to_thread(self._is_model, ref):
                self.reshare(ref, _MODEL)
                self.release(ref, _MODEL)

    def held(self) -> tuple[BlobRef, ...]:
        """See ``Blobs.held``."""
        return self._store.refs()

    @property
    def quota(self) -> int:
        """See ``Blobs.quota``."""
        return self._store.quota

    def room(self) -> int:
        """See ``Blobs.room``."""
        begun = self._store.parts().keys() & self._coming.keys()
        return self._store.room() + sum(ref.length for ref in begun)

    def claim(self, size: int) -> None:
        """See ``Blobs.claim``."""
        self._store.claim(size)

    def _is_model(self, ref: BlobRef) -> bool:
        try:
            with self._store.open(ref) as content:
                return content.read(len(MAGIC)) == MAGIC
        except (SwarmError, OSError):
            return False

    def _serve(self, ref: BlobRef, why: str) -> None:
        self._store.hold(ref, why)
        self._swarm.seed(ref)
        # Served for as long as there is room for it, not for ever: our own hold is enough.
        self._store.release(ref, SEED_REASON)
