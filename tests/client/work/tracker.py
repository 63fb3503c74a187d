"""A tracker for tests: real frames over a real WebSocket, decisions by the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from random import Random

from aiohttp import WSMsgType, web

from workunits.ids import BlobRef, JobId, LeaseToken, PeerKey
from workunits.images import Layer
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.results import Ending, Result
from workunits.signing import Identity
from workunits.verification import Comparator, Comparison, Policy
from workunits.wire.compare import Compare, Compared, Judgement, Pair, Shown
from workunits.wire.handshake import Challenge, Hello
from workunits.wire.holds import Holds
from workunits.wire.work import (
    Commits,
    Committed,
    FromTracker,
    JobOffer,
    Lease,
    Leases,
    Release,
    Reveal,
    Revealed,
    RevealRequest,
    Reveals,
    Want,
    Welcome,
    encode,
    parse_from_peer,
)

IMAGE = "sha256:" + "0" * 64
SUBMITTER = Identity.from_seed(b"s" * 32)
PATIENCE = 20.0
"""Seconds after which a test that waits has failed."""


def job_of(
    units: int = 10,
    *,
    files: tuple[NamedBlob, ...] = (),
    inputs: tuple[NamedBlob, ...] = (),
    outputs: tuple[str, ...] = ("out",),
    memory: int = 16 << 20,
    output_bytes: int = 1 << 20,
    wall: int = 60,
    comparator: Comparator | None = None,
    name: str = "squares",
    image: str = IMAGE,
    layers: tuple[Layer, ...] = (),
) -> SignedManifest:
    """A signed job of ``units`` units."""
    manifest = Manifest(
        submitter=SUBMITTER.key,
        name=name,
        program=Program(image, ("square", "{n}"), files, "", layers),
        parameters=Sweep((Range("n", 0, 1, units),)),
        inputs=inputs,
        outputs=outputs,
        limits=Limits(60, wall, memory, output_bytes),
        price=1,
        policy=Policy.TRUSTED,
        comparator=comparator or Comparator(),
        nonce=bytes(16),
    )
    return SignedManifest.sign(manifest, SUBMITTER)


JUDGE = Comparator(Comparison.PROGRAM, command=("same", "{a}", "{b}"))
"""A comparator of a submitter's own."""


def shown(outputs: Mapping[str, bytes]) -> Shown:
    """A result with these outputs, inline."""
    contents = tuple(outputs[name] for name in sorted(outputs))
    refs = (hash_stream(BytesIO(data), len(data)).info.ref for data in contents)
    named = tuple(map(NamedBlob, sorted(outputs), refs))
    return Shown(Result(Ending.EXITED, 0, named), contents)


def ref_of(number: int, length: int = 1) -> BlobRef:
    """A made-up reference."""
    return BlobRef(number.to_bytes(32, "big"), number.to_bytes(20, "big"), length)


@dataclass(eq=False)
class Connection:
    """One peer's WebSocket, as the tracker sees it."""

    socket: web.WebSocketResponse
    hello: Hello
    offered: set[JobId] = field(default_factory=set)

    async def send(self, message: FromTracker) -> None:
        """Send a message."""
        await self.socket.send_bytes(encode(message))


@dataclass(eq=False)
class TrackerDouble:
    """Leases units on request, acknowledges and asks for results, and remembers everything.

    Its memory survives ``restart``. ``answer`` is who is spoken to in place of the default.
    """

    job: SignedManifest
    identity: Identity = field(default_factory=lambda: Identity.from_seed(b"t" * 32))
    time: Callable[[], int] = lambda: 1_700_000_000
    seconds: int = 600
    port: int = 0
    acks: int = 1
    """How often each commit is acknowledged; 0 keeps the peer waiting."""
    auto_lease: bool = True
    auto_reveal: bool = True
    fresh: list[int] = field(default_factory=list)
    held: dict[LeaseToken, int] = field(default_factory=dict)
    committed: dict[LeaseToken, int] = field(default_factory=dict)
    revealed: dict[LeaseToken, Reveal] = field(default_factory=dict)
    released: list[tuple[LeaseToken, str]] = field(default_factory=list)
    judged: list[Judgement] = field(default_factory=list)
    wants: list[int] = field(default_factory=list)
    holds: list[Holds] = field(default_factory=list)
    commits_seen: list[LeaseToken] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    hellos: int = 0
    commitments: dict[LeaseToken, tuple[bytes, bytes]] = field(default_factory=dict)
    next_token: int = 1
    hold: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    runner: web.AppRunner | None = None

    def __post_init__(self) -> None:
        self.fresh = list(range(self.job.manifest.units))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def results(self) -> dict[int, Result]:
        """Revealed results by unit."""
        return {
            self.unit_of[token]: Result.parse(reveal.result)
            for token, reveal in self.revealed.items()
        }

    unit_of: dict[LeaseToken, int] = field(default_factory=dict)

    async def start(self) -> None:
        """Listen; after a stop, on the same port."""
        app = web.Application()
        app.router.add_get("/work", self._serve)
        self.runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Vanish, without a word."""
        for connection in list(self.connections):
            transport = connection.socket._req.transport  # type: ignore[union-attr]
            if transport is not None:
                transport.abort()
        assert self.runner is not None
        await self.runner.cleanup()

    async def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait for ``condition``, which is looked at after every message."""
        async with asyncio.timeout(patience), self.changed:
            await self.changed.wait_for(condition)

    async def lease(self, connection: Connection) -> None:
        """Top the peer up to what it wants."""
        await self.offer(connection)
        leases = []
        while self.fresh and len(self.held) < self.hold:
            token = LeaseToken(self.next_token)
            self.next_token += 1
            self.held[token] = self.unit_of[token] = self.fresh.pop(0)
            leases.append(Lease(self.held[token], token))
        if leases:
            await connection.send(Leases(self.job.id, self.seconds, tuple(leases)))

    async def compare(self, *pairs: tuple[Shown, Shown], index: int = 0) -> list[LeaseToken]:
        """Ask the latest connection to compare results of a unit."""
        connection = self.connections[-1]
        await self.offer(connection)
        tokens = [LeaseToken(self.next_token + at) for at in range(len(pairs))]
        self.next_token += len(pairs)
        asked = (Pair(token, index, *pair) for token, pair in zip(tokens, pairs, strict=True))
        await connection.send(Compare(self.job.id, 60, tuple(asked)))
        return tokens

    async def offer(self, connection: Connection) -> None:
        """Send the job, once."""
        if self.job.id not in connection.offered:
            connection.offered.add(self.job.id)
            await connection.send(JobOffer(self.job.raw, self.job.signature))

    async def ask(self, *tokens: LeaseToken) -> None:
        """Ask the latest connection for results."""
        await self.connections[-1].send(RevealRequest(60, tokens))

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=4 << 20)
        await socket.prepare(request)
        challenge = Challenge(bytes(32), self.identity.key)
        await socket.send_bytes(encode(challenge))
        hello = parse_from_peer((await socket.receive()).data)
        assert isinstance(hello, Hello)
        hello.check(challenge)
        connection = Connection(socket, hello)
        self.connections.append(connection)
        self.hellos += 1
        self.hold = 0
        self.holds.clear()
        await connection.send(
            Welcome(self.time(), tuple(self.held), tuple(self.committed.keys() - self.revealed))
        )
        await self._notify()
        async for frame in socket:
            assert frame.type is WSMsgType.BINARY
            await self._take(connection, frame.data)
            await self._notify()
        self.connections.remove(connection)
        await self._notify()
        return socket

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _take(self, connection: Connection, frame: bytes) -> None:
        message = parse_from_peer(frame)
        match message:
            case Holds():
                assert self.hellos  # and said before anything is wanted
                self.holds.append(message)
            case Want(hold):
                assert self.holds
                self.wants.append(hold)
                self.hold = hold
            case Commits():
                message.check(connection.hello.key)
                await self._commit(connection, message)
            case Reveals(reveals):
                for reveal in reveals:
                    assert reveal.token in self.committed
                    self.revealed[reveal.token] = reveal
                await connection.send(Revealed(tuple(each.token for each in reveals)))
            case Compared():
                message.check(connection.hello.key)
                assert message.job == self.job.id
                self.judged += message
            case Release(tokens, reason):
                for token in tokens:
                    self.released.append((token, reason))
                    known = self.held.pop(token, None) is not None
                    known |= self.committed.pop(token, None) is not None
                    self.fresh += [self.unit_of[token]] if known else []
        if self.auto_lease and self.hold:
            await self.lease(connection)

    async def _commit(self, connection: Connection, message: Commits) -> None:
        tokens = []
        for each in message:
            self.commits_seen.append(each.token)
            assert self.unit_of[each.token] == each.index
            before = self.commitments.setdefault(each.token, (each.commitment, each.seal))
            assert before == (each.commitment, each.seal)
            tokens.append(each.token)
        if not self.acks:
            return
        for token in tokens:
            if token in self.held:
                self.committed[token] = self.held.pop(token)
        for _ in range(self.acks):
            await connection.send(Committed(tuple(tokens)))
        if self.auto_reveal:
            await connection.send(RevealRequest(60, tuple(tokens)))


@asynccontextmanager
async def tracking(tracker: TrackerDouble) -> AsyncIterator[TrackerDouble]:
    """Run ``tracker``."""
    await tracker.start()
    try:
        yield tracker
    finally:
        await tracker.stop()


def rng() -> Random:
    """Randomness that every test sees alike."""
    return Random(7)


def peer_key(number: int = 1) -> Identity:
    """An identity."""
    return Identity.from_seed(bytes([number]) * 32)


__all__ = [
    "IMAGE",
    "JUDGE",
    "Connection",
    "PeerKey",
    "TrackerDouble",
    "job_of",
    "peer_key",
    "ref_of",
    "rng",
    "shown",
    "tracking",
]
