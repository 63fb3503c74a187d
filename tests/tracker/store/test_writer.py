"""The writer: what it calls back for is on disk, in order, many to a transaction."""

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tracker.rows import AccountRow, ContentRow, EntryRow
from tracker.store.schema import connect
from tracker.store.writer import MAX_GROUP, Then, Writer
from workunits.errors import LocalError

SECONDS = 20


class Kept:
    """A writer whose callbacks run where they come, and what it reported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failures: list[LocalError] = []
        self.failed = threading.Event()
        self.groups: list[int] = []
        self.writer = Writer(path, self._done, self._failed)

    def _done(self, callbacks: list[Then]) -> None:
        self.groups.append(len(callbacks))
        for callback in callbacks:
            callback()

    def _failed(self, error: LocalError) -> None:
        self.failures.append(error)
        self.failed.set()

    def entries(self) -> list[int]:
        """The entries that another connection sees."""
        with closing(connect(self.path, read_only=True)) as reader:
            return [row[0] for row in reader.execute("SELECT number FROM ledger ORDER BY number")]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "db")
    yield kept
    if kept.writer._thread.ident is not None:
        kept.writer.stop()
    else:
        kept.writer._connection.close()


def entry(number: int) -> EntryRow:
    return EntryRow(number, b"h", b"e")


def test_a_callback_comes_only_after_the_commit(kept: Kept) -> None:
    seen: list[list[int]] = []
    done = threading.Event()

    def check() -> None:
        seen.append(kept.entries())
        done.set()

    kept.writer.start()
    kept.writer.write([entry(0)], check)
    assert done.wait(SECONDS)
    assert seen == [[0]]


def test_what_waits_is_written_in_one_transaction_and_called_back_in_order(kept: Kept) -> None:
    order: list[int] = []
    for number in range(50):
        kept.writer.write([entry(number)], partial(order.append, number))
    kept.writer.start()
    kept.writer.stop()
    assert order == list(range(50))
    assert kept.writer.transactions == 1
    assert kept.groups[0] == 50
    assert kept.entries() == list(range(50))
    kept.writer = Kept(kept.path).writer


def test_a_group_has_a_limit(kept: Kept) -> None:
    for number in range(MAX_GROUP + 1):
        kept.writer.write([entry(number)], lambda: None)
    kept.writer.start()
    kept.writer.stop()
    assert kept.writer.transactions == 2
    assert len(kept.entries()) == MAX_GROUP + 1
    kept.writer = Kept(kept.path).writer


def test_of_several_versions_the_last_counts(kept: Kept) -> None:
    for balance in (1, 2, 3):
        kept.writer.write([AccountRow(b"a", balance, 0, 0), AccountRow(b"b", balance, 0, 0)])
    kept.writer.start()
    kept.writer.write([AccountRow(b"a", 4, 0, 0)])
    kept.writer.stop()
    with closing(connect(kept.path, read_only=True)) as reader:
        rows = dict(reader.execute("SELECT account, balance FROM accounts").fetchall())
    assert rows == {b"a": 4, b"b": 3}
    kept.writer = Kept(kept.path).writer


def test_a_callback_without_rows_waits_for_the_rows_before_it(kept: Kept) -> None:
    seen: list[list[int]] = []
    kept.writer.start()
    kept.writer.write([entry(0)])
    kept.writer.write([], lambda: seen.append(kept.entries()))
    done = threading.Event()
    kept.writer.write([], done.set)
    assert done.wait(SECONDS)
    assert seen == [[0]]


def full_disk(kept: Kept) -> None:
    pages = kept.writer._connection.execute("PRAGMA page_count").fetchone()[0]
    kept.writer._connection.execute(f"PRAGMA max_page_count={pages}")


def test_a_full_disk_ends_the_writer_with_a_hint_and_acknowledges_nothing(kept: Kept) -> None:
    full_disk(kept)
    called: list[int] = []
    kept.writer.start()
    kept.writer.write([ContentRow(b"v", b"x" * 100_000)], lambda: called.append(1))
    assert kept.failed.wait(SECONDS)
    kept.writer.write([entry(1)], lambda: called.append(2))
    (error,) = kept.failures
    assert "full" in error.message
    assert "Free space" in error.hint
    assert not called
    assert kept.entries() == []


def test_a_failed_transaction_leaves_nothing_behind(kept: Kept) -> None:
    full_disk(kept)
    kept.writer.write([entry(0)])
    kept.writer.write([ContentRow(b"v", b"x" * 100_000)])
    kept.writer.start()
    assert kept.failed.wait(SECONDS)
    assert kept.entries() == []


def test_a_read_only_database_ends_the_writer_with_a_hint(kept: Kept) -> None:
    kept.writer._connection.execute("PRAGMA query_only=1")
    kept.writer.start()
    kept.writer.write([entry(0)])
    assert kept.failed.wait(SECONDS)
    assert "readonly" in kept.failures[0].message
    assert kept.failures[0].hint


def test_a_number_beyond_the_database_is_reported_and_not_swallowed(kept: Kept) -> None:
    kept.writer.start()
    kept.writer.write([AccountRow(b"a", 2**63, 0, 0)])
    assert kept.failed.wait(SECONDS)
    assert kept.failures


PROGRAM = """
import sys
from pathlib import Path
from tracker.rows import EntryRow
from tracker.store.writer import Writer

def done(callbacks):
    for callback in callbacks:
        callback()
    sys.stdout.flush()

writer = Writer(Path(sys.argv[1]), done, print)
writer.start()
number = 0
while True:
    for _ in range(7):
        writer.write([EntryRow(number, b"h", b"e")], lambda number=number: print(number))
        number += 1
"""


@pytest.mark.parametrize("lines", [1, 40, 400])
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, lines: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(tmp_path / "db")), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    seen = b""
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(lines):
                seen += await process.stdout.readline()
    finally:
        os.kill(process.pid, signal.SIGKILL)
    seen += await process.stdout.read()
    await process.wait()
    acknowledged = [int(line) for line in seen.split(b"\n")[:-1]]
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {row[0] for row in connection.execute("SELECT number FROM ledger")}
    assert set(acknowledged) <= kept
    assert acknowledged == list(range(len(acknowledged)))
    assert kept == set(range(len(kept))), "transactions are whole and in order"
