"""The one fake: a sandbox that plays units with Python functions, under the same contract.

For tests of everything around the sandbox, and for benchmarks of everything but the sandbox.
"""

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sandbox.layers import check
from sandbox.models.fake import FakeModelCell, FakeModels
from sandbox.models.runtime import ModelSpec
from sandbox.runner import STDERR_TAIL, Ending, Outcome, Program, Task
from workunits.errors import LocalError, MalformedError, UnavailableError
from workunits.images import chain_id


@dataclass(frozen=True, slots=True)
class Stage:
    """What a played unit may touch: like ``/job``, ``/in`` and ``/out``."""

    program: Program
    task: Task
    job: Path
    inputs: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Played:
    """What a played unit did beside writing files to ``Stage.out``."""

    status: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    ending: Ending = Ending.EXITED
    cpu_seconds: float = 0.0


Play: TypeAlias = Callable[[Stage], Awaitable[Played]]
"""A unit as a coroutine function; cancelled at the wall limit."""


def scripted(outcomes: Iterable[Played]) -> Play:
    """A play that gives ``outcomes`` one after the other, whatever it is asked to run."""
    script = iter(outcomes)

    async def play(stage: Stage) -> Played:
        return next(script)

    return play


def sleeping(seconds: float) -> Play:
    """A play that takes ``seconds`` of wall time and writes its command into every output."""

    async def play(stage: Stage) -> Played:
        await asyncio.sleep(seconds)
        for name in stage.task.outputs:
            (stage.out / name).write_text("\n".join(stage.task.command), encoding="utf-8")
        return Played(cpu_seconds=seconds)

    return play


@dataclass(slots=True)
class FakeSandbox:
    """See ``runner.Sandbox``. ``available`` are the content hashes that it claims to have.

    ``engine_stops`` makes it behave like an engine that died: running units are lost, and nothing
    can be opened until ``engine_returns``. ``models`` says how models behave that it serves.
    """

    play: Play
    available: frozenset[str] = frozenset({"sha256:" + "0" * 64})
    opened: int = 0
    models: FakeModels = field(default_factory=FakeModels)
    _cells: "set[FakeCell]" = field(default_factory=set)
    _served: "set[FakeModelCell]" = field(default_factory=set)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def engine_stops(self) -> None:
        """From now on the engine is gone."""
        self._stopped.set()

    def engine_returns(self) -> None:
        """The engine is back."""
        self._stopped.clear()

    async def images(self) -> frozenset[str]:
        """See ``runner.Sandbox.images``."""
        self.check()
        return self.available

    async def load(self, image: str, layers: Sequence[tuple[bytes, Path]]) -> None:
        """See ``runner.Sandbox.load``."""
        self.check()
        for _, path in layers:
            check(path)
        digests = [hashlib.sha256(path.read_bytes()).digest() for _, path in layers]
        if digests != [diff for diff, _ in layers] or chain_id(digests) != image:
            raise MalformedError(f"the layers are not those of the image {image[:19]}")
        self.available |= {image}

    async def forget(self, image: str) -> bool:
        """See ``runner.Sandbox.forget``."""
        self.check()
        used = {cell.program.image for cell in self._cells}
        if image in used | {cell.spec.image for cell in self._served}:
            return False
        self.available -= {image}
        return True

    async def open(self, program: Program) -> "FakeCell":
        """See ``runner.Sandbox.open``."""
        self._require(program.image)
        self.opened += 1
        cell = FakeCell(self, program)
        self._cells.add(cell)
        return cell

    async def serve(self, spec: ModelSpec) -> FakeModelCell:
        """See ``models.runtime.ModelRuntime.serve``."""
        self._require(spec.image)
        cell = FakeModelCell(self.models, spec, self._stopped, self._served.discard)
        self._served.add(cell)
        try:
            await cell.load()
        except BaseException:
            await cell.close()
            raise
        return cell

    async def reap(self) -> int:
        """Nothing is ever left behind."""
        self.check()
        return 0

    async def close(self) -> None:
        """See ``runner.Sandbox.close``."""
        for cell in list(self._cells):
            await cell.close()
        for model in list(self._served):
            await model.close()

    def _require(self, image: str) -> None:
        self.check()
        if image not in self.available:
            raise UnavailableError(
                f"the image {image[:19]} is not here",
                hint="Add its hash to FakeSandbox.available.",
            )

    def check(self) -> None:
        """Raise what a dead engine raises."""
        if self._stopped.is_set():
            raise UnavailableError("the fake engine is stopped", hint="Call engine_returns().")


class FakeCell:
    """See ``runner.Cell``."""

    def __init__(self, sandbox: FakeSandbox, program: Program) -> None:
        self._sandbox = sandbox
        self.program = program
        self._folder = Path(tempfile.mkdtemp(prefix="fake-cell-"))
        self._busy = False
        self._closed = False

    async def run(self, task: Task, into: Path) -> Outcome:
        """See ``runner.Cell.run``."""
        if self._closed or self._busy:
            raise LocalError("a cell was asked to run while it was closed or busy", hint="Report.")
        self._sandbox.check()
        self._busy = True
        try:
            return await self._run(task, into)
        finally:
            self._busy = False

    async def close(self) -> None:
        """See ``runner.Cell.close``."""
        self._closed = True
        self._sandbox._cells.discard(self)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self, task: Task, into: Path) -> Outcome:
        stage = self._stage(task)
        began = time.monotonic()
        played = await self._race(stage)
        ending = played.ending
        if ending is Ending.EXITED:
            if played.cpu_seconds > self.program.limits.cpu_seconds:
                ending = Ending.CPU
            elif self._size(stage, played) > self.program.limits.output_bytes:
                ending = Ending.OUTPUT
        outputs = self._take(stage, played, into) if ending is Ending.EXITED else {}
        return Outcome(
            ending,
            played.status if ending is Ending.EXITED else -1,
            outputs,
            tuple(name for name in task.outputs if name not in outputs),
            played.stderr[-STDERR_TAIL:],
            played.cpu_seconds,
            time.monotonic() - began,
        )

    def _stage(self, task: Task) -> Stage:
        """Fresh folders with copies of what the unit may read."""
        shutil.rmtree(self._folder, ignore_errors=True)
        stage = Stage(self.program, task, *(self._folder / part for part in ("job", "in", "out")))
        for folder, mounts in (
            (stage.job, self.program.files),
            (stage.inputs, task.inputs),
            (stage.out, ()),
        ):
            folder.mkdir(parents=True)
            for name in task.folders if folder is stage.inputs else ():
                (folder / name).mkdir()
            for mount in mounts:
                try:
                    shutil.copyfile(mount.path, folder / mount.place)
                except OSError as error:
                    raise LocalError(
                        f"the file {mount.path} for {mount.name!r} cannot be used: {error}",
                        hint="Check that the file exists and is readable.",
                    ) from None
        return stage

    async def _race(self, stage: Stage) -> Played:
        """Play it, unless the wall limit or the engine's end comes first."""
        limit = self.program.limits.wall_seconds
        async with asyncio.TaskGroup() as group:
            play = group.create_task(_play(self._sandbox.play, stage))
            stop = group.create_task(self._sandbox._stopped.wait())
            done, _ = await asyncio.wait(
                (play, stop), timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            play.cancel()
            stop.cancel()
        if play in done:
            return play.result()
        return Played(ending=Ending.LOST if stop in done else Ending.WALL)

    @staticmethod
    def _size(stage: Stage, played: Played) -> int:
        kept = len(played.stdout) if stage.task.stdout is not None else 0
        return kept + sum(path.lstat().st_size for path in stage.out.iterdir())

    @staticmethod
    def _take(stage: Stage, played: Played, into: Path) -> dict[str, Path]:
        taken = {}
        if stage.task.stdout is not None:
            (stage.out / stage.task.stdout).write_bytes(played.stdout)
        for name in stage.task.outputs:
            source, target = stage.out / name, into / name
            if source.is_file() and not source.is_symlink():
                with source.open("rb") as read, target.open("xb") as write:
                    shutil.copyfileobj(read, write)
                taken[name] = target
        return taken


async def _play(play: Play, stage: Stage) -> Played:
    return await play(stage)
