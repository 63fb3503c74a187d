"""Results on disk between the commit and the reveal: one small file per lease.

What a peer committed to it must be able to show, also after it was killed. A file appears by
renaming one that is synced, so it is whole or not there.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workunits import canonical
from workunits.errors import LocalError, SwarmError
from workunits.ids import JobId, LeaseToken, UnitId
from workunits.manifest import MAX_NUMERIC_OUTPUT, MAX_OUTPUTS
from workunits.results import MAX_RESULT, Result

_SUFFIX = ".result"
_MAX_FILE = MAX_NUMERIC_OUTPUT + MAX_RESULT + 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """A computed unit: its result manifest, and its outputs if they travel inline."""

    token: LeaseToken
    unit: UnitId
    result: bytes
    contents: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The bytes of its file."""
        return canonical.encode(
            {
                "contents": list(self.contents),
                "index": self.unit.index,
                "job": self.unit.job,
                "result": self.result,
                "token": self.token,
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Entry":
        """Read a file strictly; raises ``RemoteError``."""
        fields = canonical.decode_fields(raw, limit=_MAX_FILE, what="kept result")
        entry = cls(
            LeaseToken(fields.integer("token")),
            UnitId(JobId(fields.octets("job", length=32)), fields.integer("index")),
            fields.octets("result", limit=MAX_RESULT),
            fields.blocks("contents", MAX_OUTPUTS, MAX_NUMERIC_OUTPUT),
        )
        fields.end()
        Result.parse(entry.result)
        return entry


class Stash:
    """A folder of entries. Methods block on the disk; ``put`` may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """Raises ``LocalError`` when the folder cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _disk_error(folder, error) from None

    def load(self) -> tuple[list[Entry], int]:
        """All entries, and how many files could not be read (they are removed)."""
        entries, broken = [], 0
        for path in sorted(self._folder.iterdir()):
            entry = _read(path) if path.suffix == _SUFFIX else None
            if entry is not None and path == self._path(entry.token):
                entries.append(entry)
            else:
                broken += path.suffix == _SUFFIX
                with suppress(OSError):
                    path.unlink()
        return entries, broken

    def put(self, entry: Entry) -> None:
        """Keep ``entry``; it is on disk when this returns. Raises ``LocalError``."""
        path = self._path(entry.token)
        spare = path.with_suffix(".new")
        try:
            with spare.open("wb") as file:
                file.write(entry.encode())
                file.flush()
                os.fsync(file.fileno())
            spare.replace(path)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with suppress(OSError):
                spare.unlink()
            raise _disk_error(self._folder, error) from None

    def get(self, token: LeaseToken) -> Entry | None:
        """The entry of ``token``, if it is there and whole."""
        return _read(self._path(token))

    def remove(self, token: LeaseToken) -> None:
        """Forget ``token``; unknown ones are no error."""
        with suppress(OSError):
            self._path(token).unlink()

    def _path(self, token: LeaseToken) -> Path:
        return self._folder / f"{token:016x}{_SUFFIX}"


def _read(path: Path) -> Entry | None:
    try:
        with path.open("rb") as file:
            return Entry.parse(file.read(_MAX_FILE + 1))
    except (OSError, SwarmError):
        return None


def _disk_error(folder: Path, error: OSError) -> LocalError:
    return LocalError(
        f"cannot keep results in {folder}: {error.strerror or error}",
        hint="Free disk space, and check that the folder is yours.",
    )
