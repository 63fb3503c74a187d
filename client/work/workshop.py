"""Where units are computed: blobs in, cells, programs, results out. Carries out local commands."""

import asyncio
import itertools
import shutil
from asyncio import Task, TaskGroup
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from client.scheduling import moves
from client.scheduling.moves import Event
from client.scheduling.needs import Need
from client.work import answering, comparison, notices
from client.work.answering import Inquiry, Said
from client.work.images import Images
from client.work.notices import Notice
from client.work.outcomes import describe, is_lost
from client.work.speech import Speeches
from client.work.stash import Entry
from client.work.streaming import Streams
from client.work.supply import Blobs
from sandbox.models.runtime import ModelCell, ModelRuntime, OutOfMemoryError
from sandbox.runner import Cell, Limits, Mount, Outcome, Program, Sandbox
from sandbox.runner import Task as Job
from workunits.errors import LimitError, MalformedError, SwarmError
from workunits.ids import BlobRef, Digest, JobId, LeaseToken
from workunits.images import Image
from workunits.manifest import Manifest, SignedManifest
from workunits.models.request import Request
from workunits.parameters import NamedBlob
from workunits.results import Result
from workunits.verification import Comparator
from workunits.wire.models import Ask

INPUT = "input"
"""Why the blobs that units read are held."""

STOP_PATIENCE = 2.0
"""Seconds that a model has to end an answer that nobody needs; after that it is killed."""


class Runtime(Sandbox, ModelRuntime, Protocol):
    """A way to run programs, and models."""


def why_output(token: LeaseToken) -> str:
    """Why the outputs of a lease are held."""
    return f"lease {token}"


class Desk(Protocol):
    """Who gives the commands and hears what became of them."""

    def tell(self, event: Event) -> None:
        """Something happened."""

    def notify(self, notice: Notice) -> None:
        """Tell people."""

    def job(self, job: JobId) -> SignedManifest:
        """The manifest of a job that a command names."""

    def keep(self, entry: Entry) -> None:
        """Put a result on disk; called in a thread. Raises ``LocalError``."""

    def computed(self, token: LeaseToken, digest: Digest, shared: tuple[BlobRef, ...]) -> None:
        """A result is on disk; ``shared`` are its outputs if they do not travel inline."""


_Cell = TypeVar("_Cell", Cell, ModelCell)


class Workshop:
    """The cells, the blobs that they read, and the tasks around them."""

    def __init__(
        self,
        desk: Desk,
        sandbox: Runtime,
        blobs: Blobs,
        images: Images,
        speeches: Speeches,
        scratch: Path,
        clock: Callable[[], float],
    ) -> None:
        """``scratch`` is a folder for units that run; ``clock`` is monotonic seconds."""
        self._desk = desk
        self._sandbox = sandbox
        self._blobs = blobs
        self._images = images
        self._speeches = speeches
        self._streams = Streams(speeches)
        self._scratch = scratch
        self._clock = clock
        self._paths: dict[BlobRef, Path] = {}
        self._fetches: dict[Need, Task[None]] = {}
        self._kept: set[Image] = set()
        self._cells: dict[int, Cell] = {}
        self._models: dict[int, ModelCell] = {}
        self._inquiries: dict[int, Inquiry] = {}
        self._runs: dict[int, Task[None]] = {}
        self._numbers = itertools.count()
        self._folders: list[Path] = []
        """Empty folders for outputs; making one for every unit costs more than many units."""

    def start(self, group: TaskGroup) -> None:
        """Tasks go to ``group`` from now on."""
        self._group = group

    async def close(self) -> None:
        """End every cell. The group's tasks must have ended before."""
        async with TaskGroup() as group:
            for cells in (self._cells, self._models):
                for cell in cells.values():
                    group.create_task(self._end(cell))
        self._cells.clear()
        self._models.clear()
        for ref in self._paths:
            self._blobs.release(ref, INPUT)

    # -- commands ---------------------------------------------------------------------------

    def fetch(self, command: moves.Fetch) -> None:
        """Get a blob or an image."""
        need = command.ref
        if isinstance(need, Image):
            work = self._fetch_image(need)
        else:
            self._desk.notify(notices.Fetching(need))
            work = self._fetch(need)
        self._fetches[need] = self._group.create_task(work)

    def drop(self, command: moves.Drop) -> None:
        """Let go of a blob or an image, or stop fetching it."""
        need = command.ref
        task = self._fetches.pop(need, None)
        if task is not None:
            task.cancel()
        if not isinstance(need, Image):
            self._paths.pop(need, None)
            self._blobs.release(need, INPUT)
        elif need in self._kept:
            self._kept.discard(need)
            self._images.release(need)

    def open(self, command: moves.Open) -> None:
        """Open a cell."""
        manifest = self._desk.job(command.job).manifest
        if manifest.program.model:
            (model,) = manifest.program.files
            load = partial(answering.serve, self._sandbox, manifest, self._paths[model.ref])
            self._group.create_task(self._open(command.cell, self._models, load, manifest))
            return
        limits = manifest.limits
        program = Program(
            manifest.program.image,
            self._mounts(manifest.program.files),
            Limits(
                limits.cpu_seconds, limits.wall_seconds, limits.memory_bytes, limits.output_bytes
            ),
        )
        make = partial(self._sandbox.open, program)
        self._group.create_task(self._open(command.cell, self._cells, make, manifest))

    def run(self, command: moves.Run) -> None:
        """Run a unit."""
        manifest = self._desk.job(command.unit.job).manifest
        unit = manifest.unit(command.unit.job, command.unit.index)
        self._desk.notify(notices.Started(unit.id, unit.parameters))
        if manifest.program.model:
            self._inquire(command, manifest)
            return
        job = Job(
            unit.command,
            self._mounts(unit.inputs),
            manifest.outputs,
            manifest.program.stdout or None,
        )
        work = self._run(command, self._cells[command.cell], job, manifest)
        self._runs[command.cell] = self._group.create_task(work)

    def judge(self, command: moves.Judge) -> None:
        """Compare two results."""
        comparator = self._desk.job(command.unit.job).manifest.comparator
        paths = {ref: self._paths[ref] for ref in comparison.blobs(command.pair)}
        work = self._judge(command, self._cells[command.cell], comparator, paths)
        self._runs[command.cell] = self._group.create_task(work)

    def cut(self, command: moves.Cut) -> None:
        """End the answer of a model early."""
        inquiry = self._inquiries.get(command.cell)
        if inquiry is not None:
            inquiry.cut(command.after)

    def stop(self, command: moves.Stop) -> None:
        """End the answer of a model, for nobody needs it."""
        self._group.create_task(self._stop(command.cell))

    def end(self, command: moves.Close) -> None:
        """End a cell and what runs in it."""
        self._group.create_task(self._close(command.cell))

    # -- tasks ------------------------------------------------------------------------------

    async def _fetch(self, ref: BlobRef) -> None:
        try:
            path = await self._blobs.fetch(ref, INPUT)
        except SwarmError as error:
            del self._fetches[ref]
            self._warn(f"blob {ref} cannot be had: {error.message}", error)
            self._desk.tell(moves.FetchFailed(ref))
        else:
            del self._fetches[ref]
            self._paths[ref] = path
            self._desk.tell(moves.Fetched(ref))

    async def _fetch_image(self, image: Image) -> None:
        try:
            await self._images.fetch(image)
        except SwarmError as error:
            del self._fetches[image]
            self._warn(f"image {image.name} cannot be had: {error.message}", error)
            self._desk.tell(moves.FetchFailed(image))
        else:
            del self._fetches[image]
            self._kept.add(image)
            self._desk.tell(moves.Fetched(image))

    async def _open(
        self,
        cell: int,
        cells: dict[int, _Cell],
        make: Callable[[], Awaitable[_Cell]],
        manifest: Manifest,
    ) -> None:
        try:
            cells[cell] = await make()
        except (MalformedError, LimitError) as error:
            self._warn(f"the model of {manifest.name} is not sound: {error.message}", error)
            self._desk.tell(moves.OpenFailed(cell, "model"))
        except OutOfMemoryError as error:
            self._warn(f"the model of {manifest.name} cannot be loaded: {error.message}", error)
            self._desk.tell(moves.OpenFailed(cell, "memory"))
        except SwarmError as error:
            self._warn(f"the sandbox cannot start: {error.message}", error)
            self._desk.tell(moves.OpenFailed(cell, await self._reason(manifest.program.image)))
        else:
            self._desk.tell(moves.Opened(cell))

    async def _reason(self, image: str) -> str:
        try:
            return "engine" if image in await self._sandbox.images() else "image"
        except SwarmError:
            return "engine"

    async def _run(self, command: moves.Run, cell: Cell, job: Job, manifest: Manifest) -> None:
        folder = self._folders.pop() if self._folders else self._scratch / str(command.token)
        began = self._clock()
        clean = False
        try:
            outcome = await self._play(command, cell, lambda: job, folder)
            if outcome is not None:
                seconds = self._clock() - began
                self._desk.tell(moves.Ran(command.token))
                await self._store(command, outcome, manifest, seconds)
                for path in outcome.outputs.values():
                    path.unlink(missing_ok=True)
                clean = True
        finally:
            if clean:
                self._folders.append(folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)

    def _inquire(self, command: moves.Run, manifest: Manifest) -> None:
        ask = command.ask or Ask(command.token)
        inquiry = Inquiry(self._models[command.cell], manifest, ask)
        self._inquiries[command.cell] = inquiry
        self._speeches.begin(command.token, stream=ask.stream)
        asking = self._group.create_task(self._ask(command, inquiry, manifest))
        self._runs[command.cell] = asking

    async def _ask(self, command: moves.Run, inquiry: Inquiry, manifest: Manifest) -> None:
        token, cell = command.token, command.cell
        began = self._clock()

        def read() -> Request:
            (requests,) = manifest.inputs
            return answering.request_at(self._paths[requests.ref], command.unit.index)

        try:
            said = await inquiry.run(read, lambda spoken: self._streams.hear(token, spoken))
        except (SwarmError, OSError) as error:
            self._speeches.forget(token)
            self._lose(command, error)
            return
        finally:
            self._streams.close(token)
            del self._inquiries[cell], self._runs[cell]
        if said is None:
            return
        if said.answer is not None:
            self._speeches.end(token, said.answer, said.rate)
        else:
            self._speeches.forget(token)
        self._desk.tell(moves.Ran(token))
        await self._store_answer(command, said, inquiry.checks, self._clock() - began, manifest)

    async def _store_answer(
        self, command: moves.Run, said: Said, checked: bool, seconds: float, manifest: Manifest
    ) -> None:
        try:
            await self._keep(command, said.result, said.contents)
        except (SwarmError, OSError) as error:
            self._not_kept(command, error)
            return
        tokens = len(said.answer.tokens) if said.answer else 0
        failure = said.result.failure(manifest.outputs)
        self._desk.notify(
            notices.Answered(command.unit, seconds, tokens, said.rate, checked, failure)
        )
        self._desk.computed(command.token, said.result.digest, ())

    async def _judge(
        self,
        command: moves.Judge,
        cell: Cell,
        comparator: Comparator,
        paths: Mapping[BlobRef, Path],
    ) -> None:
        folder = self._scratch / f"pair-{next(self._numbers)}"
        began = self._clock()

        def job() -> Job:
            return comparison.task(comparator, command.pair, paths, folder)

        try:
            outcome = await self._play(command, cell, job, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if outcome is not None:
            said, seconds = comparison.opinion(outcome), self._clock() - began
            notice = notices.Compared(command.unit, seconds, said.name.lower(), outcome.stderr)
            self._desk.notify(notice)
            self._desk.tell(moves.Judged(command.token, said))

    async def _play(
        self, command: moves.Run | moves.Judge, cell: Cell, job: Callable[[], Job], folder: Path
    ) -> Outcome | None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            outcome = await cell.run(job(), folder)
        except (SwarmError, OSError) as error:
            self._lose(command, error)
            return None
        finally:
            self._runs.pop(command.cell, None)
        if not is_lost(outcome):
            return outcome
        self._warn(f"unit {command.unit} was lost: its sandbox died")
        self._desk.tell(moves.RunFailed(command.token, "engine"))
        return None

    def _lose(self, command: moves.Run | moves.Judge, error: SwarmError | OSError) -> None:
        if isinstance(error, SwarmError):
            self._warn(f"unit {command.unit} could not be run: {error.message}", error)
        else:
            self._warn(f"unit {command.unit} could not be run: {error}")
        reason = "engine" if isinstance(error, SwarmError) else "disk"
        if isinstance(error, OutOfMemoryError):
            reason = "memory"
        self._desk.tell(moves.RunFailed(command.token, reason))

    async def _store(
        self, command: moves.Run, outcome: Outcome, manifest: Manifest, seconds: float
    ) -> None:
        token, why = command.token, why_output(command.token)
        shared: tuple[BlobRef, ...] = ()
        try:
            result, contents = await describe(outcome, manifest, self._blobs, why)
            shared = () if contents else tuple(output.ref for output in result.outputs)
            await self._keep(command, result, contents)
        except (SwarmError, OSError) as error:
            for ref in shared:
                self._blobs.release(ref, why)
            self._not_kept(command, error)
            return
        failure = result.failure(manifest.outputs)
        self._desk.notify(notices.Finished(command.unit, seconds, failure, outcome.stderr))
        self._desk.computed(token, result.digest, shared)

    async def _keep(self, command: moves.Run, result: Result, contents: tuple[bytes, ...]) -> None:
        entry = Entry(command.token, command.unit, result.encode(), contents)
        await asyncio.to_thread(self._desk.keep, entry)

    def _not_kept(self, command: moves.Run, error: SwarmError | OSError) -> None:
        self._warn(f"the result of unit {command.unit} cannot be kept: {error}")
        self._desk.tell(moves.StoreFailed(command.token, "disk"))

    async def _stop(self, cell: int) -> None:
        """Have the answer end, and keep the model for the next one, which begins sooner so."""
        run, inquiry = self._runs.get(cell), self._inquiries.get(cell)
        if inquiry is not None:
            inquiry.stop()
        if run is not None:
            await asyncio.wait([run], timeout=STOP_PATIENCE)
            if not run.done():
                await self._close(cell)
                return
        self._desk.tell(moves.Stopped(cell))

    async def _close(self, cell: int) -> None:
        run = self._runs.get(cell)
        if run is not None:
            run.cancel()
            await asyncio.wait([run])
        await self._end(self._cells.get(cell) or self._models[cell])
        for each in (self._runs, self._inquiries, self._cells, self._models):
            each.pop(cell, None)
        self._desk.tell(moves.Closed(cell))

    async def _end(self, cell: Cell | ModelCell) -> None:
        try:
            await cell.close()
        except SwarmError as error:
            self._warn(f"a sandbox did not end: {error.message}", error)

    # -- the pieces -------------------------------------------------------------------------

    def _mounts(self, blobs: tuple[NamedBlob, ...]) -> tuple[Mount, ...]:
        return tuple(Mount(blob.name, self._paths[blob.ref]) for blob in blobs)

    def _warn(self, message: str, error: SwarmError | None = None) -> None:
        self._desk.notify(notices.Warned(message, error.hint if error else ""))
