"""What all that keeps blobs on a disk has in common: its errors, and what it takes to be safe."""

import errno
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO

from workunits.errors import LocalError

LOCK = "lock"
_LOCK_TRIES, _LOCK_PAUSE = 5, 0.02
"""Who looks whether a folder is in use locks it too, for a moment."""


class SpaceError(LocalError):
    """The blob is small enough, but there is no room for it now."""

    code = "space"


class InUseError(LocalError):
    """Another process has the blob store."""

    code = "in-use"


def disk_error(error: OSError, path: Path) -> LocalError:
    """What a person is told when the disk fails at ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpaceError(
            f"the disk of {path} is full",
            hint="Free disk space or move the data folder to another disk.",
        )
    return LocalError(
        f"cannot use the blob store at {path}: {error.strerror or error}",
        hint="Check that the folder exists, is yours and its disk works.",
    )


def is_plain(path: Path, size: int) -> bool:
    """Whether ``path`` is a regular file of ``size`` bytes, and no link."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def sync_folder(path: Path) -> None:
    """Put the names in a folder on disk. Raises ``OSError``."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file, or replace what it holds; the bytes are on disk afterwards, its name is
    when the folder is synced. Raises ``OSError``."""
    with path.open("wb", buffering=0) as stream:
        stream.write(data)
        os.fsync(stream.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` in place of a file at once, for readers that may come at any time.

    Raises ``OSError``.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    fresh.replace(path)


def lock_folder(folder: Path) -> BinaryIO:
    """Be the only process that uses ``folder``, until what this returns is closed.

    Raises ``InUseError``, and ``LocalError`` when the disk fails.
    """
    try:
        lock = (folder / LOCK).open("ab")
    except OSError as error:
        raise disk_error(error, folder) from None
    for tried in range(_LOCK_TRIES):
        if tried:
            time.sleep(_LOCK_PAUSE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            continue
    lock.close()
    raise InUseError(
        f"another process uses the blob store {folder}",
        hint="Stop the other process or give this one a data folder of its own.",
    )


def is_locked(folder: Path) -> bool:
    """Whether a process has locked ``folder``."""
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def open_regular(path: Path) -> BinaryIO:
    """Open a file of a user's for reading. Links, folders and pipes are refused: ``LocalError``."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise LocalError(
                f"{path} is a symbolic link", hint="Name the file that it points to."
            ) from None
        raise LocalError(
            f"cannot read {path}: {error.strerror}", hint="Check the path and its permissions."
        ) from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise LocalError(f"{path} is not a regular file", hint="Name a regular file.")
    return os.fdopen(number, "rb", buffering=0)
