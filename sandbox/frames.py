"""The words between host and harness, as the host sees them.

They come in frames (``sandbox.framing``). Whatever comes out of a container may have been written
by the program itself, so replies are parsed strictly: every size is known or capped before a byte
of it is kept, and the order of frames is fixed.

Around the frames lie the engine's own frames, which mark standard output and standard error of a
container without a terminal (Docker Engine API, "attach"): stream number, three zero bytes, a
32-bit big-endian length.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sandbox.framing import Framing, frame
from sandbox.runner import STDERR_TAIL, Ending, Limits, Task
from workunits.errors import LimitError, MalformedError

VERSION = 1
MAX_CHUNK = 64 * 1024
"""Most bytes of a file in one data frame."""
MAX_ENGINE_FRAME = 2**31
"""An engine frame is handed on piece by piece, so this guards the arithmetic and nothing else."""
ENDINGS = (Ending.EXITED, Ending.CPU, Ending.WALL, Ending.MEMORY, Ending.OUTPUT)
"""Endings by their number on the wire; a harness cannot declare its own loss."""

_ENGINE = struct.Struct(">BxxxI")
_FILE = struct.Struct(">HQ")
_END = struct.Struct(">BBQQ")
_TASK = struct.Struct(">ddQHHh")


@dataclass(frozen=True, slots=True)
class Ready:
    """The harness is clean and waits for a task."""


@dataclass(frozen=True, slots=True)
class FileBegins:
    """A declared output follows: its index in ``Task.outputs`` and its size in bytes."""

    index: int
    size: int


@dataclass(frozen=True, slots=True)
class FileData:
    """The next bytes of the output that was begun."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The unit is over. ``status`` means something only when it exited."""

    ending: Ending
    status: int
    cpu_seconds: float
    wall_seconds: float
    stderr: bytes


Event: TypeAlias = Ready | FileBegins | FileData | Ended


def encode_task(task: Task, limits: Limits) -> bytes:
    """The frame that starts a unit."""
    stdout = -1 if task.stdout is None else task.outputs.index(task.stdout)
    head = _TASK.pack(
        limits.cpu_seconds,
        limits.wall_seconds,
        limits.output_bytes,
        len(task.outputs),
        len(task.command),
        stdout,
    )
    words = [word.encode(errors="surrogateescape") for word in task.outputs + task.command]
    payload = head + b"\0".join(words)
    return frame(b"T", payload)


class Replies:
    """Parser of what a harness writes: bytes in, events out.

    ``expect`` opens the window for one task; outside of it only ``Ready`` is legal, and only where
    one is due. Raises ``MalformedError`` or ``LimitError``; after that the parser is useless.
    """

    __slots__ = ("_files", "_framing", "_open", "_ready_due", "_room", "_running")

    def __init__(self) -> None:
        self._framing = Framing("harness", self._limit)
        self._files: set[int] = set()
        self._open = 0
        self._room = 0
        self._running = False
        self._ready_due = True

    def expect(self, files: int, room: int) -> None:
        """A task was sent: at most ``files`` outputs of ``room`` bytes together may follow."""
        self._files = set(range(files))
        self._room = room
        self._running = True

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next bytes and yield what became complete."""
        for kind, payload in self._framing.feed(data):
            yield self._event(kind, payload)

    def _limit(self, kind: bytes) -> int | None:
        """Most payload bytes of a frame of this kind; None if it may not come now."""
        if kind == b"R" and self._ready_due and not self._running:
            return 1
        if kind == b"F" and self._running and not self._open:
            return _FILE.size
        if kind == b"D" and self._open:
            return min(self._open, MAX_CHUNK)
        if kind == b"E" and self._running and not self._open:
            return _END.size + STDERR_TAIL
        return None

    def _event(self, kind: bytes, payload: bytes) -> Event:
        if kind == b"R":
            if payload != bytes((VERSION,)):
                raise MalformedError("the harness speaks another version")
            self._ready_due = False
            return Ready()
        if kind == b"F":
            return self._file(payload)
        if kind == b"D":
            if not payload:
                raise MalformedError("the harness sent an empty piece of a file")
            self._open -= len(payload)
            return FileData(payload)
        return self._end(payload)

    def _file(self, payload: bytes) -> FileBegins:
        if len(payload) != _FILE.size:
            raise MalformedError("the harness sent a short file header")
        index, size = _FILE.unpack(payload)
        if index not in self._files:
            raise MalformedError(f"the harness sent output {index}, which is not due")
        if size > self._room:
            raise LimitError(f"the harness sent {size} bytes of output where {self._room} fit")
        self._files.discard(index)
        self._room -= size
        self._open = size
        return FileBegins(index, size)

    def _end(self, payload: bytes) -> Ended:
        if len(payload) < _END.size:
            raise MalformedError("the harness sent a short end")
        ending, status, cpu, wall = _END.unpack_from(payload)
        if ending >= len(ENDINGS):
            raise MalformedError(f"the harness sent an unknown ending {ending}")
        self._running = False
        self._ready_due = True
        return Ended(ENDINGS[ending], status, cpu / 1e6, wall / 1e6, payload[_END.size :])


class EngineFrames:
    """Parser of the engine's attach stream: bytes in, (stream number, bytes) out.

    Payloads are passed on as they come, never gathered, so nothing here grows.
    """

    __slots__ = ("_header", "_left", "_stream")

    def __init__(self) -> None:
        self._header = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take the next bytes; ``MalformedError`` when the engine itself talks nonsense."""
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                yield self._stream, piece
                continue
            wanted = _ENGINE.size - len(self._header)
            self._header += data[at : at + wanted]
            at += wanted
            if len(self._header) == _ENGINE.size:
                self._stream, self._left = _ENGINE.unpack(self._header)
                self._header = b""
                if self._stream not in (1, 2) or self._left > MAX_ENGINE_FRAME:
                    raise MalformedError("the engine sent a broken attach frame")
