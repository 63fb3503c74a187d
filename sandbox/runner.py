"""The interface to untrusted work: what a program is, what a task asks, and how it may end.

Whoever runs units needs only this module. ``sandbox.containers`` is the real implementation,
``sandbox.fake`` the one that tests and benchmarks use.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from workunits.errors import MalformedError

MAX_FILES = 64
"""Most files in one program, inputs or declared outputs of one task."""
MAX_COMMAND = 64 * 1024
"""Most bytes in the words of one command together."""
STDERR_TAIL = 16 * 1024
"""How much of the end of standard error is kept for people, in bytes."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one unit may use. All of them are enforced, none is advice.

    ``memory_bytes`` covers the program's memory and its ``/tmp``; ``output_bytes`` is the sum of
    the declared outputs.
    """

    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int
    output_bytes: int

    def __post_init__(self) -> None:
        amounts = (self.cpu_seconds, self.wall_seconds, self.memory_bytes)
        if not all(0 < amount < 2**53 for amount in amounts):
            raise MalformedError("the limits of a program must be positive numbers")
        if not 0 <= self.output_bytes < 2**53:
            raise MalformedError("the output limit of a program must not be negative")


@dataclass(frozen=True, slots=True)
class Mount:
    """One regular file of the host, shown read-only inside as ``name``.

    An input may be shown in a ``folder`` of its task; there is one level of them.
    """

    name: str
    path: Path
    folder: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def place(self) -> str:
        """Where it is shown, below ``/in`` or ``/job``."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


@dataclass(frozen=True, slots=True)
class Program:
    """What stays the same over the units of a job: image, files in ``/job``, limits.

    ``image`` is a content hash, ``sha256:`` and 64 hex digits (see ``sandbox.image``). The
    working directory is ``/job``; a file there is executable if it begins like an executable.
    """

    image: str
    files: tuple[Mount, ...]
    limits: Limits

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise MalformedError(f"{self.image[:80]!r} is not the content hash of an image")
        _check_names("files", tuple(mount.name for mount in self.files))
        _check_folders(self.files, ())


@dataclass(frozen=True, slots=True)
class Task:
    """One unit: the command, its inputs in ``/in``, and the files it is to leave in ``/out``.

    ``folders`` are those in ``/in``, there even when no input is in them. ``stdout`` names the
    declared output that receives the command's standard output; without it standard output is
    thrown away.
    """

    command: tuple[str, ...]
    inputs: tuple[Mount, ...]
    outputs: tuple[str, ...]
    stdout: str | None
    folders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        size = sum(len(word.encode(errors="surrogatepass")) + 1 for word in self.command)
        if not self.command or not self.command[0] or size > MAX_COMMAND:
            raise MalformedError(f"a command must have 1 to {MAX_COMMAND} bytes")
        if any("\0" in word for word in self.command):
            raise MalformedError("a command must not contain NUL characters")
        top = tuple(mount.name for mount in self.inputs if not mount.folder)
        _check_names("inputs", self.folders + top)
        for folder in self.folders:
            names = tuple(mount.name for mount in self.inputs if mount.folder == folder)
            _check_names(f"inputs in {folder}", names)
        _check_folders(self.inputs, self.folders)
        _check_names("outputs", self.outputs)
        if self.stdout is not None and self.stdout not in self.outputs:
            raise MalformedError(f"standard output goes to {self.stdout!r}, which is no output")


class Ending(StrEnum):
    """How a unit ended. Everything but ``LOST`` is the program's own doing."""

    EXITED = "exited"
    """It ended by itself; ``Outcome.exit_status`` says how."""
    CPU = "cpu"
    WALL = "wall"
    MEMORY = "memory"
    OUTPUT = "output"
    LOST = "lost"
    """The engine or the container died: our side. Not a result; run the unit again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a unit left behind.

    ``exit_status`` is 0 to 255, 128 + N where signal N killed it, and -1 where it is not known.
    Every declared output is either in ``outputs`` (name to file on the host) or in ``missing``.
    Only ``exited`` has outputs. ``stderr`` is the tail, for people, at most ``STDERR_TAIL``.
    """

    ending: Ending
    exit_status: int
    outputs: Mapping[str, Path]
    missing: tuple[str, ...]
    stderr: bytes
    cpu_seconds: float
    wall_seconds: float


class Cell(Protocol):
    """A place where the units of one program run, one after the other, unaware of each other."""

    async def run(self, task: Task, into: Path) -> Outcome:
        """Run one unit; its outputs become files in the existing directory ``into``.

        Raises ``UnavailableError`` when nothing could be started, and ``LocalError`` when an
        input cannot be read. What the program does never raises; it is in the outcome.
        """

    async def close(self) -> None:
        """Give the place back. Kills what still runs. Safe to call twice."""


class Sandbox(Protocol):
    """A way to run untrusted programs."""

    async def images(self) -> frozenset[str]:
        """Content hashes of the images that programs can use at once."""

    async def load(self, image: str, layers: Sequence[tuple[bytes, Path]]) -> None:
        """Make an image usable, out of its layers: diff id and tar file of each, lowest first.

        Raises ``MalformedError`` or ``LimitError`` when they are not the image or may not be used,
        ``LocalError`` when they cannot be read, and ``UnavailableError`` when the engine does not
        answer or has no room.
        """

    async def forget(self, image: str) -> bool:
        """Remove an image that ``load`` brought; whether it is gone. One in use stays."""

    async def open(self, program: Program) -> Cell:
        """Prepare a place for ``program``.

        Raises ``UnavailableError`` when the engine does not answer, or the image is not there or
        may not be used.
        """

    async def reap(self) -> int:
        """Remove what dead or overdue owners left behind; returns how many things were removed."""

    async def close(self) -> None:
        """Close every cell and let go of the engine. Safe to call twice."""


def check_name(name: str) -> str:
    """Return ``name`` if it is fit to be a file name inside; ``MalformedError`` otherwise."""
    if not _NAME.fullmatch(name):
        raise MalformedError(
            f"{name[:120]!r} is not a file name: use 1 to 100 letters, digits, '.', '_' and '-', "
            "not beginning with '.' or '-'"
        )
    return name


def _check_folders(mounts: tuple[Mount, ...], folders: tuple[str, ...]) -> None:
    for mount in mounts:
        if mount.folder and mount.folder not in folders:
            raise MalformedError(f"there is no folder {mount.folder[:80]!r} for {mount.name!r}")


def _check_names(what: str, names: tuple[str, ...]) -> None:
    if len(names) > MAX_FILES:
        raise MalformedError(f"{len(names)} {what} are more than {MAX_FILES}")
    for name in names:
        check_name(name)
    if len(set(names)) != len(names):
        raise MalformedError(f"the {what} have two files of one name")
