"""The host folder behind ``/in`` and ``/job`` of one container."""

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from sandbox.runner import Mount
from workunits.errors import LocalError

Stamp: TypeAlias = tuple[Path, int, int, int, int]
_EXECUTABLE = (b"#!", b"\x7fELF")


class Slot:
    """Shows host files inside by hard links, or by copies where a link would not be readable.

    Nothing blocks for longer than a copy takes; callers put ``fill`` into a thread when
    ``needs_copy`` says so.
    """

    __slots__ = ("_folders", "_shown", "folder")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shown: dict[str, Stamp] = {}
        self._folders: set[str] = set()
        for part in (folder / "in", folder / "job"):
            part.mkdir(parents=True)
            part.chmod(0o755)

    def install(self, files: Iterable[Mount]) -> None:
        """Put the program's files into ``/job``, once, before the container starts."""
        for mount in files:
            _place(mount, self.folder / "job" / mount.name, _is_executable(mount))

    def needs_copy(self, inputs: Iterable[Mount]) -> bool:
        """Whether ``fill`` would have to copy something (as opposed to linking it)."""
        return any(
            self._shown.get(mount.place) != _stamp(mount) and not _is_open(mount)
            for mount in inputs
        )

    def fill(self, inputs: Iterable[Mount], folders: Iterable[str] = ()) -> None:
        """Make ``/in`` hold exactly ``inputs`` and ``folders``; what is there unchanged stays."""
        wanted = {mount.place: (mount, _stamp(mount)) for mount in inputs}
        for name in [
            n for n, stamp in self._shown.items() if n not in wanted or wanted[n][1] != stamp
        ]:
            (self.folder / "in" / name).unlink(missing_ok=True)
            del self._shown[name]
        self._fold(set(folders))
        for name, (mount, stamp) in wanted.items():
            if name not in self._shown:
                _place(mount, self.folder / "in" / name, executable=False)
                self._shown[name] = stamp

    def _fold(self, folders: set[str]) -> None:
        for name in self._folders - folders:
            (self.folder / "in" / name).rmdir()
            self._folders.discard(name)
        for name in folders - self._folders:
            made = self.folder / "in" / name
            made.mkdir()
            made.chmod(0o755)
            self._folders.add(name)

    def remove(self) -> None:
        """Take the folder away, the originals stay."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _stamp(mount: Mount) -> Stamp:
    """What tells one state of a file from another."""
    try:
        found = mount.path.stat()
    except OSError as error:
        raise _unreadable(mount, error) from None
    return (mount.path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _is_open(mount: Mount) -> bool:
    """Whether the program's user may read the file as it is."""
    return bool(mount.path.stat().st_mode & 0o004)


def _is_executable(mount: Mount) -> bool:
    try:
        with mount.path.open("rb") as file:
            return file.read(4).startswith(_EXECUTABLE)
    except OSError as error:
        raise _unreadable(mount, error) from None


def _place(mount: Mount, target: Path, executable: bool) -> None:
    try:
        if not mount.path.is_file():
            raise OSError("not a regular file")
        target.unlink(missing_ok=True)
        if _is_open(mount) and not executable and not mount.path.is_symlink():
            # Another file system, or a kernel that protects links to files of others.
            with contextlib.suppress(OSError):
                os.link(mount.path, target)
                return
        shutil.copyfile(mount.path, target)
        target.chmod(0o555 if executable else 0o444)
    except OSError as error:
        raise _unreadable(mount, error) from None


def _unreadable(mount: Mount, error: OSError) -> LocalError:
    return LocalError(
        f"the file {mount.path} for {mount.name!r} cannot be used: {error.strerror or error}",
        hint="Check that the file exists, is readable, and that the disk is not full.",
    )
