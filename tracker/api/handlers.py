"""The handlers: parse a request strictly, ask the desk or the store, show a view."""

import asyncio
import base64
import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO

from aiohttp import web

from tracker.api import models as offers
from tracker.api import views
from tracker.api.models import Models
from tracker.api.openapi import document
from tracker.api.torrents import CLAIMS, Torrents
from tracker.api.views import Json
from tracker.blobs import WebSeed
from tracker.rows import ExecutionRow, JobRow, Row, StatementRow
from tracker.sessions import Sessions
from tracker.store.reader import Reader
from tracker.store.writer import Writer
from tracker.work.state import Job
from workunits.canonical import encode
from workunits.errors import MalformedError, RefusedError
from workunits.ids import JobId, PeerKey, parse_hash
from workunits.manifest import Manifest
from workunits.metainfo import hash_stream
from workunits.statements import MAX_AGE, MAX_STATEMENT, Cancel, Grant, Pay, Statement, Upload
from workunits.submission import MAX_SUBMISSION, Submission

MAX_PAGE = 1000
WATCH_SECONDS = 0.25
BENCODE = "application/x-bencode"


@dataclass
class Api:
    """The REST service of one tracker. ``operator`` may mint credits; ``said`` are the
    statements that were carried out, and when."""

    sessions: Sessions
    reader: Reader
    writer: Writer
    seed: WebSeed
    operator: PeerKey
    version: str
    torrents: Torrents
    models: Models
    said: dict[bytes, int] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        """Everything under ``/api/v1``."""
        return [
            web.get("/api/v1/status", self.status),
            web.get("/api/v1/openapi.json", self.openapi),
            web.get("/api/v1/jobs", self.jobs),
            web.post("/api/v1/jobs", self.submit),
            web.get("/api/v1/jobs/{job}", self.job),
            web.get("/api/v1/jobs/{job}/manifest", self.manifest),
            web.get("/api/v1/jobs/{job}/units", self.units),
            web.get("/api/v1/jobs/{job}/events", self.events),
            web.get("/api/v1/peers", self.peers),
            web.get("/api/v1/accounts", self.accounts),
            web.get("/api/v1/accounts/{account}", self.account),
            web.get("/api/v1/ledger", self.ledger),
            web.post("/api/v1/statements", self.statement),
            web.get("/api/v1/blobs/{blob}", self.blob),
            web.get("/api/v1/blobs/{blob}/info", self.blob_info),
            web.put("/api/v1/blobs/{blob}", self.upload),
        ]

    async def status(self, _: web.Request) -> web.Response:
        """Who this tracker is, what time it has, how much goes on."""
        desk = self.sessions.desk
        present = desk.floor.electorate.present()
        validators = sum(desk.peers[key].validator for key in present)
        return _json(
            {
                "tracker": self.operator.hex(),
                "version": self.version,
                "time": self.sessions.wall(),
                "peers": {
                    "connected": len(self.sessions),
                    "validators": validators,
                    "volunteers": len(present) - validators,
                },
                "jobs": {"active": len(desk.jobs)},
                "ledger": {
                    "entries": desk.book.entries,
                    "head": desk.book.head.hex(),
                    "minted": desk.book.minted,
                    "total": desk.book.total(),
                },
            }
        )

    async def openapi(self, _: web.Request) -> web.Response:
        """The OpenAPI document."""
        return _json(document(self.version))

    async def jobs(self, request: web.Request) -> web.Response:
        """Jobs, newest first."""
        submitter = request.query.get("submitter", "")
        rows = await self.reader.jobs(
            state=request.query.get("state", ""),
            submitter=parse_hash(submitter, "submitter") if submitter else b"",
            after=_number(request, "after", 0.0),
            limit=_limit(request),
        )
        return _json({"jobs": [self._view(row) for row in rows]})

    async def submit(self, request: web.Request) -> web.Response:
        """Take a signed manifest; the answer means that it is on disk."""
        submission = Submission.parse(await _body(request, MAX_SUBMISSION))
        signed = submission.signed
        await self.sessions.durable()  # a job that has just ended reads as over, not as active
        over = await self.reader.job(signed.id)
        if over is None or signed.id in self.sessions.desk.jobs:
            now, wall = self.sessions.clock(), self.sessions.wall()
            job = self.sessions.desk.submit(signed, now, wall, submission.ringers)
            await self.sessions.durable()
            return _json(self._live(job), status=201)
        return _json(self._view(over))

    async def job(self, request: web.Request) -> web.Response:
        """One job."""
        return _json(await self._find(request))

    async def manifest(self, request: web.Request) -> web.Response:
        """A job's signed manifest, as it was submitted."""
        row = await self._row(request)
        body = encode({"manifest": row.manifest, "signature": row.signature})
        return web.Response(body=body, content_type=BENCODE)

    async def units(self, request: web.Request) -> web.Response:
        """Units that were leased at least once, by index."""
        row = await self._row(request)
        limit = _limit(request)
        after = int(_number(request, "after", -1))
        rows = await self.reader.units(
            JobId(row.id), stage=request.query.get("state", ""), after=after, limit=limit
        )
        if not rows:
            return _json({"units": [], "next": None})
        found = await self.reader.executions(JobId(row.id), rows[0].idx, rows[-1].idx)
        manifest = Manifest.parse(row.manifest)
        by_unit: dict[int, list[ExecutionRow]] = {}
        for execution in found:
            by_unit.setdefault(execution.idx, []).append(execution)
        shown = [views.unit_row(each, manifest, by_unit.get(each.idx, [])) for each in rows]
        return _json({"units": shown, "next": rows[-1].idx if len(rows) == limit else None})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the job's view whenever it changes, until it is over."""
        job_id = JobId((await self._row(request)).id)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        seen: tuple[int, str] | None = None
        idle = 0.0
        while job := self.sessions.desk.jobs.get(job_id):
            latest = (job.version, self.sessions.desk.obstacle(job))
            if latest != seen:
                seen, idle = latest, 0.0
                await response.write(_event(self._live(job)))
            elif (idle := idle + WATCH_SECONDS) >= 15:
                idle = 0.0
                await response.write(b": still here\n\n")
            await asyncio.sleep(WATCH_SECONDS)
        await self.sessions.durable()
        row = await self.reader.job(job_id)
        if row:
            await response.write(_event(self._view(row)))
        await response.write_eof()
        return response

    async def peers(self, _: web.Request) -> web.Response:
        """Every peer that ever took part."""
        known, wall = self.sessions.desk.peers.values(), self.sessions.wall()
        return _json({"peers": [views.peer(each, self.operator, wall) for each in known]})

    async def accounts(self, request: web.Request) -> web.Response:
        """Accounts, richest first."""
        known, wall = self.sessions.desk.peers, self.sessions.wall()
        rows = await self.reader.accounts(_limit(request))
        shown = [views.account_row(row, known.get(PeerKey(row.account)), wall) for row in rows]
        return _json({"accounts": shown})

    async def account(self, request: web.Request) -> web.Response:
        """One account; a key without any credit has an empty one."""
        key = PeerKey(parse_hash(request.match_info["account"], "account"))
        account = self.sessions.desk.book.accounts.get(key)
        row = views.empty_account(key)
        if account:
            row = row._replace(balance=account.balance, earned=account.earned, spent=account.spent)
        peer = self.sessions.desk.peers.get(key)
        return _json(views.account_row(row, peer, self.sessions.wall()))

    async def ledger(self, request: web.Request) -> web.Response:
        """Ledger entries from number ``after`` on."""
        size = self.sessions.desk.public(self.sessions.clock())
        rows = await self.reader.entries(int(_number(request, "after", 0)), _limit(request))
        return _json({"entries": [views.entry_row(row) for row in rows if row.number < size]})

    async def statement(self, request: web.Request) -> web.Response:
        """Carry out a signed statement; said twice, it is done once."""
        statement = Statement.parse(await _body(request, MAX_STATEMENT))
        self._check_time(statement)
        repeated = statement.id in self.said
        if repeated:
            result = None
            await self.sessions.durable()
        else:
            result = await self._carry_out(statement, request)
        return _json({"id": statement.id.hex(), "repeated": repeated, "result": result})

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """The bytes of a blob, with range requests (BEP 19)."""
        v2 = parse_hash(request.match_info["blob"], "blob")
        if await self.reader.blob(v2):
            return web.FileResponse(
                self.seed.path(v2), headers={"Content-Type": "application/octet-stream"}
            )
        content = await self.reader.content(v2)
        if content is None:
            raise web.HTTPNotFound(reason="the tracker does not keep this blob")
        return web.Response(body=content, content_type="application/octet-stream")

    async def blob_info(self, request: web.Request) -> web.Response:
        """The raw info dictionary of a blob."""
        v2 = parse_hash(request.match_info["blob"], "blob")
        row = await self.reader.blob(v2)
        if row:
            return web.Response(body=row.info, content_type=BENCODE)
        content = await self.reader.content(v2)
        if content is None:
            raise web.HTTPNotFound(reason="the tracker does not keep this blob")
        info = hash_stream(BytesIO(content), len(content)).info
        return web.Response(body=info.raw, content_type=BENCODE)

    async def upload(self, request: web.Request) -> web.Response:
        """Keep a blob as web seed, for someone who has or had credit."""
        v2 = parse_hash(request.match_info["blob"], "blob")
        statement = Statement.parse(_header(request))
        self._check_time(statement)
        claim = statement.claim
        if not isinstance(claim, Upload) or claim.blob != v2:
            raise RefusedError("the statement is not about this upload")
        if statement.author not in self.sessions.desk.book.accounts:
            raise RefusedError(
                "only an account that has or had credit may upload",
                hint=f"Ask the operator: swarm tracker grant {statement.author.hex()} AMOUNT",
            )
        self.seed.check(claim.length)
        if not await self.reader.blob(v2):
            chunks = request.content.iter_chunked(1 << 16)
            row = await self.seed.keep(v2, claim.length, chunks, statement.author)
            self.sessions.desk.floor.outbox.rows.append(row)
            await self.sessions.durable()
        return _json({"blob": v2.hex(), "length": claim.length}, status=201)

    async def _carry_out(self, statement: Statement, request: web.Request) -> Json:
        desk, claim = self.sessions.desk, statement.claim
        # What others' claims rest on is kept for the ledger; of a torrent its own row says it all.
        rows: list[Row] = []
        kept: Row = StatementRow(
            *(statement.id, statement.raw, statement.signature, int(self.sessions.wall()))
        )
        result: Json
        if isinstance(claim, Grant):
            if statement.author != self.operator:
                raise RefusedError(
                    "only the operator mints credits",
                    hint="Run 'swarm tracker grant' with the --data directory of this tracker.",
                )
            desk.book.mint(claim.account, claim.amount, statement)
            result = {"balance": desk.book.balance(claim.account)}
        elif isinstance(claim, Pay):
            desk.book.transfer(claim.account, claim.amount, statement)
            result = {"balance": desk.book.balance(statement.author)}
        elif isinstance(claim, Cancel):
            job = self._own_job(claim.job, statement.author)
            desk.cancel(job, statement, self.sessions.clock())
            result = {"job": claim.job.hex(), "returned": job.returned}
        elif isinstance(claim, CLAIMS):
            result, kept = self.torrents.carry_out(statement, request)
        elif isinstance(claim, offers.CLAIMS):
            result, rows = await self.models.carry_out(statement)
        else:
            raise RefusedError("an upload statement goes with its upload")
        now = int(self.sessions.wall())
        self.said = {id_: at for id_, at in self.said.items() if at > now - 3 * MAX_AGE}
        self.said[statement.id] = now
        desk.floor.outbox.rows += [*rows, kept]
        await self.sessions.durable()
        return result

    def _own_job(self, job_id: JobId, author: PeerKey) -> Job:
        job = self.sessions.desk.jobs.get(job_id)
        if job is None:
            raise RefusedError("the job is not active", hint="See: swarm jobs")
        if author not in (job.manifest.submitter, self.operator):
            raise RefusedError("only its submitter or the operator can cancel a job")
        return job

    def _check_time(self, statement: Statement) -> None:
        off = statement.time - self.sessions.wall()
        if abs(off) > MAX_AGE:
            raise RefusedError(
                f"the statement's time is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'}",
                hint="Set your clock (sudo timedatectl set-ntp true) and try again.",
            )

    async def _find(self, request: web.Request) -> Json:
        return self._view(await self._row(request))

    def _view(self, row: JobRow) -> Json:
        job = self.sessions.desk.jobs.get(JobId(row.id))
        return self._live(job) if job else views.job_row(row)

    def _live(self, job: Job) -> Json:
        return views.live_job(job, self.sessions.desk.obstacle(job))

    async def _row(self, request: web.Request) -> JobRow:
        row = await self.reader.job(await self._job_id(request))
        if row is None:
            raise web.HTTPNotFound(reason="no such job")
        return row

    async def _job_id(self, request: web.Request) -> JobId:
        text = request.match_info["job"]
        if len(text) == 64:
            return JobId(parse_hash(text, "job"))
        if not 4 <= len(text) < 64 or not all(digit in "0123456789abcdef" for digit in text):
            raise MalformedError("a job is named by its hex id, or by the first 4 digits or more")
        found = await self.reader.jobs_like(text)
        if len(found) > 1:
            raise RefusedError(f"{len(found)} jobs start with {text}", hint="Give more digits.")
        if not found:
            raise web.HTTPNotFound(reason="no such job")
        return JobId(found[0])


def _json(value: Json, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)


def _event(view: Json) -> bytes:
    return b"data: " + json.dumps(view).encode() + b"\n\n"


async def _body(request: web.Request, limit: int) -> bytes:
    body = bytearray()
    chunks: AsyncIterator[bytes] = request.content.iter_chunked(1 << 16)
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=len(body))
    return bytes(body)


def _header(request: web.Request) -> bytes:
    try:
        return base64.b64decode(request.headers["X-Swarm-Statement"], validate=True)
    except (KeyError, ValueError):
        raise MalformedError("an upload needs the header X-Swarm-Statement (base64)") from None


def _number(request: web.Request, key: str, default: float) -> float:
    try:
        number = float(request.query.get(key, default))
    except ValueError:
        number = math.nan
    if not abs(number) < 2**53:
        raise MalformedError(f"{key} must be a number")
    return number


def _limit(request: web.Request) -> int:
    return max(1, min(MAX_PAGE, int(_number(request, "limit", 100))))
