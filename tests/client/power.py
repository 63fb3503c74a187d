"""A disk whose power can fail: it knows what was synced, and makes up what may be left of the rest.

It stands between a program and the calls ``os.pwrite``, ``os.fsync``, ``os.fdatasync`` of this
process. What a file system promises is what a sync promised: the bytes of a file, or the names in
a folder. Everything else may or may not be on disk: any page of a file, and the names, all of them
alike, since a rename happens in both folders or in none.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import RLock
from unittest.mock import patch

PAGE = 4096
Key = tuple[int, int]


@dataclass(slots=True)
class Node:
    """A file or a folder as it was when it was synced; held open, so that it keeps its number."""

    number: int
    content: bytes = b""
    names: dict[str, Key] = field(default_factory=dict)


class Disk:
    """What is on the disk for certain. ``before`` is called before every write and sync."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.before = before
        self._nodes: dict[Key, Node] = {}
        self._mutex = RLock()

    @contextmanager
    def watching(self) -> Iterator["Disk"]:
        """Watch this process."""
        write, sync, sync_data = os.pwrite, os.fsync, os.fdatasync

        def pwrite(number: int, data: bytes, offset: int) -> int:
            with self._mutex:
                self.before()
                return write(number, data, offset)

        def fsync(number: int) -> None:
            with self._mutex:
                self.before()
                self._remember(number)
            sync(number)

        def fdatasync(number: int) -> None:
            with self._mutex:
                self.before()
                self._remember(number)
            sync_data(number)

        with (
            patch.object(os, "pwrite", pwrite),
            patch.object(os, "fsync", fsync),
            patch.object(os, "fdatasync", fdatasync),
        ):
            try:
                yield self
            finally:
                for node in self._nodes.values():
                    os.close(node.number)

    def fail(self, folder: Path, image: Path, rng: Random) -> None:
        """Copy what of ``folder`` could be found on the disk if the power failed now."""
        with self._mutex:
            self._copy_folder(folder, _key(folder.stat()), image, rng, late=rng.random() < 0.5)

    def _remember(self, number: int) -> None:
        status = os.fstat(number)
        node = self._nodes.get(_key(status))
        if node is None:
            node = self._nodes[_key(status)] = Node(os.dup(number))
        if stat.S_ISDIR(status.st_mode):
            node.names = _names(number)
        else:
            node.content = _content(number)

    def _copy_folder(
        self, live: Path | None, key: Key, image: Path, rng: Random, *, late: bool
    ) -> None:
        image.mkdir()
        node = self._nodes.get(key)
        paths: dict[Key, Path] = {}
        for found in live.iterdir() if live else ():
            with suppress(FileNotFoundError):  # renamed by another thread
                paths[_key(found.lstat())] = found
        now = {found.name: each for each, found in paths.items()}
        if live is None and node is not None:
            now = _names(node.number)  # it has another name by now
        names = now if late else node.names if node is not None else {}
        for name, each in names.items():
            path, known = paths.get(each), self._nodes.get(each)
            try:
                number = known.number if known else os.open(path or "", os.O_RDONLY)
            except FileNotFoundError:
                continue  # it was never synced and is gone
            try:
                if stat.S_ISDIR(os.fstat(number).st_mode):
                    self._copy_folder(path or _path(number), each, image / name, rng, late=late)
                else:
                    synced = known.content if known is not None else b""
                    (image / name).write_bytes(_mix(synced, _content(number), rng))
            finally:
                if known is None:
                    os.close(number)


def _mix(synced: bytes, now: bytes, rng: Random) -> bytes:
    """Some pages of ``now``, the others as they were at the last sync."""
    size = len(rng.choice([synced, now]))
    share = rng.choice([0.0, 0.5, 1.0])
    made = bytearray(size)
    for at in range(0, size, PAGE):
        source = now if rng.random() < share else synced
        part = source[at : min(size, at + PAGE)]
        made[at : at + len(part)] = part
    return bytes(made)


def _key(status: os.stat_result) -> Key:
    return status.st_dev, status.st_ino


def _path(number: int) -> Path:
    return Path(f"/proc/self/fd/{number}").readlink()


def _names(number: int) -> dict[str, Key]:
    with os.scandir(number) as entries:
        return {entry.name: _key(entry.stat(follow_symlinks=False)) for entry in entries}


def _content(number: int) -> bytes:
    with Path(f"/proc/self/fd/{number}").open("rb") as stream:
        return stream.read()
