"""A client of the tracker's REST interface (``/api/v1``, see ``docs/protocol.md``).

Every request may be repeated: what changes something is signed and known by its hash. So lost
connections and gateway errors are retried, with growing and jittered pauses.
"""

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from string import hexdigits
from typing import Any, NoReturn, Self

import aiohttp

from client.api_keys import MAX_KEYS, ApiKeyView
from client.json_fields import JsonFields, decode_object
from client.models.view import ModelView
from client.peers.reach import MAX_REACH, UNKNOWN, Reach, parse_reach
from client.views import (
    MAX_PAGE,
    AccountView,
    JobView,
    PeerView,
    StatusView,
    UnitPage,
    UnitView,
)
from workunits.checkpoints import MAX_NOTE, SignedCheckpoint
from workunits.errors import (
    LimitError,
    LocalError,
    MalformedError,
    RefusedError,
    SwarmError,
    UnavailableError,
)
from workunits.ids import HASH_SIZE, BlobRef, JobId, PeerKey
from workunits.manifest import MAX_MANIFEST, SignedManifest
from workunits.merkle import MAX_PATH
from workunits.metainfo import MAX_INFO, Metainfo, parse_info
from workunits.statements import Statement
from workunits.submission import Submission

MAX_ANSWER = 32 << 20
PAGE = 1000
MAX_WITNESSED = 400
"""Notes that are taken at once."""

MAX_EVENT = 64 << 10
TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=90)
ATTEMPTS = 4
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
BENCODE = "application/x-bencode"
_GATEWAY = frozenset({502, 503, 504})
_LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)

Sleep = Callable[[float], Awaitable[None]]


class TrackerError(RefusedError):
    """The tracker understood and said no. ``code`` is the tracker's own."""

    def __init__(self, code: str, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status


class AddressError(LocalError):
    """The address of a tracker is not one."""

    code = "address"


class UnknownJobError(LocalError):
    """No job has this name."""

    code = "unknown-job"


class TrackerApi:
    """Talks to one tracker. Use ``connect``; errors are ``SwarmError`` with a hint."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.url = check_url(url)
        self._session = session
        self._sleep = sleep
        self._rng = rng or random.SystemRandom()
        self._attempts = attempts

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, *, attempts: int = ATTEMPTS) -> AsyncIterator[Self]:
        """A client with a session of its own. ``url`` is like ``http://host:port``."""
        url = check_url(url)
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session:
            yield cls(session, url, attempts=attempts)

    # Jobs

    async def submit(self, job: Submission) -> JobView:
        """Publish a job; the answer means that it is on the tracker's disk, its cost set aside."""
        view = JobView.read(await self._object("POST", "jobs", body=job.encode()))
        if view.id != job.signed.id:
            raise MalformedError("the tracker answered for another job")
        return view

    async def jobs(
        self, *, state: str = "", submitter: PeerKey | None = None, limit: int = 100
    ) -> tuple[JobView, ...]:
        """At most ``limit`` jobs, newest first."""
        found: dict[JobId, JobView] = {}
        query = {"state": state, "submitter": submitter.hex() if submitter else ""}
        after = ""
        while len(found) < limit:
            size = min(limit - len(found), PAGE)
            page = {"limit": str(size), "after": after}
            fields = await self._object("GET", "jobs", query=query | page)
            jobs = [JobView.read(group) for group in fields.groups("jobs", MAX_PAGE)]
            known = len(found)
            found |= {job.id: job for job in jobs}
            if len(jobs) < size or len(found) == known:
                break
            after = repr(jobs[-1].created)
        return tuple(found.values())[:limit]

    async def job(self, job: JobId) -> JobView:
        """One job."""
        return JobView.read(await self._object("GET", f"jobs/{job.hex()}"))

    async def manifest(self, job: JobId) -> SignedManifest:
        """The signed manifest of ``job``, checked against its id and its signature."""
        raw = await self._bytes("GET", f"jobs/{job.hex()}/manifest", limit=MAX_MANIFEST + 200)
        signed = SignedManifest.parse(raw)
        if signed.id != job:
            raise MalformedError(f"the tracker sent another job than {job.hex()}")
        return signed

    async def units(self, job: JobId, *, state: str = "") -> AsyncIterator[UnitView]:
        """All units of ``job`` in order of index, or those in one state."""
        after = -1
        while True:
            query = {"state": state, "limit": str(PAGE), "after": str(after) if after >= 0 else ""}
            page = UnitPage.read(await self._object("GET", f"jobs/{job.hex()}/units", query=query))
            for unit in page.units:
                yield unit
            if page.next is None or not page.units:
                return
            if page.next <= after:
                raise MalformedError("the tracker pages its units in circles")
            after = page.next

    async def find_job(self, text: str) -> JobView:
        """The job whose id is ``text``, or begins with it (4 hex digits or more)."""
        text = text.lower()
        if not 4 <= len(text) <= 2 * HASH_SIZE or set(text) - set(hexdigits):
            raise UnknownJobError(
                f"{text[:80]!r} does not name a job",
                hint="Give a job id or its first 4 digits or more; `swarm jobs` lists the jobs.",
            )
        try:
            return JobView.read(await self._object("GET", f"jobs/{text}"))
        except TrackerError as error:
            if error.status == 404:
                raise UnknownJobError(
                    f"the tracker knows no job {text}", hint="`swarm jobs` lists the jobs."
                ) from None
            raise

    async def events(
        self, job: JobId, *, patience: int = 0, on_loss: Callable[[SwarmError], None] | None = None
    ) -> AsyncIterator[JobView]:
        """The job's state now and after every change, until it is no longer active.

        A lost stream is taken up again; ``on_loss`` hears of it. ``patience`` is how many
        attempts in a row may fail (default: as for any request).
        """
        failures = 0
        while True:
            try:
                async for view in self._event_stream(job):
                    failures = 0
                    yield view
                    if not view.active:
                        return
                # The stream of an active job ended: the tracker is restarting.
                loss = self._unreachable("the event stream ended")
            except UnavailableError as error:
                loss = error
            failures += 1
            if failures >= (patience or self._attempts):
                raise loss
            if on_loss:
                on_loss(loss)
            await self._pause(failures)

    # Blobs

    async def blob(self, ref: BlobRef) -> AsyncIterator[bytes]:
        """The content of a blob in chunks, from the tracker's store. The caller checks the hash.

        Raises ``TrackerError`` with ``status`` 404 when the tracker does not have it.
        """
        path = f"blobs/{ref.v2.hex()}"
        left = ref.length
        try:
            async with self._session.get(self._address(path), timeout=STREAM_TIMEOUT) as answer:
                if answer.status != 200:
                    await self._refuse(answer)
                async for chunk in answer.content.iter_chunked(1 << 18):
                    left -= len(chunk)
                    if left < 0:
                        raise LimitError(f"the tracker sent more than {ref.length} bytes of {ref}")
                    yield chunk
        except _LOST as error:
            raise self._unreachable(_reason(error)) from None

    async def upload(self, ref: BlobRef, content: bytes, statement: Statement) -> None:
        """Give the tracker a blob to seed. ``statement`` is a signed ``Upload`` of it."""
        await self._bytes(
            "PUT",
            f"blobs/{ref.v2.hex()}",
            body=content,
            headers={
                "Content-Type": "application/octet-stream",
                "X-Swarm-Statement": base64.b64encode(statement.encode()).decode(),
            },
        )

    async def has_blob(self, ref: BlobRef) -> bool:
        """Whether the tracker seeds a blob already."""
        try:
            await self._bytes("GET", f"blobs/{ref.v2.hex()}/info", limit=1 << 20)
        except TrackerError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def blob_info(self, v2: bytes) -> Metainfo | None:
        """The metainfo of a blob that the tracker seeds; None when it does not."""
        try:
            info = parse_info(await self._bytes("GET", f"blobs/{v2.hex()}/info", limit=MAX_INFO))
        except TrackerError as error:
            if error.status == 404:
                return None
            raise
        if info.ref.v2 != v2:
            raise MalformedError("the tracker answered for another blob")
        return info

    async def reach(self) -> Reach:
        """How peers reach each other and the tracker; nothing from a tracker that does not say."""
        try:
            return parse_reach(await self._bytes("GET", "reach", limit=MAX_REACH))
        except TrackerError as error:
            if error.status == 404:
                return UNKNOWN
            raise

    # The ledger

    async def export(self) -> AsyncIterator[bytes]:
        """The whole ledger as a file (``workunits.archive``), in chunks; nothing is checked."""
        try:
            url = self._address("ledger/export")
            async with self._session.get(url, timeout=STREAM_TIMEOUT) as answer:
                if answer.status != 200:
                    await self._refuse(answer)
                async for chunk in answer.content.iter_chunked(1 << 18):
                    yield chunk
        except _LOST as error:
            raise self._unreachable(_reason(error)) from None

    async def checkpoint(self) -> SignedCheckpoint:
        """The head of the ledger as the tracker signs it now; nothing is verified."""
        return SignedCheckpoint.parse(await self._bytes("GET", "ledger/checkpoint", limit=MAX_NOTE))

    async def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """What should show that the first ``new`` entries begin with the first ``old``."""
        return await self._proof("consistency", old=old, new=new)

    async def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """What should show that entry ``index`` is among the first ``size``."""
        return await self._proof("inclusion", index=index, size=size)

    async def leaf(self, number: int) -> bytes:
        """The hash of an entry of the ledger, as the tracker says."""
        query = {"after": str(number), "limit": "1"}
        entries = (await self._object("GET", "ledger", query=query)).groups("entries", 1)
        if not entries:
            raise MalformedError(f"the tracker does not show entry {number} of its ledger")
        return entries[0].octets("leaf", HASH_SIZE)

    async def cosign(self, note: SignedCheckpoint) -> None:
        """Hand over a checkpoint that this peer cosigned as a witness."""
        headers = {"Content-Type": "text/plain"}
        await self._bytes("POST", "ledger/cosignatures", body=note.encode(), headers=headers)

    async def witnessed(self) -> tuple[SignedCheckpoint, ...]:
        """What witnesses cosigned, as far as the tracker shows it; nothing is verified."""
        fields = await self._object("GET", "ledger/witnessed")
        notes = [str(each) for each in fields.items("notes", MAX_WITNESSED)]
        # JSON can hold half a surrogate, which UTF-8 cannot: the note's parser refuses it.
        return tuple(SignedCheckpoint.parse(each.encode(errors="surrogatepass")) for each in notes)

    async def _proof(self, kind: str, **sizes: int) -> tuple[bytes, ...]:
        query = {key: str(value) for key, value in sizes.items()}
        fields = await self._object("GET", f"ledger/{kind}", query=query)
        return fields.octets_list("proof", HASH_SIZE, MAX_PATH)

    # Statements, accounts, peers, the tracker

    async def state(self, statement: Statement) -> JsonFields:
        """Hand over a signed statement; returns what came of it."""
        fields = await self._object("POST", "statements", body=statement.encode())
        return fields.group("result") if fields.has("result") else JsonFields({}, "result")

    async def account(self, key: PeerKey) -> AccountView:
        """One account."""
        return AccountView.read(await self._object("GET", f"accounts/{key.hex()}"))

    async def accounts(self) -> tuple[AccountView, ...]:
        """The richest accounts, at most a thousand."""
        fields = await self._object("GET", "accounts", query={"limit": str(PAGE)})
        return tuple(AccountView.read(group) for group in fields.groups("accounts", 10**6))

    async def api_keys(self, signed: Mapping[str, str]) -> tuple[ApiKeyView, ...]:
        """The API keys of who signed the query ``signed`` (``workunits.passes``), oldest first."""
        fields = await self._object("GET", "keys", query=signed)
        return tuple(ApiKeyView.read(group) for group in fields.groups("keys", MAX_KEYS))

    async def models(self) -> tuple[ModelView, ...]:
        """The models that can be asked, oldest first."""
        groups = (await self._object("GET", "models")).groups("models", 10_000)
        return tuple(ModelView.read(group) for group in groups)

    async def peers(self) -> tuple[PeerView, ...]:
        """All peers that the tracker knows."""
        fields = await self._object("GET", "peers")
        return tuple(PeerView.read(group) for group in fields.groups("peers", 10**6))

    async def status(self) -> StatusView:
        """The tracker itself."""
        return StatusView.read(await self._object("GET", "status"))

    # Transport

    def _address(self, path: str) -> str:
        return f"{self.url}/api/v1/{path}"

    async def _object(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes = b""
    ) -> JsonFields:
        headers = {"Content-Type": BENCODE} if body else {}
        raw = await self._bytes(method, path, query=query, body=body, headers=headers)
        return decode_object(raw, limit=MAX_ANSWER, what="the tracker's answer")

    async def _bytes(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        limit: int = MAX_ANSWER,
    ) -> bytes:
        query = {key: value for key, value in (query or {}).items() if value}
        for attempt in range(1, self._attempts + 1):
            try:
                async with self._session.request(
                    method, self._address(path), params=query, data=body or None, headers=headers
                ) as answer:
                    if answer.status < 300:
                        return await _capped(answer, limit)
                    if answer.status not in _GATEWAY or attempt == self._attempts:
                        await self._refuse(answer)
            except _LOST as error:
                if attempt == self._attempts:
                    raise self._unreachable(_reason(error)) from None
            except aiohttp.ClientError as error:
                raise self._unreachable(_reason(error)) from None
            await self._pause(attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _event_stream(self, job: JobId) -> AsyncIterator[JobView]:
        try:
            async with self._session.get(
                self._address(f"jobs/{job.hex()}/events"),
                headers={"Accept": "text/event-stream"},
                timeout=STREAM_TIMEOUT,
            ) as answer:
                if answer.status != 200:
                    await self._refuse(answer)
                async for data in _events(answer.content):
                    yield JobView.read(decode_object(data, limit=MAX_EVENT, what="event"))
        except (*_LOST, ValueError) as error:
            raise self._unreachable(_reason(error)) from None

    async def _refuse(self, answer: aiohttp.ClientResponse) -> NoReturn:
        """Turn an error answer into the exception that it stands for."""
        try:
            raw = await _capped(answer, MAX_EVENT)
            error = decode_object(raw, limit=MAX_EVENT, what="error").group("error")
            code = error.text("code", limit=40)
            message = error.text("message", limit=2000)
            hint = error.text("hint", limit=2000, default="")
        except SwarmError:
            message, code = (
                f"the tracker answered {answer.status} {answer.reason or ''}".strip(),
                "",
            )
            hint = f"Check that {self.url} is the address of a tracker."
        if answer.status >= 500:
            raise UnavailableError(f"the tracker failed: {message}", hint=hint or _TRACKER_LOG)
        raise TrackerError(code or "refused", message, status=answer.status, hint=hint)

    def _unreachable(self, reason: str) -> UnavailableError:
        return UnavailableError(
            f"cannot reach the tracker at {self.url}: {reason}",
            hint="Check the address (--tracker or SWARM_TRACKER) and that "
            "`swarm tracker serve` runs there.",
        )

    async def _pause(self, attempt: int) -> None:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (attempt - 1))
        await self._sleep(longest * self._rng.uniform(0.5, 1.0))


_TRACKER_LOG = "Look at the tracker's log, or try again later."


def check_url(url: str) -> str:
    """Return ``url`` without a slash at its end; raises ``LocalError`` unless it is HTTP."""
    url = url.rstrip("/")
    scheme, separator, host = url.partition("://")
    if scheme not in ("http", "https") or not separator or not host or not url.isprintable():
        raise AddressError(
            f"{url!r} is not the address of a tracker",
            hint="Write it like http://tracker.example:8400.",
        )
    return url


def now() -> int:
    """Unix seconds, for statements."""
    return int(time.time())


async def _capped(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > limit:
            raise LimitError(f"an answer of the tracker is over {limit:,} bytes")
    return bytes(body)


async def _events(lines: Any) -> AsyncIterator[bytes]:
    """The data of server-sent events (WHATWG HTML, 9.2); comments and other fields are skipped."""
    data: list[bytes] = []
    async for line in lines:
        field, _, value = line.rstrip(b"\r\n").partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif not field and not value and data:
            yield b"\n".join(data)
            data = []
        if sum(map(len, data)) > MAX_EVENT:
            raise LimitError(f"an event of the tracker is over {MAX_EVENT:,} bytes")


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return (error.strerror or str(error)).lower()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
