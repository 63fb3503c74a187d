"""Images that come through the swarm: fetched layer by layer, put into the sandbox, kept in bounds.

What the engine makes of them is on this machine's disk beside the blobs, and counts against the
same quota. Images that nothing uses go when there is no room for another one.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from client.disk import SpaceError
from client.work.supply import Blobs
from sandbox.runner import Sandbox
from workunits.errors import LimitError, SwarmError
from workunits.ids import BlobRef
from workunits.images import Image

log = logging.getLogger(__name__)

AT_ONCE = 3
"""Layers of one image that are fetched at the same time."""

MAX_RECORD = 4 << 20


class Images:
    """The images that this volunteer brought here, the one used last at the end."""

    def __init__(
        self, sandbox: Sandbox, blobs: Blobs, record: Path, changed: Callable[[], None]
    ) -> None:
        """``record`` is the file that remembers over a restart what was brought; ``changed`` is
        called when there is one image more or less."""
        self._sandbox = sandbox
        self._blobs = blobs
        self._record = record
        self._changed = changed
        self._brought: dict[str, dict[str, int]] | None = None
        self._coming: dict[str, dict[str, int]] = {}
        self._users: Counter[str] = Counter()
        self._mutex = asyncio.Lock()

    async def fetch(self, image: Image) -> None:
        """Make ``image`` usable, and keep it until ``release``.

        Raises ``SwarmError``: what fetching a blob, or ``Sandbox.load``, raises. It need not be
        released then.
        """
        self._users[image.name] += 1
        try:
            if image.name in await self._sandbox.images():
                self._touch(image.name)
            else:
                await self._bring(image)
        except BaseException:
            self.release(image)
            raise

    def release(self, image: Image) -> None:
        """End one use of ``image``; it stays as long as there is room."""
        self._users[image.name] -= 1
        if self._users[image.name] <= 0:
            del self._users[image.name]

    async def start(self) -> None:
        """Set aside what the images take that were brought before. Raises ``SwarmError``."""
        if self._brought is not None:
            return
        present = await self._sandbox.images()
        found = await asyncio.to_thread(_read, self._record)
        if self._brought is None:
            self._brought = {name: layers for name, layers in found.items() if name in present}
        await self._make_room()

    @property
    def spare(self) -> int:
        """Bytes that the images take which may go."""
        brought = self._brought or {}
        used = {name: layers for name, layers in brought.items() if self._users[name]}
        return _size(brought | self._coming) - _size(used | self._coming)

    # -- inside -----------------------------------------------------------------------------

    async def _bring(self, image: Image) -> None:
        await self.start()
        why = f"image {image.name}"
        refs = image.refs
        try:
            self._coming[image.name] = {each.diff.hex(): each.ref.length for each in image.layers}
            await self._make_room()
            paths = await self._fetch(refs, why)
            async with self._mutex:
                if image.name not in await self._sandbox.images():
                    layers = [(each.diff, paths[each.ref]) for each in image.layers]
                    await self._sandbox.load(image.name, layers)
            assert self._brought is not None
            self._brought[image.name] = self._coming[image.name]
            await self._write()
        finally:
            self._coming.pop(image.name, None)
            for ref in refs:
                self._blobs.release(ref, why)
            with suppress(SwarmError):
                await self._make_room()
        self._changed()

    async def _fetch(self, refs: tuple[BlobRef, ...], why: str) -> dict[BlobRef, Path]:
        turn = asyncio.Semaphore(AT_ONCE)
        paths: dict[BlobRef, Path] = {}

        async def fetch(ref: BlobRef) -> None:
            async with turn:
                paths[ref] = await self._blobs.fetch(ref, why)

        try:
            async with asyncio.TaskGroup() as group:
                for ref in refs:
                    group.create_task(fetch(ref))
        except* SwarmError as errors:
            raise errors.exceptions[0] from None
        return paths

    async def _make_room(self) -> None:
        """Set aside what all images take, and let go of unused ones while that does not fit."""
        async with self._mutex:
            while True:
                try:
                    self._blobs.claim(_size((self._brought or {}) | self._coming))
                except (SpaceError, LimitError):
                    if not await self._forget_one():
                        raise
                else:
                    return

    async def _forget_one(self) -> bool:
        assert self._brought is not None
        for name in list(self._brought):
            if not self._users[name] and await self._sandbox.forget(name):
                del self._brought[name]
                await self._write()
                self._changed()
                return True
        return False

    def _touch(self, name: str) -> None:
        if self._brought and name in self._brought:
            self._brought[name] = self._brought.pop(name)

    async def _write(self) -> None:
        text = json.dumps(self._brought)
        try:
            await asyncio.to_thread(self._record.write_text, text, encoding="utf-8")
        except OSError as error:
            log.warning("cannot remember images in %s: %s", self._record, error)


def _size(images: Mapping[str, Mapping[str, int]]) -> int:
    """Bytes of images in the engine: a layer of several is there once."""
    layers: dict[str, int] = {}
    for each in images.values():
        layers |= each
    return sum(layers.values())


def _read(path: Path) -> dict[str, dict[str, int]]:
    """What was brought; nothing where that cannot be read."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(MAX_RECORD))
        return {
            str(name): {str(diff): max(0, int(size)) for diff, size in layers.items()}
            for name, layers in found.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
