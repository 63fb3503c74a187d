"""The real sandbox: warm hardened containers of a Docker engine."""

import asyncio
import contextlib
import itertools
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

from sandbox.berth import GRACE_SECONDS, Container
from sandbox.calls import Calls
from sandbox.cell import DockerCell
from sandbox.models import cell as models
from sandbox.models.runtime import ModelSpec
from sandbox.owner import is_dead, is_owner, name_self
from sandbox.profile import Owner, Share, container, host_config
from sandbox.runner import Limits, Program
from sandbox.slot import Slot
from workunits.errors import LocalError, SwarmError, UnavailableError

DEADLINE_MARGIN = 60
"""Seconds between the moment a container is retired and the one when strangers may remove it."""


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """How a ``DockerSandbox`` works.

    ``engine`` is a ``unix://`` address. ``work`` is a folder for links to inputs; on the disk of
    the blobs, links cost nothing. ``shares`` are the slots: an opened cell takes the least used.
    ``runtime`` is the name of another OCI runtime, for instance "runsc". A container takes
    units for ``lifetime_seconds``. ``harness`` replaces the source of process 1 (tests).
    """

    engine: str
    work: Path
    shares: tuple[Share, ...] = (Share(),)
    runtime: str | None = None
    lifetime_seconds: float = 3600.0
    harness: str | None = field(default=None, repr=False)


class DockerSandbox:
    """See ``runner.Sandbox``. Nothing is contacted before the first call.

    ``now`` is wall time (labels that outlive this process), ``clock`` is monotonic.
    """

    def __init__(
        self,
        settings: DockerSettings,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not settings.shares:
            raise LocalError("a sandbox needs a slot", hint="Give at least one share.")
        self._settings = settings
        self._now = now
        self._clock = clock
        self._calls = Calls(settings.engine)
        self._owner = name_self()
        self._numbers = itertools.count()
        self._cells: dict[DockerCell | models.DockerModelCell, Share] = {}
        self._names: set[str] = set()
        self._reaped = False

    async def images(self) -> frozenset[str]:
        """See ``runner.Sandbox.images``."""
        return await self._calls.images()

    async def load(self, image: str, layers: Sequence[tuple[bytes, Path]]) -> None:
        """See ``runner.Sandbox.load``."""
        await self._calls.load(image, layers)

    async def forget(self, image: str) -> bool:
        """See ``runner.Sandbox.forget``."""
        return await self._calls.forget(image)

    async def open(self, program: Program) -> DockerCell:
        """See ``runner.Sandbox.open``. The first call also removes what dead processes left."""
        if not self._reaped:
            await self.reap()
        image = await self._calls.image(program.image)
        share = self._least_used()
        slot = Slot(self._settings.work / self._owner / f"cell-{next(self._numbers)}")
        source = self._settings.harness or _harness()
        maker = _Maker(self, image, program.limits, share, source)
        cell = DockerCell(
            self._calls, maker, program.limits, slot, clock=self._clock, on_close=self._forget
        )
        self._cells[cell] = share
        try:
            await asyncio.to_thread(slot.install, program.files)
            await cell.start()
        except BaseException:
            await cell.close()
            raise
        return cell

    async def serve(self, spec: ModelSpec) -> models.DockerModelCell:
        """See ``models.runtime.ModelRuntime.serve``. It gets as many whole cores as threads."""
        if not self._reaped:
            await self.reap()
        image = await self._calls.image(spec.image)
        least = self._least_used()
        share = replace(least, nano_cpus=spec.threads * 10**9)
        slot = Slot(self._settings.work / self._owner / f"model-{next(self._numbers)}")
        maker = _Maker(self, image, spec.limits, share, models.BOOT, models.words(spec))
        cell = models.DockerModelCell(
            self._calls, maker, spec, slot, clock=self._clock, on_close=self._forget
        )
        self._cells[cell] = least
        try:
            await cell.start()
        except BaseException:
            await cell.close()
            raise
        return cell

    async def reap(self) -> int:
        """See ``runner.Sandbox.reap``. Containers of dead owners, those past their deadline, and
        those of this process that an engine's failure orphaned; then the folders."""
        count = 0
        for left in await self._calls.leftovers():
            orphaned = left.owner == self._owner and left.name not in self._names
            overdue = left.deadline < self._now()
            if orphaned or overdue or is_dead(left.owner):
                count += await self._calls.remove(left.id)
        self._reaped = True
        return count + await asyncio.to_thread(self._reap_folders)

    async def close(self) -> None:
        """See ``runner.Sandbox.close``."""
        for cell in list(self._cells):
            await cell.close()
        with contextlib.suppress(OSError):
            (self._settings.work / self._owner).rmdir()
        await self._calls.close()

    def _least_used(self) -> Share:
        used = Counter(self._cells.values())
        return min(self._settings.shares, key=lambda share: used[share])

    def _forget(self, cell: DockerCell | models.DockerModelCell) -> None:
        self._cells.pop(cell, None)

    def _reap_folders(self) -> int:
        count = 0
        if self._settings.work.is_dir():
            for folder in self._settings.work.iterdir():
                if is_owner(folder.name) and is_dead(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)
                    count += 1
        return count


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the containers of one cell, which run ``source`` with ``words``."""

    sandbox: DockerSandbox
    image: str
    limits: Limits
    share: Share
    source: str
    words: Sequence[str] = ()

    async def create(self, folder: Path) -> Container:
        sandbox = self.sandbox
        settings = sandbox._settings
        name = f"openswarm-{sandbox._owner}-{next(sandbox._numbers)}"
        # a unit may begin until the end of the lifetime, however long it may take
        life = settings.lifetime_seconds + self.limits.wall_seconds + GRACE_SECONDS
        owner = Owner(sandbox._owner, int(sandbox._now() + life) + DEADLINE_MARGIN)
        host = host_config(self.limits, self.share, folder.absolute(), settings.runtime)
        body = container(self.image, self.source, host, owner, self.words)
        sandbox._names.add(name)
        try:
            identity = await sandbox._calls.create(name, body)
        except BaseException:
            sandbox._names.discard(name)
            raise
        return Container(identity, name, sandbox._clock() + life)

    async def remove(self, container: Container) -> None:
        # From here on the reaper may have it, should the engine not answer now.
        self.sandbox._names.discard(container.name)
        with contextlib.suppress(UnavailableError, SwarmError):
            await self.sandbox._calls.remove(container.id)


def _harness() -> str:
    return resources.files("sandbox").joinpath("harness.py").read_text(encoding="utf-8")
