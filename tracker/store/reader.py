"""The reader: questions that people and pages ask, on a connection that cannot write."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tracker.rows import (
    TABLES,
    AccountRow,
    ApiKeyRow,
    BlobRow,
    EntryRow,
    ExecutionRow,
    JobRow,
    MemberRow,
    ModelRow,
    PeerRow,
    ScoreRow,
    TorrentRow,
    UnitRow,
    UsageRow,
)
from tracker.store.schema import connect
from validators.settings import settings_of
from workunits.ids import JobId
from workunits.manifest import Manifest

_R = TypeVar(
    "_R",
    AccountRow,
    ApiKeyRow,
    BlobRow,
    EntryRow,
    ExecutionRow,
    JobRow,
    MemberRow,
    ModelRow,
    PeerRow,
    ScoreRow,
    TorrentRow,
    UnitRow,
    UsageRow,
)
_T = TypeVar("_T")
_GAPS = """
SELECT before + 1, idx FROM
    (SELECT idx, lag(idx, 1, -1) OVER (ORDER BY idx) AS before FROM units WHERE job = ?)
WHERE idx > before + 1 ORDER BY idx
"""
UNFINISHED = ("open", "computing", "revealing", "settled")


@dataclass(frozen=True, slots=True)
class JobTally:
    """What the rows say of a live job: how far it was leased, and how its units ended.

    ``gaps`` are ranges of units below ``leased`` that never were. ``decided`` counts the units that
    are over, by the first unit of their batch.
    """

    leased: int
    accepted: int
    failed: int
    executions: int
    wrong: int
    decided: dict[int, int]
    gaps: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the desk needs to go on after a restart."""

    jobs: list[JobRow]
    tallies: dict[bytes, JobTally]
    units: list[UnitRow]
    executions: list[ExecutionRow]
    contents: dict[bytes, bytes]
    peers: list[PeerRow]
    accounts: list[AccountRow]
    leaves: list[bytes]
    next_token: int
    scores: list[ScoreRow]
    links: int
    ringers: dict[bytes, bytes]
    statements: list[tuple[bytes, int]]


class Reader:
    """Reads in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path, read_only=True)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store-reader")

    def close(self) -> None:
        """Close the connection."""
        self._pool.shutdown()
        self._connection.close()

    async def jobs(
        self, *, state: str = "", submitter: bytes = b"", after: float = 0.0, limit: int = 100
    ) -> list[JobRow]:
        """Jobs, newest first; ``after`` is the creation time of the last one seen."""
        where = "(?1 = '' OR state = ?1) AND (?2 = x'' OR submitter = ?2)"
        where += " AND (?3 = 0 OR created < ?3) ORDER BY created DESC LIMIT ?4"
        return await self._ask(lambda: self._rows(JobRow, where, (state, submitter, after, limit)))

    async def job(self, job: bytes) -> JobRow | None:
        """One job."""
        return await self._ask(lambda: self._one(JobRow, "id = ?", (job,)))

    async def jobs_like(self, prefix: str) -> list[bytes]:
        """Ids that start with the hex digits ``prefix``, at most ten."""
        query = "SELECT id FROM jobs WHERE lower(hex(id)) LIKE ? || '%' LIMIT 10"
        return await self._ask(
            lambda: [row[0] for row in self._connection.execute(query, (prefix.lower(),))]
        )

    async def units(
        self, job: JobId, *, stage: str = "", after: int = -1, limit: int = 100
    ) -> list[UnitRow]:
        """Units of a job that were leased at least once, by index."""
        where = "job = ?1 AND (?2 = '' OR stage = ?2) AND idx > ?3 ORDER BY idx LIMIT ?4"
        return await self._ask(lambda: self._rows(UnitRow, where, (job, stage, after, limit)))

    async def executions(self, job: JobId, low: int, high: int) -> list[ExecutionRow]:
        """Every execution of the units ``low`` to ``high`` of a job, oldest first."""
        where = "job = ? AND idx BETWEEN ? AND ? ORDER BY token"
        return await self._ask(lambda: self._rows(ExecutionRow, where, (job, low, high)))

    async def accounts(self, limit: int = 1000) -> list[AccountRow]:
        """Accounts, richest first."""
        where = "1 ORDER BY balance DESC LIMIT ?"
        return await self._ask(lambda: self._rows(AccountRow, where, (limit,)))

    async def entries(self, after: int, limit: int) -> list[EntryRow]:
        """Ledger entries from number ``after``."""
        where = "number >= ? ORDER BY number LIMIT ?"
        return await self._ask(lambda: self._rows(EntryRow, where, (after, limit)))

    async def content(self, v2: bytes) -> bytes | None:
        """A small output by its v2 info-hash."""
        query = "SELECT data FROM contents WHERE v2 = ?"
        row = await self._ask(lambda: self._connection.execute(query, (v2,)).fetchone())
        return row[0] if row else None

    async def blob(self, v2: bytes) -> BlobRow | None:
        """What is known of a web-seeded blob."""
        return await self._ask(lambda: self._one(BlobRow, "v2 = ?", (v2,)))

    async def blobs_total(self) -> int:
        """Bytes of all web-seeded blobs."""
        query = "SELECT coalesce(sum(length), 0) FROM blobs"
        row: tuple[int] = await self._ask(lambda: self._connection.execute(query).fetchone())
        return row[0]

    def torrents(self) -> list[TorrentRow]:
        """Every torrent that is registered. Blocks; called once, at start."""
        return self._rows(TorrentRow, "removed = 0", ())

    def members(self) -> list[MemberRow]:
        """All that the operator said of members. Blocks; called once, at start."""
        return self._rows(MemberRow, "1", ())

    def models(self) -> list[ModelRow]:
        """Every model that was ever published, oldest first. Blocks; called once, at start."""
        return self._rows(ModelRow, "1 ORDER BY created, name", ())

    def api_keys(self) -> list[ApiKeyRow]:
        """Every API key. Blocks; called once, at start."""
        return self._rows(ApiKeyRow, "1 ORDER BY created", ())

    def usage(self) -> list[UsageRow]:
        """What API keys were used for. Blocks; called once, at start."""
        return self._rows(UsageRow, "1", ())

    def naming(self) -> Iterator[bytes]:
        """Bytes that name blobs: manifests, and results as far as they were shown. Blocks."""
        for query in (
            "SELECT manifest FROM jobs",
            "SELECT result FROM units WHERE result != x''",
            "SELECT result FROM executions WHERE result != x''",
        ):
            for row in self._connection.execute(query):
                yield row[0]

    def web_seeded(self) -> list[BlobRow]:
        """Every blob that the tracker keeps. Blocks; called once, at start."""
        return self._rows(BlobRow, "1", ())

    def snapshot(self) -> Snapshot:
        """Everything live. Blocks; called once, at start."""
        jobs = self._rows(JobRow, "state = 'active' ORDER BY created", ())
        executions = self._rows(
            ExecutionRow,
            "EXISTS (SELECT 1 FROM units WHERE units.job = executions.job "  # noqa: S608
            f"AND units.idx = executions.idx AND units.stage IN {UNFINISHED}) ORDER BY token",
            (),
        )
        units = self._rows(
            UnitRow,
            f"stage IN {UNFINISHED} AND job IN "  # noqa: S608 - our own words
            "(SELECT id FROM jobs WHERE state = 'active')",
            (),
        )
        newest = self._connection.execute("SELECT max(token) FROM executions").fetchone()[0]
        statements = self._connection.execute("SELECT id, time FROM statements").fetchall()
        contents = self._connection.execute(
            "SELECT v2, data FROM contents WHERE EXISTS "
            "(SELECT 1 FROM executions WHERE doing = 'revealed')"
        )
        return Snapshot(
            jobs,
            {job.id: self._tally(job) for job in jobs},
            units,
            executions,
            dict(contents.fetchall()),
            self._rows(PeerRow, "1", ()),
            self._rows(AccountRow, "1", ()),
            [row[0] for row in self._connection.execute("SELECT leaf FROM ledger ORDER BY number")],
            (newest or 0) + 1,
            self._rows(ScoreRow, "1", ()),
            self._count("SELECT max(used) FROM beacon"),
            dict(
                self._connection.execute(
                    "SELECT job, ringers FROM ringers WHERE job IN "
                    "(SELECT id FROM jobs WHERE state = 'active')"
                ).fetchall()
            ),
            statements,
        )

    def _tally(self, row: JobRow) -> JobTally:
        job = row.id
        batch = settings_of(Manifest.parse(row.manifest)).batch
        over = "FROM units WHERE job = ? AND stage IN ('accepted', 'failed')"
        decided: dict[int, int] = {}
        if batch > 1:
            query = f"SELECT idx - idx % ? AS first, count(*) {over} GROUP BY first"
            decided = dict(self._connection.execute(query, (batch, job)).fetchall())
        return JobTally(
            self._count("SELECT max(idx) + 1 FROM units WHERE job = ?", job),
            self._count("SELECT count(*) FROM units WHERE job = ? AND stage = 'accepted'", job),
            self._count("SELECT count(*) FROM units WHERE job = ? AND stage = 'failed'", job),
            self._count("SELECT count(*) FROM executions WHERE job = ? AND commitment != x''", job),
            self._count("SELECT count(*) FROM executions WHERE job = ? AND doing = 'wrong'", job),
            decided,
            self._connection.execute(_GAPS, (job,)).fetchall(),
        )

    def _count(self, query: str, *values: bytes) -> int:
        found = self._connection.execute(query, values).fetchone()[0]
        return int(found or 0)

    def _rows(self, kind: type[_R], where: str, values: Sequence[object]) -> list[_R]:
        query = f"SELECT * FROM {TABLES[kind].name} WHERE {where}"  # noqa: S608 - our own words
        return [kind(*row) for row in self._connection.execute(query, values)]

    def _one(self, kind: type[_R], where: str, values: Sequence[object]) -> _R | None:
        rows = self._rows(kind, where, values)
        return rows[0] if rows else None

    async def _ask(self, question: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, question)
