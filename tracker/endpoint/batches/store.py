"""Files and batches on disk: contents in a folder, everything else in a SQLite database beside it.

What is stored survives a crash; the last answers may not survive a power cut, then they are asked
for again. Methods block: call them from a thread when they touch a whole file.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from tracker.endpoint.batches.lines import Line
from tracker.endpoint.batches.records import Batch, Counts, StoredFile

DATABASE = "batches.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id TEXT PRIMARY KEY, owner BLOB NOT NULL, name TEXT NOT NULL, purpose TEXT NOT NULL,
    size INTEGER NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS files_of ON files (owner, created);
CREATE INDEX IF NOT EXISTS files_end ON files (expires);
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner BLOB NOT NULL,
    over INTEGER NOT NULL, about BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS batches_of ON batches (owner, number);
CREATE TABLE IF NOT EXISTS lines (
    batch TEXT NOT NULL, number INTEGER NOT NULL, offset INTEGER NOT NULL,
    length INTEGER NOT NULL, custom_id TEXT NOT NULL, failed INTEGER, answer BLOB,
    prompted INTEGER NOT NULL DEFAULT 0, generated INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, number)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """A line with its answer: a JSON object that is a line of an output file."""

    number: int
    answer: bytes
    failed: bool
    prompted: int = 0
    generated: int = 0


class Store:
    """The files and batches of one tracker."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is made if need be."""
        self._folder = folder
        self._contents = folder / "files"
        self._contents.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = Lock()
        self._database = sqlite3.connect(folder / DATABASE, check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
        self._database.execute("PRAGMA secure_delete=ON")  # prompts and answers are private
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._database.close()

    # -- files ------------------------------------------------------------------------------

    def path(self, id_: str) -> Path:
        """Where the content of a file is."""
        return self._contents / id_

    def draft(self, id_: str) -> Path:
        """Where the content of a file is written before it is one."""
        return self._contents / f"{id_}.part"

    def keep(self, file: StoredFile) -> None:
        """A draft is complete."""
        draft = self.draft(file.id)
        with draft.open("rb") as content:
            os.fsync(content.fileno())
        draft.replace(self.path(file.id))
        with self._lock, self._database as database:
            database.execute(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?)",
                astuple(file),
            )

    def file(self, id_: str, owner: bytes) -> StoredFile | None:
        """A file of ``owner``."""
        rows = self._query("SELECT * FROM files WHERE id = ? AND owner = ?", id_, owner)
        return StoredFile(*rows[0]) if rows else None

    def files(self, owner: bytes) -> list[StoredFile]:
        """All files of ``owner``, newest first."""
        return [
            StoredFile(*row)
            for row in self._query(
                "SELECT * FROM files WHERE owner = ? ORDER BY created DESC, rowid DESC", owner
            )
        ]

    def held(self, owner: bytes) -> tuple[int, int]:
        """How many files ``owner`` has, and their bytes."""
        query = "SELECT count(*), coalesce(sum(size), 0) FROM files WHERE owner = ?"
        ((count, size),) = self._query(query, owner)
        return count, size

    def forget(self, id_: str) -> None:
        """Delete a file."""
        with self._lock, self._database as database:
            database.execute("DELETE FROM files WHERE id = ?", (id_,))
        self.path(id_).unlink(missing_ok=True)

    def shorten(self, id_: str, expires: int) -> None:
        """A file lives until ``expires`` at most."""
        with self._lock, self._database as database:
            database.execute(
                "UPDATE files SET expires = min(expires, ?) WHERE id = ?", (expires, id_)
            )

    def sweep(self, now: float) -> None:
        """Delete files whose time is over, and drafts that became none. An input lives as long as
        a batch works on it."""
        rows = self._query("SELECT id FROM files WHERE expires <= ?", int(now))
        used = {batch.input for batch in self.active()}
        for (id_,) in rows:
            if id_ not in used:
                self.forget(id_)
        for path in self._contents.iterdir():
            known = self._query("SELECT 1 FROM files WHERE id = ?", path.name)
            if not known and path.stat().st_mtime < now - 24 * 3600:
                path.unlink(missing_ok=True)

    def read(self, id_: str, offset: int, length: int) -> bytes:
        """A part of a file."""
        with self.path(id_).open("rb") as content:
            content.seek(offset)
            return content.read(length)

    # -- batches ----------------------------------------------------------------------------

    def save(self, batch: Batch) -> None:
        """Keep a batch as it is now."""
        with self._lock, self._database as database:
            _save(database, batch)

    def batch(self, id_: str, owner: bytes) -> Batch | None:
        """A batch of ``owner``."""
        rows = self._query("SELECT about FROM batches WHERE id = ? AND owner = ?", id_, owner)
        return self._counted(Batch.decode(rows[0][0])) if rows else None

    def batches(self, owner: bytes, after: str, limit: int) -> list[Batch]:
        """Batches of ``owner``, newest first, from the one after ``after`` on."""
        rows = self._query(
            "SELECT about FROM batches WHERE owner = ?1 AND (?2 = '' OR number < "
            "(SELECT number FROM batches WHERE id = ?2 AND owner = ?1)) "
            "ORDER BY number DESC LIMIT ?3",
            *(owner, after, limit),
        )
        return [self._counted(Batch.decode(raw)) for (raw,) in rows]

    def active(self) -> list[Batch]:
        """Batches that are not over, oldest first."""
        rows = self._query("SELECT about FROM batches WHERE NOT over ORDER BY number")
        return [Batch.decode(raw) for (raw,) in rows]

    # -- lines ------------------------------------------------------------------------------

    def begin(self, batch: Batch, lines: Iterable[Line]) -> None:
        """The input was read: these are its lines."""
        rows = ((batch.id, line.number, line.offset, line.length, line.custom_id) for line in lines)
        with self._lock, self._database as database:
            database.execute("DELETE FROM lines WHERE batch = ?", (batch.id,))
            database.executemany(
                "INSERT INTO lines (batch, number, offset, length, custom_id) "
                "VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            _save(database, batch)

    def open_lines(self, batch: Batch) -> list[Line]:
        """Lines without an answer."""
        rows = self._query(
            "SELECT number, offset, length, custom_id FROM lines "
            "WHERE batch = ? AND failed IS NULL ORDER BY number",
            batch.id,
        )
        return [
            Line(number, offset, length, custom_id, batch.endpoint)
            for number, offset, length, custom_id in rows
        ]

    def answer(self, batch: Batch, *answers: Answered) -> None:
        """Keep answers."""
        with self._lock, self._database as database:
            database.executemany(
                "UPDATE lines SET failed = ?, answer = ?, prompted = ?, generated = ? "
                "WHERE batch = ? AND number = ?",
                [
                    (each.failed, each.answer, each.prompted, each.generated, batch.id, each.number)
                    for each in answers
                ],
            )

    def answers(self, batch: Batch, *, failed: bool) -> Iterator[bytes]:
        """Answers in the order of the lines, those that failed or the others."""
        last = -1
        while rows := self._query(
            "SELECT number, answer FROM lines WHERE batch = ? AND failed = ? AND number > ? "
            "ORDER BY number LIMIT 100",
            *(batch.id, int(failed), last),
        ):
            last = rows[-1][0]
            yield from (answer for _, answer in rows)

    def counts(self, batch: Batch) -> Counts:
        """How far its lines are."""
        (row,) = self._query(
            "SELECT count(*), coalesce(sum(failed = 0), 0), coalesce(sum(failed = 1), 0), "
            "coalesce(sum(prompted), 0), coalesce(sum(generated), 0) FROM lines WHERE batch = ?",
            batch.id,
        )
        return Counts(*row)

    def finish(self, batch: Batch) -> None:
        """A batch is over: its lines are in its files, and are forgotten here."""
        with self._lock, self._database as database:
            database.execute("DELETE FROM lines WHERE batch = ?", (batch.id,))
            _save(database, batch)

    def _counted(self, batch: Batch) -> Batch:
        if not batch.over:
            batch.counts = self.counts(batch)
        return batch

    def _query(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            return self._database.execute(query, values).fetchall()


def _save(database: sqlite3.Connection, batch: Batch) -> None:
    database.execute(
        "INSERT INTO batches (id, owner, over, about) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (id) DO UPDATE SET over = ?3, about = ?4",
        (batch.id, batch.owner, int(batch.over), batch.encode()),
    )
