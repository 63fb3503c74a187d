"""The reader: what people ask is answered from what was written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.tracker.work.world import manifest
from tracker.rows import (
    AccountRow,
    BlobRow,
    ContentRow,
    EntryRow,
    ExecutionRow,
    JobRow,
    PeerRow,
    Row,
    StatementRow,
    UnitRow,
)
from tracker.store.reader import JobTally, Reader
from tracker.store.writer import Writer
from workunits.ids import JobId

ONE, OTHER = JobId(b"\x11" * 32), JobId(b"\x22" * 32)


MANIFEST = manifest(9).encode()


def job(job_id: JobId, *, state: str = "active", created: float = 1.0) -> JobRow:
    return JobRow(job_id, MANIFEST, b"s", b"k" * 32, "job", state, created, 9, 0, 0, 0, 0, 0, 0, "")


def unit(index: int, stage: str = "open", job_id: JobId = ONE) -> UnitRow:
    return UnitRow(job_id, index, stage, 1, b"", b"", 0, 0, b"", "")


def execution(token: int, index: int, doing: str, commitment: bytes = b"c") -> ExecutionRow:
    return ExecutionRow(token, ONE, index, b"k", b"o", doing, commitment, b"s", 0, 0, 0, "", 0, b"")


@asynccontextmanager
async def reading(path: Path, *rows: Row) -> AsyncIterator[Reader]:
    writer = Writer(path / "db", lambda _: None, print)
    writer.start()
    writer.write(list(rows))
    writer.stop()
    reader = Reader(path / "db")
    try:
        yield reader
    finally:
        reader.close()


async def test_jobs_come_newest_first_and_page_by_creation(tmp_path: Path) -> None:
    rows = (job(ONE, created=1.0), job(OTHER, created=2.0, state="finished"))
    async with reading(tmp_path, *rows) as reader:
        assert [row.id for row in await reader.jobs()] == [OTHER, ONE]
        assert [row.id for row in await reader.jobs(limit=1)] == [OTHER]
        assert [row.id for row in await reader.jobs(after=2.0)] == [ONE]
        assert [row.id for row in await reader.jobs(state="active")] == [ONE]
        assert await reader.jobs(submitter=b"x" * 32) == []
        assert await reader.job(ONE) == rows[0]
        assert await reader.job(b"x" * 32) is None


async def test_jobs_are_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    async with reading(tmp_path, job(ONE), job(OTHER)) as reader:
        assert await reader.jobs_like("1111") == [ONE]
        assert await reader.jobs_like("3333") == []


async def test_units_and_executions_come_in_order(tmp_path: Path) -> None:
    rows = (unit(2), unit(0, "failed"), unit(1), unit(5, job_id=OTHER))
    doing = (execution(7, 0, "right"), execution(3, 0, "wrong"), execution(4, 2, "leased"))
    async with reading(tmp_path, *rows, *doing) as reader:
        assert [row.idx for row in await reader.units(ONE)] == [0, 1, 2]
        assert [row.idx for row in await reader.units(ONE, after=0, limit=1)] == [1]
        assert [row.idx for row in await reader.units(ONE, stage="failed")] == [0]
        assert [row.token for row in await reader.executions(ONE, 0, 1)] == [3, 7]


async def test_books_and_blobs_are_read_back(tmp_path: Path) -> None:
    rows: list[Row] = [AccountRow(b"a", 1, 0, 0), AccountRow(b"b", 5, 0, 0)]
    rows += [EntryRow(at, b"h", b"e") for at in range(3)]
    rows += [ContentRow(b"v", b"data")]
    rows += [BlobRow(b"w", 7, b"info", b"k"), BlobRow(b"x", 3, b"i", b"k")]
    async with reading(tmp_path, *rows) as reader:
        assert [row.account for row in await reader.accounts()] == [b"b", b"a"]
        assert [row.number for row in await reader.entries(1, 10)] == [1, 2]
        assert await reader.content(b"v") == b"data"
        assert await reader.content(b"?") is None
        assert await reader.blob(b"w") == BlobRow(b"w", 7, b"info", b"k")
        assert await reader.blobs_total() == 10


async def test_an_empty_database_has_an_empty_snapshot(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        snapshot = reader.snapshot()
        assert snapshot.jobs == []
        assert snapshot.leaves == []
        assert snapshot.next_token == 1
        assert await reader.blobs_total() == 0


async def test_a_snapshot_says_which_units_were_never_leased(tmp_path: Path) -> None:
    units = (unit(at, "computing") for at in (2, 3, 7))
    async with reading(tmp_path, job(ONE), *units, unit(9, "accepted")) as reader:
        tally = reader.snapshot().tallies[ONE]
    assert (tally.leased, tally.gaps) == (10, [(0, 2), (4, 7), (8, 9)])


async def test_a_snapshot_holds_what_is_live_and_counts_what_is_over(tmp_path: Path) -> None:
    over = job(OTHER, state="finished")
    rows = (
        *(job(ONE), over, unit(0, "accepted"), unit(1, "failed"), unit(2, "computing")),
        *(unit(3, "open"), unit(0, "computing", OTHER)),
        *(execution(1, 0, "right"), execution(2, 0, "wrong"), execution(3, 2, "committed")),
        *(execution(4, 2, "expired", b""), execution(5, 2, "leased", b"")),
        PeerRow(b"k", b"o", 0, 1, 2, 3, 0, 0, 0),
        StatementRow(b"i", b"r", b"s", 99),
        *(EntryRow(0, b"g", b"e"), EntryRow(1, b"h", b"e")),
    )
    async with reading(tmp_path, *rows) as reader:
        snapshot = reader.snapshot()
    assert [row.id for row in snapshot.jobs] == [ONE]
    assert {row.idx for row in snapshot.units} == {2, 3}
    assert [row.token for row in snapshot.executions] == [3, 4, 5]
    assert snapshot.tallies == {ONE: JobTally(4, 1, 1, 3, 1, {})}
    assert snapshot.leaves == [b"g", b"h"]
    assert snapshot.next_token == 6
    assert snapshot.statements == [(b"i", 99)]
    assert len(snapshot.peers) == 1
