"""The work session's shell: WebSockets at ``/work`` around the pure desk.

A frame comes in, the desk decides, the rows go to the writer, and only when they are on disk do
the answers leave. Nobody waits for a slow receiver: who does not read is cut off.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, WSMsgType, web

from tracker.network import network_of
from tracker.store.writer import Writer
from tracker.work.desk import Desk
from tracker.work.state import Peer
from tracker.work.table import HIDDEN, Doing
from workunits.errors import RemoteError, SwarmError
from workunits.ids import PeerKey, short
from workunits.signing import Identity
from workunits.wire import work
from workunits.wire.compare import Compared
from workunits.wire.handshake import Challenge, Hello
from workunits.wire.holds import Holds
from workunits.wire.models import Tokens
from workunits.wire.work import Commits, Failure, FromTracker, Release, Reveals, Want, Welcome

HELLO_SECONDS = 10.0
HEARTBEAT_SECONDS = 30.0
MAX_QUEUED = 4096
log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Session:
    """One connected peer and the frames that wait to be sent to it."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport
    peer: Peer
    number: int
    queue: asyncio.Queue[bytes | None] = field(
        default_factory=lambda: asyncio.Queue(MAX_QUEUED + 1)
    )

    def send(self, frame: bytes) -> bool:
        """Queue ``frame``; false when the peer does not read."""
        if self.queue.qsize() >= MAX_QUEUED:
            return False
        self.queue.put_nowait(frame)
        return True

    def end(self) -> None:
        """Close the connection once what is queued was sent."""
        with suppress(asyncio.QueueFull):  # then the end is queued already
            self.queue.put_nowait(None)

    def cut(self) -> None:
        """Close the connection now: the peer does not read."""
        self.transport.abort()

    async def write(self) -> None:
        """Send what is queued, in order."""
        while (frame := await self.queue.get()) is not None:
            await self.socket.send_bytes(frame)
        await self.socket.close(code=WSCloseCode.GOING_AWAY)


class Sessions:
    """All work sessions of a tracker. ``clock`` never goes back, ``wall`` is Unix time."""

    def __init__(
        self,
        desk: Desk,
        writer: Writer,
        identity: Identity,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        nonce: Callable[[], bytes] = lambda: secrets.token_bytes(32),
        secret: bytes = b"",
    ) -> None:
        """``secret`` hides the networks of peers, which become public as hashes."""
        self.desk = desk
        self.clock = clock
        self.wall = wall
        self._writer = writer
        self._identity = identity
        self._nonce = nonce
        self._secret = secret
        self._live: dict[PeerKey, Session] = {}

    def __len__(self) -> int:
        return len(self._live)

    def apply(self, then: Callable[[], None] | None = None) -> None:
        """Keep and then send what the desk did; ``then`` is called when it is on disk."""
        effects = self.desk.take()
        if not effects and then is None:
            return
        addressed = [
            (self._live.get(key), message) for key, message in effects.sends if key in self._live
        ]

        def deliver() -> None:
            for session, message in addressed:
                self._deliver(session, message)
            for tell in effects.told:
                tell()
            if then:
                then()

        self._writer.write(effects.rows, deliver)

    async def durable(self) -> None:
        """Return when everything that the desk did so far is on disk."""
        done = asyncio.get_running_loop().create_future()
        self.apply(lambda: None if done.done() else done.set_result(None))
        await done

    async def tick(self) -> None:
        """Let time pass, for ever."""
        while True:
            await asyncio.sleep(1.0)
            self.desk.tick(self.clock())
            self.apply()

    async def close(self) -> None:
        """Tell everybody that the tracker goes away."""
        for session in list(self._live.values()):
            session.end()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one peer."""
        socket = web.WebSocketResponse(
            max_msg_size=work.MAX_FRAME, heartbeat=HEARTBEAT_SECONDS, compress=False
        )
        await socket.prepare(request)
        try:
            session = await self._welcome(socket, request)
        except SwarmError as error:
            await self._refuse(socket, error)
            return socket
        except (TimeoutError, ConnectionError, TypeError):
            await socket.close()
            return socket
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(session))
            try:
                await self._read(session)
            finally:
                self._leave(session)
                session.end()
        return socket

    async def _welcome(self, socket: web.WebSocketResponse, request: web.Request) -> Session:
        challenge = Challenge(self._nonce(), self._identity.key)
        await socket.send_bytes(work.encode(challenge))
        async with asyncio.timeout(HELLO_SECONDS):
            hello = work.parse_from_peer(await socket.receive_bytes())
        if not isinstance(hello, Hello):
            raise RemoteError("the first message must be a hello")
        hello.check(challenge)
        now = self.clock()
        network = network_of(request.remote, self._secret)
        peer = self.desk.connect(
            hello.key, hello.offerings, now, vouch=hello.vouch, network=network
        )
        before = self._live.get(peer.key)
        if before:
            before.end()
        if request.transport is None:
            raise ConnectionResetError
        session = self._live[peer.key] = Session(socket, request.transport, peer, peer.session)
        self.desk.floor.outbox.send(peer, self._greeting(peer))
        self.desk.catch_up(peer, now)
        self.apply()
        log.info("peer %s connected", short(peer.key))
        return session

    def _greeting(self, peer: Peer) -> Welcome:
        live = peer.live.values()
        return Welcome(
            time=int(self.wall()),
            held=tuple(each.token for each in live if each.doing is Doing.LEASED),
            committed=tuple(each.token for each in live if each.doing in HIDDEN),
        )

    async def _read(self, session: Session) -> None:
        async for message in session.socket:
            if message.type is not WSMsgType.BINARY:
                continue
            try:
                self._receive(session, message.data)
            except RemoteError as error:
                session.send(work.encode(_failure(error)))
                session.end()
                return
            self.apply()

    def _receive(self, session: Session, frame: bytes) -> None:
        message = work.parse_from_peer(frame)
        key, now = session.peer.key, self.clock()
        match message:
            case Holds():
                self.desk.holds(key, message, now)
            case Want():
                self.desk.want(key, message.hold, now)
            case Commits():
                message.check(key)
                self.desk.commit(key, message, now)
            case Reveals():
                self.desk.reveal(key, message.reveals, now)
            case Compared():
                message.check(key)
                self.desk.compared(key, message, now)
            case Release():
                self.desk.release(key, message.tokens, now, message.reason)
            case Tokens():
                self.desk.said(key, message, now)
            case Hello():
                raise RemoteError("a second hello in one session")

    async def _write(self, session: Session) -> None:
        try:
            await session.write()
        except (ConnectionError, RuntimeError):
            log.debug("peer %s went away while it was written to", short(session.peer.key))

    def _leave(self, session: Session) -> None:
        key = session.peer.key
        if self._live.get(key) is session:
            del self._live[key]
        self.desk.disconnect(key, session.number, self.clock())
        self.apply()
        log.info("peer %s disconnected", short(key))

    def _deliver(self, session: Session | None, message: FromTracker) -> None:
        if session is None or self._live.get(session.peer.key) is not session:
            return
        if not session.send(work.encode(message)):
            log.warning("peer %s does not read; cut off", short(session.peer.key))
            del self._live[session.peer.key]
            session.cut()

    async def _refuse(self, socket: web.WebSocketResponse, error: SwarmError) -> None:
        await socket.send_bytes(work.encode(_failure(error)))
        await socket.close(code=WSCloseCode.POLICY_VIOLATION)


def _failure(error: SwarmError) -> Failure:
    return Failure(error.code, error.message, error.hint, error.blame)
