"""Locks between processes. A process that ends, or is killed, holds none: the kernel sees to it."""

import fcntl
import os
from pathlib import Path


class Lock:
    """A file that one process can hold alone, or any number of them can share.

    Held from the first of ``take``, ``try_take`` and ``share`` that succeeds until it is closed,
    with the block or before. Programs that are started meanwhile do not hold it. The file stays:
    to remove it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, which is made if it is not there, for this user only: whoever can open it
        can hold it. Raises ``OSError``."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> None:
        """Hold it alone; blocks until everybody else has closed it. Raises ``OSError``."""
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def try_take(self) -> bool:
        """Hold it alone if nobody else holds or shares it now; False if somebody does, and then
        our own share of it may be gone. Raises ``OSError``."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> None:
        """Hold it together with others who share it; blocks while somebody holds it alone.
        Raises ``OSError``."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def close(self) -> None:
        """Hold it no longer."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
