"""What a volunteer lives in, for tests: blobs in memory, a fake sandbox, a tracker's double."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from client.disk import SpaceError
from client.scheduling.pace import Tuning
from client.work.clock import Clock
from client.work.notices import Notice
from client.work.volunteer import Capacity, Volunteer
from sandbox.fake import FakeSandbox, Play, Played, Stage
from tests.client.work.tracker import TrackerDouble, peer_key, rng, tracking
from workunits.errors import UnavailableError
from workunits.ids import BlobRef
from workunits.metainfo import hash_stream
from workunits.signing import Identity


async def square(stage: Stage) -> Played:
    number = int(stage.task.command[1])
    (stage.out / "out").write_text(f"{number * number}\n")
    return Played()


@dataclass
class MemoryBlobs:
    """Blobs in a folder; ``broken`` makes every fetch fail."""

    folder: Path
    broken: bool = False
    paths: dict[BlobRef, Path] = field(default_factory=dict)
    holds: set[tuple[BlobRef, str]] = field(default_factory=set)
    claimed: int = 0

    def add(self, data: bytes) -> BlobRef:
        ref = hash_stream(BytesIO(data), len(data)).info.ref
        self.paths[ref] = self.folder / str(ref)
        self.paths[ref].write_bytes(data)
        return ref

    async def fetch(self, ref: BlobRef, why: str) -> Path:
        if self.broken or ref not in self.paths:
            raise UnavailableError(f"nobody has {ref}", hint="Wait.")
        self.holds.add((ref, why))
        return self.paths[ref]

    async def share(self, path: Path, why: str) -> BlobRef:
        ref = self.add(path.read_bytes())
        self.holds.add((ref, why))
        return ref

    def reshare(self, ref: BlobRef, why: str) -> bool:
        if ref in self.paths:
            self.holds.add((ref, why))
        return ref in self.paths

    def release(self, ref: BlobRef, why: str) -> None:
        self.holds.discard((ref, why))

    def held(self) -> tuple[BlobRef, ...]:
        return tuple(self.paths)

    @property
    def quota(self) -> int:
        return 1 << 30

    def room(self) -> int:
        return self.quota - self.claimed - sum(ref.length for ref, _ in self.holds)

    def claim(self, size: int) -> None:
        if size > self.quota:
            raise SpaceError(f"no room for {size} bytes")
        self.claimed = size


@dataclass
class World:
    """What a volunteer lives in. It survives the volunteer."""

    tracker: TrackerDouble
    folder: Path
    sandbox: FakeSandbox
    blobs: MemoryBlobs
    said: list[Notice] = field(default_factory=list)
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    identity: Identity = field(default_factory=peer_key)
    clock: Clock = field(default_factory=Clock)
    tuning: Tuning = field(default_factory=lambda: Tuning(backoff=0.01, linger=0.5))
    no_models: str = ""

    def volunteer(self, cpus: int = 2) -> Volunteer:
        return Volunteer(
            self.tracker.url,
            self.identity,
            self.sandbox,
            self.blobs,
            capacity=Capacity(cpus, 1 << 30),
            state=self.folder / "state",
            scratch=self.folder / "scratch",
            no_models=self.no_models,
            notify=self.listen,
            tuning=self.tuning,
            clock=self.clock,
            rng=rng(),
        )

    def heard(self, kind: type[Notice]) -> list[Notice]:
        return [notice for notice in self.said if isinstance(notice, kind)]

    async def until_said(self, kind: type[Notice]) -> None:
        """Wait for a notice."""
        while not self.heard(kind):
            self.spoken.clear()
            await asyncio.wait_for(self.spoken.wait(), 20)

    def listen(self, notice: Notice) -> None:
        """Where notices go."""
        self.said.append(notice)
        self.spoken.set()

    def kept(self) -> list[Path]:
        return sorted((self.folder / "state").rglob("*.results"))

    def left_behind(self) -> list[Path]:
        return sorted((self.folder / "scratch").rglob("*"))


@asynccontextmanager
async def world_of(
    folder: Path, tracker: TrackerDouble, play: Play = square
) -> AsyncIterator[World]:
    (folder / "blobs").mkdir()
    sandbox = FakeSandbox(play)
    async with tracking(tracker):
        yield World(tracker, folder, sandbox, MemoryBlobs(folder / "blobs"))
    assert not sandbox._cells
    shutil.rmtree(folder / "blobs")


async def drained(volunteer: Volunteer, ready: Callable[[], bool], world: World) -> None:
    """Run ``volunteer`` until ``ready``, then drain it."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        run = group.create_task(volunteer.run())
        await world.tracker.until(ready)
        volunteer.drain()
        await run
