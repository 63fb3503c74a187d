"""What lies in the folder of a blob store: read from disk, without the store's lock.

<v2>/content, info             a blob; ``info`` was last touched when it was used
incoming/<v2>/content, info,   a download under way, or one that may be gone on with; its
    journal                    ``journal`` was last touched when a piece came
holds                          why blobs are kept, and the quota; written by the owner
lock                           locked by the owner while it runs
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from client.disk import is_locked, is_plain
from client.holds import Notes
from client.incoming import CONTENT, INFO, JOURNAL
from client.journal import read_journal
from workunits.errors import SwarmError
from workunits.ids import HASH_SIZE, BlobRef
from workunits.metainfo import MAX_INFO, Metainfo, hash_stream, parse_info
from workunits.torrents import of_blob, piece_root

INCOMING = "incoming"


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob, or the part of one that came."""

    info: Metainfo
    used: float
    """When it was last used, or its last piece came; Unix seconds."""

    kept: int
    """Bytes of content that are here."""

    digests: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    """Of a part: the pieces that are here, and the roots of their SHA-256 trees."""

    holds: tuple[str, ...] = ()
    """Why it is kept."""

    @property
    def ref(self) -> BlobRef:
        """Its name."""
        return self.info.ref

    @property
    def share(self) -> float:
        """How much of it is here, from 0 to 1."""
        return self.kept / self.ref.length if self.ref.length else 1.0


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything in a store, least recently used first."""

    quota: int | None
    """Most bytes of content that its owner keeps; None when nobody said so yet."""

    running: bool
    """Whether a process has it open."""

    blobs: tuple[Stored, ...]
    parts: tuple[Stored, ...]
    claimed: int = 0
    """Bytes of the quota that are used by what is kept elsewhere: the layers of images."""

    @property
    def used(self) -> int:
        """Bytes of the quota that are taken: all of a part, for there is room set aside for it."""
        return sum(each.ref.length for each in (*self.blobs, *self.parts)) + self.claimed

    @property
    def free(self) -> int | None:
        """Bytes of the quota that nothing takes."""
        return None if self.quota is None else max(0, self.quota - self.used)

    @classmethod
    def take(cls, folder: Path) -> "Inventory":
        """Look at the store in ``folder``; one that is not there is empty."""
        notes = Notes.load(folder)
        return cls(
            notes.quota,
            is_locked(folder),
            tuple(_with_holds(stored_in(folder), notes)),
            tuple(_with_holds(parts_in(folder), notes)),
            notes.claimed,
        )


def stored_in(folder: Path) -> Iterator[Stored]:
    """The blobs of a store, least recently used first."""
    found = [(path, read_info(path)) for path in named_in(folder)]
    return iter(_by_use(Stored(i, _age(p / INFO), i.length) for p, i in found if i is not None))


def parts_in(folder: Path) -> Iterator[Stored]:
    """The downloads of a store that have begun, least recently used first."""
    found = [read_part(path) for path in named_in(folder / INCOMING)]
    return iter(_by_use(each for each in found if each is not None))


def named_in(folder: Path) -> list[Path]:
    """The folders below ``folder`` that have the name of a blob."""
    with suppress(OSError), os.scandir(folder) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if len(entry.name) == 2 * HASH_SIZE and entry.is_dir(follow_symlinks=False)
        ]
    return []


def read_info(folder: Path) -> Metainfo | None:
    """The metainfo of the blob in ``folder``; None when the folder is not what it should be."""
    try:
        with (folder / INFO).open("rb") as stream:
            info = parse_info(stream.read(MAX_INFO + 1))
    except (OSError, SwarmError):
        return None
    plain = is_plain(folder / INFO, len(info.raw)) and is_plain(folder / CONTENT, info.length)
    return info if plain and info.ref.v2.hex() == folder.name else None


def read_part(folder: Path) -> Stored | None:
    """The download in ``folder``; None when it cannot be gone on with."""
    info = read_info(folder)
    if info is None:
        return None
    digests = read_journal(folder / JOURNAL, info.ref.v2, info.count)
    if digests is None:
        return None
    return Stored(info, _age(folder / JOURNAL), sum(map(info.size_of, digests)), digests)


def is_intact(folder: Path, stored: Stored) -> bool:
    """Read what a store has of a blob again, and hash it. False also when it cannot be read."""
    info, whole = stored.info, not stored.digests
    place = (folder if whole else folder / INCOMING) / str(stored.ref)
    try:
        with (place / CONTENT).open("rb") as stream:
            if whole:
                return hash_stream(stream, info.length).info.ref == stored.ref
            for piece, digest in stored.digests.items():
                stream.seek(piece * info.piece_length)
                data = stream.read(info.size_of(piece))
                if digest not in (b"", piece_root(data, of_blob(info), piece)):
                    return False
    except (OSError, SwarmError):
        return False
    return True


def _with_holds(found: Iterator[Stored], notes: Notes) -> Iterator[Stored]:
    for each in found:
        reasons = notes.holds.get(str(each.ref), ())
        yield Stored(each.info, each.used, each.kept, each.digests, reasons)


def _by_use(found: Iterator[Stored]) -> list[Stored]:
    return sorted(found, key=lambda each: (each.used, each.ref))


def _age(path: Path) -> float:
    try:
        return path.stat(follow_symlinks=False).st_mtime
    except OSError:
        return 0.0
