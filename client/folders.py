"""Torrents in folders of people: fetched in place, gone on with after a restart, or served.

    DIR/<name>            the file, or the folder with the files
    DIR/.<name>.swarm     while it is fetched: which pieces are on disk (``client.journal``)

Files that are there already are checked piece by piece and used; what is something else is never
overwritten.
"""

import atexit
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from hashlib import sha1, sha256
from pathlib import Path

from client.anchor import Anchor, Parts, folder_error
from client.disk import InUseError, SpaceError
from client.folder_storage import Files, FolderStorage
from client.journal import Journal
from client.peers.storage import Halted, never
from client.syncer import Syncer
from workunits.errors import LocalError, MalformedError, SwarmError, UnavailableError
from workunits.ids import HASH_SIZE
from workunits.metainfo import LEAF_SIZE, layer_root
from workunits.torrents import (
    MAX_NAME,
    TorrentFile,
    TorrentInfo,
    check_component,
    piece_root,
)

RESERVE = 16 * 1024 * 1024
"""Free disk space in bytes that a download leaves."""

SLACK = 10.0
"""Seconds after its last record in which a download that was cut off may still have written."""

JOURNAL = ".{}.swarm"
_HEAD, _TAIL = JOURNAL.split("{}")
_DIGITS = 16
_LOCK_TRIES, _LOCK_PAUSE = 10, 0.05
"""A download of this process that was closed just now may still be writing down what it kept."""


There = Mapping[int, os.stat_result]
"""The files of a torrent that are there, by index."""

Watch = Callable[[int, int], None]
"""Told how many bytes were checked, of how many."""


@cache
def shared_syncer() -> Syncer:
    """The thread that puts the downloads of this process on disk; all of it when it exits."""
    syncer = Syncer()
    atexit.register(syncer.close)
    return syncer


def places_of(info: TorrentInfo, name: str = "") -> tuple[Parts, ...]:
    """Where the files of a torrent go below the folder it is fetched into.

    A blob is named by its hash, so ``name`` is used for it, where it can be the name of a file.
    Raises ``MalformedError`` for the name of a journal: with one of their own making, torrents
    could have us take wrong bytes for verified ones.
    """
    places = tuple(file.path for file in info.files)
    if name and info.is_blob:
        with suppress(SwarmError, UnicodeEncodeError):
            places = ((check_component(name.encode()),),)
    top = places[0][0].lower()
    if top.startswith(_HEAD) and top.endswith(_TAIL):
        raise MalformedError(
            f"a torrent called {places[0][0]!r} would look like a part of another one's download",
            hint="Ask whoever made it to give it another name.",
        )
    return places


def journal_of(places: Sequence[Parts]) -> str:
    """The name of the journal that belongs to files at ``places``."""
    name = JOURNAL.format(places[0][0])
    if len(name.encode()) <= MAX_NAME:
        return name
    return JOURNAL.format(sha256(places[0][0].encode()).hexdigest()[:_DIGITS])


class FolderShelf:
    """The place of one torrent below a folder; see ``client.peers.storage.Shelf``."""

    def __init__(
        self,
        folder: Path,
        info: TorrentInfo | None = None,
        *,
        name: str = "",
        layers: Mapping[bytes, bytes] | None = None,
        complete: bool = False,
        syncer: Syncer | None = None,
        watch: Watch = lambda done, total: None,
    ) -> None:
        """``name`` is what a blob is to be called. ``layers`` are piece layers by pieces root.

        ``complete`` says that the files were hashed just now, and are to be served.
        ``watch`` follows the check of files that were there.
        """
        self._folder = folder
        self._info = info
        self._name = name
        self._layers = dict(layers or {})
        self._complete = complete
        self._digests = b""
        self._syncer = syncer or shared_syncer()
        self._watch = watch

    @property
    def info(self) -> TorrentInfo | None:
        """The metainfo, where it is known."""
        return self._info

    @property
    def complete(self) -> bool:
        """Whether all of the content is known to be here."""
        return self._complete

    def open(self) -> "FolderReader":
        """Read complete content. Raises ``UnavailableError`` when it is gone or has changed."""
        if self._info is None or not self._complete:
            raise UnavailableError("the content is not here", hint="Fetch it first.")
        anchor = Anchor(self._folder)
        places = places_of(self._info, self._name)
        try:
            for file, place in zip(self._info.files, places, strict=True):
                found = anchor.status(place)
                if found is None or found.st_size != file.length:
                    raise UnavailableError(
                        f"{anchor.place(place)} is gone or has changed",
                        hint="Put it back, or seed what is there now.",
                    )
        except SwarmError:
            anchor.close()
            raise
        digests = self._digests or _digests_of(self._info, self._layers)
        return FolderReader(self._info, Files(anchor, self._info, places), digests)

    def check(self, info: TorrentInfo, halted: Halted = never) -> frozenset[int]:
        """Read the files, change nothing, and say which pieces are good. For a thread.

        Raises ``LocalError``.
        """
        files = Files(Anchor(self._folder), info, places_of(info, self._name))
        try:
            there = _look(files, info)
            return frozenset(self._check_pieces(info, files, there, range(info.count), halted))
        finally:
            files.close()

    def begin(self, info: TorrentInfo, halted: Halted = never) -> FolderStorage:
        """Receive the content, or go on with it, or take over what is there.

        For a thread: it reads files that are there, unless ``halted``. Raises ``LimitError`` or
        ``LocalError``, ``SpaceError`` when the disk has no room, and ``InUseError`` when another
        process fetches it into the same folder.
        """
        self._info = info
        places = places_of(info, self._name)
        name = journal_of(places)
        anchor = Anchor(self._folder, make=True)
        files = Files(anchor, info, places)
        lock = -1
        journal: Journal | None = None
        made: list[int] = []
        try:
            there = _look(files, info)
            stamp = anchor.status((name,))
            if stamp is None:
                digests = self._adopt(info, files, there, halted)
                fresh = sorted(digests)
                _check_room(anchor, info, there)
                journal = Journal.create(self._folder / name, _key(info))
                lock = _lock(self._folder / name)
            else:
                lock = _lock(self._folder / name)
                journal, digests = _resume(self._folder / name, info)
                self._recheck(info, files, there, digests, stamp.st_mtime, halted)
                fresh = []
                _check_room(anchor, info, there)
            made = _make_files(anchor, info, places, there)
        except BaseException as error:
            if journal is not None:
                journal.close()
            if lock >= 0:
                os.close(lock)
            files.close()
            if isinstance(error, OSError):
                raise folder_error(error, self._folder) from None
            raise
        return FolderStorage(
            *(info, files, journal, digests, self._syncer),
            fresh=fresh,
            finished=partial(self._finished, anchor, name, digests),
            ended=partial(self._ended, anchor, name, lock, [places[index] for index in made]),
        )

    # -- inside -----------------------------------------------------------------------------

    def _finished(self, anchor: Anchor, name: str, digests: Mapping[int, bytes]) -> None:
        anchor.remove((name,))
        self._digests = b"".join(digests[piece] for piece in sorted(digests))
        self._complete = True

    def _ended(
        self, anchor: Anchor, name: str, lock: int, made: Iterable[Parts], forget: bool
    ) -> None:
        if forget:
            anchor.remove((name,))
            for place in made:
                anchor.remove(place)
        elif not self._complete:
            os.utime(lock)  # what was written until now was ours
        os.close(lock)

    def _adopt(
        self, info: TorrentInfo, files: Files, there: There, halted: Halted
    ) -> dict[int, bytes]:
        """The good pieces in files that somebody else put there.

        Raises ``LocalError`` when a file is something else.
        """
        found = [index for index, status in there.items() if status.st_size]
        good = self._check_pieces(info, files, there, _touching(info, found), halted)
        for index in found:
            if good.keys().isdisjoint(info.pieces_of(info.files[index])):
                raise _foreign(files, index)
        return good

    def _recheck(
        self,
        info: TorrentInfo,
        files: Files,
        there: There,
        digests: dict[int, bytes],
        stamp: float,
        halted: Halted,
    ) -> None:
        """Drop from ``digests`` what somebody changed since ``stamp``.

        Raises ``LocalError`` when a file has become something else.
        """
        changed = []
        for index, file in enumerate(info.files):
            status = there.get(index)
            whole = status is not None and status.st_size == file.length
            if file.length and not (whole and status and status.st_mtime <= stamp + SLACK):
                changed.append(index)
        doubtful = [piece for piece in _touching(info, changed) if piece in digests]
        good = self._check_pieces(info, files, there, doubtful, halted, digests)
        for index in changed:
            kept = digests.keys() & set(info.pieces_of(info.files[index]))
            if index in there and there[index].st_size and kept and not kept & good.keys():
                raise _foreign(files, index)
        for piece in doubtful:
            if piece not in good:
                del digests[piece]

    def _check_pieces(
        self,
        info: TorrentInfo,
        files: Files,
        there: There,
        pieces: Iterable[int],
        halted: Halted,
        digests: Mapping[int, bytes] | None = None,
    ) -> dict[int, bytes]:
        """Those of ``pieces`` that are good, with their digests."""
        good: dict[int, bytes] = {}
        unsure: dict[int, bytes] = {}
        wanted = list(pieces)
        total = sum(map(info.size_of, wanted))
        done = 0
        reader = _Partial(info, files, there)
        for piece in wanted:
            if halted():
                raise UnavailableError("the check was stopped", hint="Start it again.")
            data = reader.read(piece)
            digest = piece_root(data, info, piece) if info.v2 is not None else b""
            expected = self._expected(info, piece, digests or {})
            if expected:
                if digest == expected:
                    good[piece] = digest
            elif info.pieces:
                if sha1(data, usedforsecurity=False).digest() == info.hash_of(piece):
                    good[piece] = digest
            else:
                unsure[piece] = digest
            done += info.size_of(piece)
            self._watch(done, total)
        return good | _whole(info, unsure)

    def _expected(self, info: TorrentInfo, piece: int, digests: Mapping[int, bytes]) -> bytes:
        """The SHA-256 digest that a piece must have; empty when it is not known."""
        if digests.get(piece):
            return digests[piece]
        if info.v2 is None:
            return b""
        file, index = info.place_of(piece)
        if file.length <= info.piece_length:
            return file.root
        return self._layers.get(file.root, b"")[index * HASH_SIZE : (index + 1) * HASH_SIZE]


class FolderReader:
    """Files that are complete: a ``client.peers.storage.Storage`` that takes nothing."""

    def __init__(self, info: TorrentInfo, files: Files, digests: bytes = b"") -> None:
        self.info = info
        self.verified = frozenset(range(info.count))
        self.digests = digests if len(digests) == info.count * HASH_SIZE else b""
        self._files = files

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the stream; padding is zeros. Raises ``LocalError``."""
        return self._files.read(offset, size)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises ``LocalError``: nothing is missing."""
        raise LocalError("the files are complete", hint="This is a bug; please report it.")

    def keep(self, piece: int, digest: bytes) -> None:
        """Nothing to do."""

    def commit(self) -> Path:
        """The file or folder."""
        place = self._files.places[0]
        return self._files.anchor.place(place if self.info.single else place[:1])

    def close(self) -> None:
        """Let go of the files."""
        self._files.close()

    def discard(self) -> None:
        """Let go of the files; they stay."""
        self._files.close()


class _Partial:
    """Reads pieces of which some files may be missing or short: that is zeros."""

    def __init__(self, info: TorrentInfo, files: Files, there: There) -> None:
        self._info = info
        self._files = files
        self._there = there

    def read(self, piece: int) -> bytes:
        info = self._info
        parts = []
        at = piece * info.piece_length
        for span in info.spans(at, info.size_of(piece)):
            if span.file is None or span.file not in self._there:
                parts.append(bytes(span.size))
            else:
                parts.append(self._files.read(at, span.size, short=True))
            at += span.size
        return b"".join(parts)


def _whole(info: TorrentInfo, digests: Mapping[int, bytes]) -> dict[int, bytes]:
    """Those pieces of v2 files without a known layer whose whole file is right."""
    good: dict[int, bytes] = {}
    for index in {info.file_at(piece * info.piece_length) for piece in digests} - {None}:
        assert index is not None
        file: TorrentFile = info.files[index]
        pieces = info.pieces_of(file)
        if all(piece in digests for piece in pieces):
            layer = b"".join(digests[piece] for piece in pieces)
            if layer_root(layer, info.piece_length // LEAF_SIZE) == file.root:
                good |= {piece: digests[piece] for piece in pieces}
    return good


def _digests_of(info: TorrentInfo, layers: Mapping[bytes, bytes]) -> bytes:
    """The digests of all pieces in order, as far as ``layers`` tell them."""
    parts = [
        file.root if file.length <= info.piece_length else layers.get(file.root, b"")
        for file in info.files
    ]
    return b"".join(parts)


def _touching(info: TorrentInfo, files: Iterable[int]) -> list[int]:
    return sorted({piece for index in files for piece in info.pieces_of(info.files[index])})


def _look(files: Files, info: TorrentInfo) -> There:
    """The files that are there. Raises ``LocalError`` when one is too long to be the right one."""
    there = {}
    for index, file in enumerate(info.files):
        status = files.anchor.status(files.places[index])
        if status is not None:
            there[index] = status
            if status.st_size > file.length:
                raise _foreign(files, index)
    return there


def _make_files(
    anchor: Anchor, info: TorrentInfo, places: Sequence[Parts], there: There
) -> list[int]:
    """Give every file its length; returns those that were not there before."""
    made = []
    for index, file in enumerate(info.files):
        if index in there and there[index].st_size == file.length:
            continue
        number = anchor.open(places[index], os.O_RDWR | os.O_CREAT)
        try:
            os.ftruncate(number, file.length)
        finally:
            os.close(number)
        if index not in there:
            made.append(index)
    return made


def _check_room(anchor: Anchor, info: TorrentInfo, there: There) -> None:
    free = shutil.disk_usage(anchor.path).free
    missing = info.content - sum(status.st_blocks * 512 for status in there.values())
    if free < missing + RESERVE:
        raise SpaceError(
            f"the disk of {anchor.path} has {free} bytes left, too few for {missing}",
            hint="Free disk space or fetch into another folder.",
        )


def _resume(path: Path, info: TorrentInfo) -> tuple[Journal, dict[int, bytes]]:
    try:
        return Journal.resume(path, _key(info), info.count)
    except OSError as error:
        raise LocalError(
            f"{path} belongs to another download: {error.strerror or error}",
            hint="Fetch into another folder, or delete that file.",
        ) from None


def _lock(path: Path) -> int:
    number = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.fstat(number).st_uid != os.geteuid():
        os.close(number)
        raise LocalError(
            f"{path} is somebody else's: what it says may not be true",
            hint="Fetch into another folder, or delete that file.",
        )
    for tried in range(_LOCK_TRIES):
        if tried:
            time.sleep(_LOCK_PAUSE)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number
        except OSError:
            continue
    os.close(number)
    raise InUseError(
        f"{path.name} in {path.parent} is in use: something else fetches into that folder",
        hint="Wait for it, or fetch into another folder.",
    )


def _key(info: TorrentInfo) -> bytes:
    """The 32 bytes by which the journal knows its torrent."""
    return info.v2 or info.hash20.ljust(HASH_SIZE, b"\0")


def _foreign(files: Files, index: int) -> LocalError:
    return LocalError(
        f"{files.anchor.place(files.places[index])} is there, and is something else",
        hint="Move it away, or fetch into another folder.",
    )
