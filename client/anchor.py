"""Files below one folder, opened so that no link in a path can lead out of it."""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from client.disk import disk_error
from workunits.errors import LocalError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_MODE, FOLDER_MODE = 0o644, 0o755

Parts = Sequence[str]
"""Components of a path below the folder, each a plain name."""


class Anchor:
    """A folder that is held open; it may be a link itself, nothing below it may."""

    __slots__ = ("_number", "path")

    def __init__(self, path: Path, *, make: bool = False) -> None:
        """Raises ``LocalError`` when the folder is not there and is not to be made."""
        self.path = path
        try:
            if make:
                path.mkdir(parents=True, exist_ok=True)
            self._number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise folder_error(error, path) from None

    def close(self) -> None:
        """Let go of the folder. May be called again."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def place(self, parts: Parts) -> Path:
        """The path, for people."""
        return self.path.joinpath(*parts)

    def status(self, parts: Parts) -> os.stat_result | None:
        """What is at ``parts``; None where there is nothing.

        Raises ``LocalError`` when it is no regular file, or no folder leads there.
        """
        folder = self._walk(parts[:-1], make=False)
        if folder is None:
            return None
        try:
            found = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise folder_error(error, self.place(parts)) from None
        finally:
            os.close(folder)
        if not stat.S_ISREG(found.st_mode):
            raise LocalError(
                f"{self.place(parts)} is in the way: it is no regular file",
                hint="Move it away, or use another folder.",
            )
        return found

    def open(self, parts: Parts, flags: int) -> int:
        """A file descriptor; with ``O_CREAT`` the file and the folders to it are made.

        Raises ``LocalError``.
        """
        folder = self._walk(parts[:-1], make=bool(flags & os.O_CREAT))
        try:
            if folder is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            number = os.open(parts[-1], flags, FILE_MODE, dir_fd=folder)
            if not stat.S_ISREG(os.fstat(number).st_mode):
                os.close(number)
                raise OSError(errno.EINVAL, "it is no regular file")
            return number
        except OSError as error:
            raise folder_error(error, self.place(parts)) from None
        finally:
            if folder is not None:
                os.close(folder)

    def remove(self, parts: Parts) -> None:
        """Delete a file, and the folders to it that are empty then. What fails is let be."""
        for depth in range(len(parts), 0, -1):
            with suppress(OSError, LocalError):
                folder = self._walk(parts[: depth - 1], make=False)
                if folder is None:
                    continue
                try:
                    if depth == len(parts):
                        os.unlink(parts[depth - 1], dir_fd=folder)
                    else:
                        os.rmdir(parts[depth - 1], dir_fd=folder)
                finally:
                    os.close(folder)

    def sync(self, parts: Parts = ()) -> None:
        """Put the names in the folder at ``parts`` on disk. Raises ``OSError``."""
        folder = self._walk(parts, make=False)
        if folder is not None:
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _walk(self, parts: Parts, *, make: bool) -> int | None:
        """A descriptor of the folder at ``parts``, one component at a time."""
        here = os.dup(self._number)
        try:
            for depth, part in enumerate(parts):
                try:
                    below = os.open(part, _FOLDER, dir_fd=here)
                except FileNotFoundError:
                    if not make:
                        os.close(here)
                        return None
                    with suppress(FileExistsError):
                        os.mkdir(part, FOLDER_MODE, dir_fd=here)
                    below = os.open(part, _FOLDER, dir_fd=here)
                except OSError as error:
                    if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                        raise
                    raise LocalError(
                        f"{self.place(parts[: depth + 1])} is in the way: it is no folder",
                        hint="Move it away, or use another folder.",
                    ) from None
                os.close(here)
                here = below
        except OSError as error:
            os.close(here)
            raise folder_error(error, self.place(parts)) from None
        except LocalError:
            os.close(here)
            raise
        return here


def folder_error(error: OSError, path: Path) -> LocalError:
    """What a person is told when a file of theirs cannot be used."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_error(error, path)
    if error.errno == errno.ELOOP:
        return LocalError(f"{path} is a symbolic link", hint="Move it away, or use another folder.")
    return LocalError(
        f"cannot use {path}: {error.strerror or error}",
        hint="Check the path, its permissions and the disk.",
    )
