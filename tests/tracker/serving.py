"""A real tracker on a real port, and peers that talk to it over real WebSockets."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import aiohttp

from tests.tracker.work.world import IMAGE, SUBMITTER, outcome
from tracker.address import Address
from tracker.service import Running, serve
from tracker.settings import Settings
from tracker.work.floor import Patience
from workunits.ids import JobId, LeaseToken, PeerKey, UnitId
from workunits.manifest import Manifest, SignedManifest
from workunits.results import Result, commitment, seal
from workunits.signing import Identity
from workunits.statements import Claim, Grant, Statement
from workunits.wire import work
from workunits.wire.handshake import Challenge, Hello, Offerings, Vouch
from workunits.wire.work import (
    Commit,
    Commits,
    Committed,
    FromPeer,
    FromTracker,
    Leases,
    Reveal,
    Revealed,
    RevealRequest,
    Reveals,
    Want,
    Welcome,
)

Socket: TypeAlias = "aiohttp.ClientWebSocketResponse[bool]"
_M = TypeVar("_M", bound=FromTracker)
SECONDS = 20.0
"""How long a test waits for something that must come."""


def identity(name: str) -> Identity:
    """An identity made from a name."""
    return Identity.from_seed(name.encode().ljust(32, b"."))


@dataclass(eq=False)
class Remote:
    """A peer at the other end of a WebSocket."""

    socket: Socket
    identity: Identity
    challenge: Challenge
    vouch: Vouch | None = None
    welcome: Welcome | None = None
    leases: dict[LeaseToken, UnitId] = field(default_factory=dict)
    results: dict[LeaseToken, Reveal] = field(default_factory=dict)

    async def send(self, message: FromPeer) -> None:
        """Send a message."""
        await self.socket.send_bytes(work.encode(message))

    async def receive(self) -> FromTracker:
        """The next message."""
        async with asyncio.timeout(SECONDS):
            message = work.parse_from_tracker(await self.socket.receive_bytes())
        if isinstance(message, Leases):
            self.leases |= {
                lease.token: UnitId(message.job, lease.index) for lease in message.leases
            }
        return message

    async def expect(self, kind: type[_M]) -> _M:
        """The next message of a kind; others before it are taken in silence."""
        while not isinstance(message := await self.receive(), kind):
            pass
        return message

    async def closed(self) -> int | None:
        """Wait for the end of the connection; its close code."""
        async with asyncio.timeout(SECONDS):
            while (await self.socket.receive()).type not in {
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSING,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.ERROR,
            }:
                pass
        return self.socket.close_code

    async def greet(self, *, validator: bool = False, hold: int = 100) -> "Remote":
        """Answer the challenge, and ask for leases."""
        offerings = Offerings(validator, 1, 1 << 30, (IMAGE,), "test")
        await self.send(Hello.sign(self.identity, self.challenge, offerings, self.vouch))
        self.welcome = await self.expect(Welcome)
        if hold:
            await self.send(Want(hold))
        return self

    async def commit(self, tokens: list[LeaseToken] | None = None, answer: str = "right") -> None:
        """Commit to ``tokens``, or to everything leased; return when that is on disk."""
        by_job: dict[JobId, list[Commit]] = {}
        for token in sorted(self.leases) if tokens is None else tokens:
            unit = self.leases.pop(token)
            result = outcome(unit.index, answer)
            digest = Result.digest_of(result.result)
            self.results[token] = Reveal(token, result.result, result.contents)
            by_job.setdefault(unit.job, []).append(
                Commit(
                    unit.index,
                    token,
                    commitment(unit, digest),
                    seal(self.identity.key, unit, digest),
                )
            )
        for job, commits in by_job.items():
            await self.send(Commits.sign(self.identity, job, tuple(commits)))
            await self.expect(Committed)

    async def reveal(self) -> None:
        """Wait to be asked, and show what was asked for; return when that is on disk."""
        asked = await self.expect(RevealRequest)
        await self.send(Reveals(tuple(self.results[token] for token in asked.tokens)))
        await self.expect(Revealed)


@dataclass(eq=False)
class Served:
    """A tracker that serves, and one HTTP client."""

    running: Running
    http: aiohttp.ClientSession
    sockets: list[Socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The tracker's base URL."""
        return self.running.address.url

    async def ask(self, path: str, method: str = "GET", status: int = 200, **request: Any) -> Any:
        """The JSON that an address answers with, which must come with ``status``."""
        async with self.http.request(method, self.url + path, **request) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer

    async def fetch(self, path: str) -> bytes:
        """The bytes at an address."""
        async with self.http.get(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.read()

    def sign(self, claim: Claim, author: Identity | None = None, ago: float = 0) -> Statement:
        """A statement made ``ago`` seconds ago; the operator's, unless somebody else is named."""
        author = author or self.running.identity
        return Statement.sign(author, claim, time=int(time.time() - ago), nonce=os.urandom(16))

    async def say(self, statement: Statement, status: int = 200) -> Any:
        """Post a statement."""
        return await self.ask("/api/v1/statements", "POST", status, data=statement.encode())

    async def grant(self, key: PeerKey = SUBMITTER.key, amount: int = 10**6) -> None:
        """Mint credits."""
        await self.say(self.sign(Grant(key, amount)))

    async def submit(self, manifest: Manifest, status: int = 201) -> Any:
        """Submit a job; its view."""
        signed = SignedManifest.sign(manifest, SUBMITTER)
        return await self.ask("/api/v1/jobs", "POST", status, data=signed.encode())

    async def connect(self, name: str) -> Remote:
        """Connect, and take the challenge."""
        socket = await self.http.ws_connect(
            self.url + "/work",
            max_msg_size=work.MAX_FRAME,
            timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
        )
        self.sockets.append(socket)
        async with asyncio.timeout(SECONDS):
            challenge = work.parse_from_tracker(await socket.receive_bytes())
        assert isinstance(challenge, Challenge)
        return Remote(socket, identity(name), challenge)

    async def join(self, name: str, *, validator: bool = False, hold: int = 100) -> Remote:
        """Connect as somebody, and ask for leases."""
        remote = await self.connect(name)
        return await remote.greet(validator=validator, hold=hold)

    async def run(self, manifest: Manifest) -> str:
        """Have a job of a few units computed by two honest peers; its id."""
        view = await self.submit(manifest)
        async with asyncio.TaskGroup() as group:
            for name, validator in (("worker", False), ("checker", True)):
                group.create_task(self._compute(name, validator, manifest.units))
        job: str = view["id"]
        return job

    async def _compute(self, name: str, validator: bool, units: int) -> None:
        remote = await self.join(name, validator=validator)
        shown = 0
        while shown < units:
            match await remote.receive():
                case Leases(job=job, leases=leases):
                    commits = []
                    for lease in leases:
                        unit = UnitId(job, lease.index)
                        result = outcome(lease.index)
                        digest = Result.digest_of(result.result)
                        remote.results[lease.token] = Reveal(
                            lease.token, result.result, result.contents
                        )
                        commits.append(
                            Commit(
                                lease.index,
                                lease.token,
                                commitment(unit, digest),
                                seal(remote.identity.key, unit, digest),
                            )
                        )
                    await remote.send(Commits.sign(remote.identity, job, tuple(commits)))
                case RevealRequest(tokens=tokens):
                    await remote.send(Reveals(tuple(remote.results[each] for each in tokens)))
                case Revealed(tokens=tokens):
                    shown += len(tokens)
        await remote.socket.close()


@asynccontextmanager
async def served(
    data: Path, patience: Patience | None = None, settings: Settings | None = None
) -> AsyncIterator[Served]:
    """Run a tracker on ``data``."""
    async with (
        serve(data, Address("127.0.0.1", 0), patience=patience, settings=settings) as running,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as http,
    ):
        tracker = Served(running, http)
        yield tracker
        for socket in tracker.sockets:
            await socket.close()
