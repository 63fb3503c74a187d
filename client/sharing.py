"""Files and folders of a person as torrents that are served where they lie."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from client.anchor import Anchor
from client.folders import JOURNAL, FolderShelf, Watch, places_of
from client.hashes import Hashes
from client.peers.storage import Halted, never
from workunits.authoring import FolderHasher, Parts, in_order
from workunits.errors import LocalError, MalformedError, UnavailableError
from workunits.metainfo import Hasher
from workunits.torrent_files import TorrentDocument
from workunits.torrents import of_blob

QUIET_SECONDS = 2.0
"""A file that changed later than this before it was read may change again unseen."""

_READ = 1024 * 1024
_BEFORE, _AFTER = JOURNAL.split("{}")


@dataclass(frozen=True, slots=True)
class Shared:
    """A torrent, and where its files lie: ``client.folders.places_of(info, name)`` below
    ``folder``."""

    path: Path
    folder: Path
    name: str
    document: TorrentDocument
    skipped: tuple[Path, ...] = ()
    """Links and other things in a folder that no torrent can hold."""


@dataclass(slots=True)
class _Tree:
    """The files at a path as they look now."""

    files: list[tuple[Parts, os.stat_result]] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(status.st_size for _, status in self.files)

    @property
    def fingerprint(self) -> bytes:
        digest = sha256()
        for parts, status in self.files:
            about = ["/".join(parts), status.st_size, status.st_mtime_ns, status.st_ino]
            digest.update(repr([*about, status.st_dev]).encode(errors="surrogateescape"))
        return digest.digest()

    @property
    def newest(self) -> float:
        return max((status.st_mtime for _, status in self.files), default=0.0)


def describe(
    path: Path,
    hashes: Hashes | None = None,
    *,
    watch: Watch = lambda done, total: None,
    halted: Halted = never,
    clock: Callable[[], float] = time.time,
) -> Shared:
    """Make the torrent of a file (a blob) or a folder; read once, and not again while unchanged.

    For a thread. ``watch`` follows, ``halted`` stops it; ``clock`` gives Unix seconds. Raises
    ``LocalError`` when something cannot be read or changes meanwhile, and ``LimitError``.
    """
    path, tree = _look(path)
    fingerprint = tree.fingerprint
    document = hashes.get(path, fingerprint) if hashes is not None else None
    if document is None:
        began = clock()
        document = _hash(path, tree, watch, halted)
        if _look(path)[1].fingerprint != fingerprint:
            raise _changed(path)
        if hashes is not None and tree.newest < began - QUIET_SECONDS:
            hashes.put(path, fingerprint, document)
    return Shared(path, path.parent, path.name, document, tuple(tree.skipped))


def match(
    document: TorrentDocument,
    path: Path,
    hashes: Hashes | None = None,
    *,
    watch: Watch = lambda done, total: None,
    halted: Halted = never,
    clock: Callable[[], float] = time.time,
) -> Shared:
    """The content of a torrent that somebody made, at ``path`` or in the folder ``path``.

    For a thread. Raises ``LocalError`` when the files are not what the torrent says.
    """
    info = document.info
    try:
        path = path.resolve(strict=True)
    except OSError as error:
        raise _unreadable(path, error) from None
    inside = path / info.files[0].path[0]
    if path.is_dir() and (info.single or path.name != info.name or inside.exists()):
        folder, name = path, info.name
    else:
        folder, name = path.parent, path.name
    if places_of(info, name)[0][0] != name:
        raise LocalError(
            f"{path} is not called what the torrent says: {info.name}",
            hint=f"Rename it to {info.name}, or seed it without the torrent file.",
        )
    place, tree = _look(folder / name)
    fingerprint = tree.fingerprint
    known = hashes.get(place, fingerprint) if hashes is not None else None
    if known is None or known.info != info:
        began = clock()
        shelf = FolderShelf(folder, name=name, layers=document.layers, watch=watch)
        good = shelf.check(info, halted)
        if len(good) < info.count:
            wrong = info.count - len(good)
            raise LocalError(
                f"{place} is not the content of the torrent: "
                f"{wrong} of {info.count} pieces differ or are missing",
                hint="Fetch what is missing with `swarm fetch`, or seed it without the torrent.",
            )
        if hashes is not None and tree.newest < began - QUIET_SECONDS:
            hashes.put(place, fingerprint, document)
    return Shared(place, folder, name, document)


def _look(path: Path) -> tuple[Path, _Tree]:
    try:
        path = path.resolve(strict=True)
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    _named(path)
    tree = _Tree()
    if stat.S_ISREG(status.st_mode):
        tree.files.append(((), status))
        return path, tree
    if not stat.S_ISDIR(status.st_mode) or not path.name:
        raise LocalError(f"{path} cannot be seeded", hint="Name a file or a folder.")
    found = dict(_walk(path, (), tree.skipped))
    tree.files = [(parts, found[parts]) for parts in in_order(found)]
    if not tree.files:
        raise LocalError(f"{path} has no files", hint="Put a file into the folder.")
    return path, tree


def _walk(
    folder: Path, parts: Parts, skipped: list[Path]
) -> Iterator[tuple[Parts, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError as error:
        raise _unreadable(folder, error) from None
    for entry in listed:
        inner = (*parts, _named(Path(entry.path)))
        if entry.name.startswith(_BEFORE) and entry.name.endswith(_AFTER):
            continue  # the journal of a download
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), inner, skipped)
        elif entry.is_file(follow_symlinks=False):
            yield inner, entry.stat(follow_symlinks=False)
        else:
            skipped.append(Path(entry.path))


def _hash(path: Path, tree: _Tree, watch: Watch, halted: Halted) -> TorrentDocument:
    total = tree.size
    anchor = Anchor(path.parent)
    try:
        if tree.files[0][0] == ():
            blob = Hasher(total)
            _feed(
                anchor, (path.name,), blob.update, total, partial(_follow, watch, halted, 0, total)
            )
            torrent = blob.finish()
            layers = {torrent.info.root: torrent.layer} if torrent.layer else {}
            return TorrentDocument(of_blob(torrent.info), layers)
        files = [(parts, status.st_size) for parts, status in tree.files]
        hasher = FolderHasher(path.name, files)
        done = 0
        for parts, size in files:
            follow = partial(_follow, watch, halted, done, total)
            _feed(anchor, (path.name, *parts), hasher.update, size, follow)
            done += size
        return hasher.finish()
    except MalformedError as error:
        if error.hint:  # a name that no torrent can have
            raise LocalError(f"{path}: {error.message}", hint="Rename it.") from None
        raise _changed(path) from None
    finally:
        anchor.close()


def _follow(watch: Watch, halted: Halted, before: int, total: int, read: int) -> None:
    if halted():
        raise UnavailableError("hashing was stopped", hint="Start it again.")
    watch(before + read, total)


def _named(path: Path) -> str:
    """The name of ``path``, which a torrent can hold as far as its letters go."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        shown = str(path).encode(errors="replace").decode()
        raise LocalError(f"{shown} has a name that is not UTF-8", hint="Rename it.") from None
    return path.name


def _feed(
    anchor: Anchor,
    parts: Sequence[str],
    update: Callable[[bytes], None],
    size: int,
    watch: Callable[[int], None],
) -> None:
    """Read the ``size`` bytes of a file."""
    left = size
    with os.fdopen(anchor.open(parts, os.O_RDONLY), "rb", buffering=0) as stream:
        while left:
            try:
                data = stream.read(min(_READ, left))
            except OSError as error:
                raise _unreadable(anchor.place(parts), error) from None
            if not data:
                raise MalformedError(f"{parts[-1]} became shorter")
            update(data)
            left -= len(data)
            watch(size - left)


def _changed(path: Path) -> LocalError:
    return LocalError(
        f"{path} changed while it was read",
        hint="Wait until nothing writes to it and try again.",
    )


def _unreadable(path: Path, error: OSError) -> LocalError:
    return LocalError(
        f"cannot read {path}: {error.strerror or error}",
        hint="Check the path and its permissions.",
    )
