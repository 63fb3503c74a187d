"""One warm container: runs the units of one program one after the other, replaced when in doubt."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from sandbox.attach import Attach, HungUpError
from sandbox.berth import GRACE_SECONDS, START_SECONDS, Berth, Maker
from sandbox.calls import Calls
from sandbox.frames import Ended, Event, FileBegins, FileData, Ready, Replies, encode_task
from sandbox.runner import Ending, Limits, Outcome, Task
from sandbox.slot import Slot
from workunits.errors import LocalError, RemoteError, UnavailableError

RESET_SECONDS = 2.0
"""How long a container may take to clean up after a unit before it is replaced."""
STREAM_RATE = 20e6
"""Slowest speed at which outputs leave a container that is not stuck, in bytes per second."""


class DockerCell:
    """See ``runner.Cell``."""

    def __init__(
        self,
        calls: Calls,
        maker: Maker,
        limits: Limits,
        slot: Slot,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_close: Callable[["DockerCell"], None] = lambda cell: None,
    ) -> None:
        self._berth: Berth[Event] = Berth(calls, maker, slot.folder, clock)
        self._limits = limits
        self._slot = slot
        self._clock = clock
        self._on_close = on_close
        self._replies = Replies()
        self._ready = False
        self._busy = False
        self._closed = False

    async def start(self) -> Attach[Event]:
        """Start the container. Raises ``UnavailableError`` when it does not become ready."""
        self._replies = Replies()
        try:
            line = await self._berth.occupy(self._replies)
            async with asyncio.timeout(START_SECONDS):
                await self._await_ready(line)
        except (TimeoutError, HungUpError, RemoteError) as error:
            complaint = self._berth.complaint
            await self._discard()
            raise UnavailableError(
                f"a container did not become ready: {complaint[-300:] or repr(error)}",
                hint="Check that the image's python3 works, and the engine with `swarm doctor`.",
            ) from None
        except BaseException:
            await self._discard()
            raise
        return line

    async def run(self, task: Task, into: Path) -> Outcome:
        """See ``runner.Cell.run``. One unit at a time."""
        if self._closed or self._busy:
            raise LocalError(
                "a cell was asked to run while it was closed or busy",
                hint="This is a mistake in Open-Swarm; please report it.",
            )
        self._busy = True
        clean = False
        try:
            line = await self._prepare(task)
            outcome = await self._run(line, task, into)
            clean = outcome.ending is Ending.EXITED and outcome.exit_status < 128
            return outcome
        finally:
            self._busy = False
            if not clean:
                await self._discard()

    async def close(self) -> None:
        """See ``runner.Cell.close``."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        await self._discard()
        self._slot.remove()

    async def _prepare(self, task: Task) -> Attach[Event]:
        """A clean container with the task's inputs in place."""
        line = self._berth.warm(self._limits.wall_seconds)
        if line is None or not await self._is_clean(line):
            line = None
            await self._discard()
        if self._slot.needs_copy(task.inputs):
            await asyncio.to_thread(self._slot.fill, task.inputs, task.folders)
        else:
            self._slot.fill(task.inputs, task.folders)
        return line or await self.start()

    async def _is_clean(self, line: Attach[Event]) -> bool:
        try:
            async with asyncio.timeout(RESET_SECONDS):
                await self._await_ready(line)
        except (TimeoutError, HungUpError, RemoteError):
            return False
        return True

    async def _await_ready(self, line: Attach[Event]) -> None:
        while not self._ready:
            self._ready = isinstance(await line.next(), Ready)

    async def _run(self, line: Attach[Event], task: Task, into: Path) -> Outcome:
        began = self._clock()
        limit = self._limits.wall_seconds + GRACE_SECONDS + self._limits.output_bytes / STREAM_RATE
        outputs = Outputs(task.outputs, into)
        ended = None
        try:
            async with asyncio.timeout(limit):
                self._ready = False
                self._replies.expect(len(task.outputs), self._limits.output_bytes)
                line.send(encode_task(task, self._limits))
                ended = await self._collect(line, outputs)
            ending = ended.ending
        except TimeoutError:
            ending = Ending.WALL
        except HungUpError:
            out_of_memory = await self._berth.ran_out_of_memory()
            ending = Ending.MEMORY if out_of_memory else Ending.LOST
        except RemoteError:
            ending = Ending.LOST
        except OSError as error:
            raise LocalError(
                f"an output could not be written to {into}: {error.strerror}",
                hint="Free disk space, and check that the folder is there and empty.",
            ) from None
        finally:
            if ended is None or ended.ending is not Ending.EXITED:
                outputs.drop()
        paths = outputs.finish()
        return Outcome(
            ending,
            ended.status if ended is not None and ending is Ending.EXITED else -1,
            paths,
            tuple(name for name in task.outputs if name not in paths),
            ended.stderr if ended is not None else b"",
            ended.cpu_seconds if ended is not None else 0.0,
            ended.wall_seconds if ended is not None else self._clock() - began,
        )

    @staticmethod
    async def _collect(line: Attach[Event], outputs: "Outputs") -> Ended:
        while True:
            match await line.next():
                case FileBegins(index, size):
                    outputs.begin(index, size)
                case FileData(data):
                    outputs.write(data)
                case Ended() as ended:
                    return ended
                case Ready():
                    raise AssertionError("the parser lets no Ready through in mid-unit")

    async def _discard(self) -> None:
        self._ready = False
        await self._berth.clear()


class Outputs:
    """Writes what the parser let through into new files of a folder of the host."""

    __slots__ = ("_file", "_folder", "_left", "_names", "_paths")

    def __init__(self, names: tuple[str, ...], folder: Path) -> None:
        self._names = names
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._file: int | None = None
        self._left = 0

    def begin(self, index: int, size: int) -> None:
        """The next output begins."""
        path = self._folder / self._names[index]
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o644)
        self._paths[self._names[index]] = path
        self._left = size
        if not size:
            self.close()

    def write(self, data: bytes) -> None:
        """The next bytes of it."""
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._left -= len(data)
        if not self._left:
            self.close()

    def finish(self) -> dict[str, Path]:
        """The files that are complete, by name, in the order of their declaration."""
        return {name: self._paths[name] for name in self._names if name in self._paths}

    def close(self) -> None:
        """Close what is open."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def drop(self) -> None:
        """Remove everything: the unit has no result."""
        self.close()
        for path in self._paths.values():
            path.unlink(missing_ok=True)
        self._paths.clear()
