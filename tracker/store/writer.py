"""The writer: one thread, group commit. What it calls back for is on disk."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from tracker.rows import TABLES, Row, TorrentRow
from tracker.store.schema import connect, migrate
from workunits.errors import LocalError

Then: TypeAlias = Callable[[], None]
MAX_GROUP = 1000
"""Submissions that share one transaction."""


class Writer:
    """Writes rows in the order in which they come, as many to a transaction as are waiting.

    ``done`` is called from the writer's thread with the callbacks of each transaction after it is
    durable, ``failed`` once with the error that ended the thread, ``watch`` from the thread of who
    writes, with all that is to be written.
    """

    def __init__(
        self,
        path: Path,
        done: Callable[[list[Then]], None],
        failed: Callable[[LocalError], None],
        watch: Callable[[list[Row]], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._done = done
        self._failed = failed
        self._watch = watch
        self._queue: queue.SimpleQueue[tuple[list[Row], Then | None] | None] = queue.SimpleQueue()
        self._connection = connect(path)
        migrate(self._connection)
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self.transactions = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def write(self, rows: list[Row], then: Then | None = None) -> None:
        """Write ``rows``, then have ``then`` called. Returns at once."""
        self._watch(rows)
        self._queue.put((rows, then))

    def stop(self) -> None:
        """Write what is waiting, and end. Blocks until then."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        more = True
        while more:
            group = [self._queue.get()]
            while len(group) < MAX_GROUP:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            work = [item for item in group if item is not None]
            more = len(work) == len(group)
            try:
                self._write(row for rows, _ in work for row in rows)
            except (sqlite3.Error, OverflowError) as error:
                self._failed(
                    LocalError(
                        f"cannot write to {self._path}: {error}",
                        hint="Free space on the disk, then start the tracker again; what it "
                        "acknowledged is there.",
                    )
                )
                return
            self._done([then for _, then in work if then])

    def _write(self, rows: Iterable[Row]) -> None:
        latest: dict[type[Row], dict[tuple[object, ...], Row]] = {}
        for row in rows:
            kind = type(row)
            latest.setdefault(kind, {})[row[: TABLES[kind].keys]] = row
        if not latest:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        for kind, versions in latest.items():
            self._connection.executemany(_UPSERT[kind], versions.values())
        if TorrentRow in latest:
            self._connection.execute("DELETE FROM torrents WHERE removed = 1")
        self._connection.execute("COMMIT")
        self.transactions += 1


def _upsert(kind: type[Row]) -> str:
    places = ", ".join("?" * len(kind._fields))
    name = TABLES[kind].name
    return f"INSERT OR REPLACE INTO {name} VALUES ({places})"  # noqa: S608 - our own words


_UPSERT = {kind: _upsert(kind) for kind in TABLES}
