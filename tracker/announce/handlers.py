"""The announce service on aiohttp: sockets, clocks and counters around the pure parts."""

import asyncio
import random
import secrets
import time
from asyncio import TaskGroup
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from aiohttp import WSMsgType, web

from tracker.announce import http
from tracker.announce.signalling import Relay, Send
from tracker.announce.swarms import Limits, Swarms
from workunits.errors import RemoteError
from workunits.wire import signalling as wire

HEARTBEAT = 30.0
CLOSE_TIMEOUT = 2.0
PRUNE_EVERY = 15.0
MAX_SOCKETS = 20_000
MAX_WAITING = 256
MAX_WAITING_CHARACTERS = 1024 * 1024


@dataclass(slots=True)
class Counters:
    """What the service holds now (first four) and has done since it started."""

    peers: int = 0
    swarms: int = 0
    sockets: int = 0
    outstanding_offers: int = 0
    sockets_opened: int = 0
    http_announces: int = 0
    http_scrapes: int = 0
    socket_messages: int = 0
    relayed_offers: int = 0
    relayed_answers: int = 0
    refused: int = 0
    slow_dropped: int = 0
    peers_expired: int = 0
    offers_expired: int = 0


class Connection:
    """One WebSocket and what waits to be sent on it. Compared by identity."""

    __slots__ = ("_open", "_ready", "_request", "_size", "_socket", "_waiting")

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._socket = socket
        self._request = request
        self._waiting: deque[str] = deque()
        self._size = 0
        self._ready = asyncio.Event()
        self._open = True

    def push(self, text: str) -> bool:
        """Queue a frame, never waiting. False if the receiver was too slow and was dropped."""
        if not self._open:
            return True
        if len(self._waiting) >= MAX_WAITING or self._size > MAX_WAITING_CHARACTERS:
            self._open = False
            self._waiting.clear()
            if self._request.transport is not None:
                self._request.transport.abort()
            return False
        self._waiting.append(text)
        self._size += len(text)
        self._ready.set()
        return True

    async def write(self) -> None:
        """Send what is queued until the socket is gone; the only writer of this socket."""
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                while self._waiting:
                    text = self._waiting.popleft()
                    self._size -= len(text)
                    await self._socket.send_str(text)
        except ConnectionError:
            # The reader sees the end of the socket too, and cleans up.
            self._open = False

    async def close(self) -> None:
        """Say goodbye, waiting for the other side a short time only."""
        self._open = False
        await self._socket.close(code=1001, message=b"the tracker is stopping")


def peer_address(request: web.Request) -> str:
    """The address that the request came from, as the socket says it."""
    return request.remote or ""


class AnnounceService:
    """``GET /announce`` (HTTP and WebSocket) and ``GET /scrape``.

    ``tracked`` says which info-hashes (20 bytes) are welcome: those of jobs and registered ones.
    ``source`` says where a request came from; replace it only behind a proxy that you run.
    """

    def __init__(
        self,
        *,
        tracked: Callable[[bytes], bool],
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        source: Callable[[web.Request], str] = peer_address,
    ) -> None:
        seeded = random.Random(secrets.randbits(128))  # noqa: S311 - drawing peers is no secret
        self.swarms = Swarms(tracked=tracked, rng=rng or seeded, limits=limits)
        self._relay: Relay[Connection] = Relay(self.swarms)
        self._clock = clock
        self._source = source
        self._connections: set[Connection] = set()
        self._tally = Counters()

    def routes(self) -> list[web.RouteDef]:
        """The routes, for an application that adds them itself (see ``add_to``)."""
        return [
            web.get("/announce", self._get_announce, allow_head=False),
            web.get("/scrape", self._get_scrape, allow_head=False),
        ]

    def add_to(self, app: web.Application) -> None:
        """Add routes, the pruning task and an orderly end to ``app``."""
        app.add_routes(self.routes())
        app.cleanup_ctx.append(self._pruning)
        app.on_shutdown.append(self._hang_up)

    def counters(self) -> Counters:
        """A copy of the counters as they stand."""
        return replace(
            self._tally,
            peers=self.swarms.peer_count,
            swarms=self.swarms.swarm_count,
            sockets=len(self._connections),
            outstanding_offers=self._relay.outstanding,
        )

    def prune(self) -> None:
        """Forget peers and offers whose time is over; called every 15 seconds by the app."""
        now = self._clock()
        self._tally.peers_expired += self.swarms.prune(now)
        self._tally.offers_expired += self._relay.prune(now)

    async def _get_announce(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request)
        self._tally.http_announces += 1
        query = request.raw_path.partition("?")[2]
        try:
            body = http.answer_announce(self.swarms, query, self._source(request), self._clock())
        except RemoteError as error:
            self._tally.refused += 1
            body = http.failure(error)
        return web.Response(body=body, content_type="text/plain")

    async def _get_scrape(self, request: web.Request) -> web.StreamResponse:
        self._tally.http_scrapes += 1
        try:
            body = http.answer_scrape(self.swarms, request.raw_path.partition("?")[2])
        except RemoteError as error:
            self._tally.refused += 1
            body = http.failure(error)
        return web.Response(body=body, content_type="text/plain")

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if len(self._connections) >= MAX_SOCKETS:
            return web.Response(status=503, text="too many WebSockets; try again later")
        socket = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT,
            heartbeat=HEARTBEAT,
            compress=False,
            max_msg_size=wire.MAX_MESSAGE,
        )
        await socket.prepare(request)
        connection = Connection(socket, request)
        self._connections.add(connection)
        self._tally.sockets_opened += 1
        try:
            async with TaskGroup() as tasks:
                writer = tasks.create_task(connection.write())
                async for frame in socket:
                    if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                        self._receive(connection, frame.data)
                writer.cancel()
        finally:
            self._connections.discard(connection)
            self._relay.close(connection)
        return socket

    def _receive(self, connection: Connection, raw: str | bytes) -> None:
        self._tally.socket_messages += 1
        try:
            message = wire.parse_from_client(raw)
        except RemoteError as error:
            self._deliver(Send(connection, wire.Failure.answering(raw, error)))
            return
        for send in self._relay.receive(connection, message, self._clock()):
            self._deliver(send)

    def _deliver(self, send: Send[Connection]) -> None:
        match send.message:
            case wire.RelayedOffer():
                self._tally.relayed_offers += 1
            case wire.RelayedAnswer():
                self._tally.relayed_answers += 1
            case wire.Failure():
                self._tally.refused += 1
        if not send.to.push(send.message.encode()):
            self._tally.slow_dropped += 1

    async def _pruning(self, _: web.Application) -> AsyncIterator[None]:
        async with TaskGroup() as tasks:
            pruner = tasks.create_task(self._prune_forever())
            yield
            pruner.cancel()

    async def _prune_forever(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_EVERY)
            self.prune()

    async def _hang_up(self, _: web.Application) -> None:
        async with TaskGroup() as tasks:
            for connection in tuple(self._connections):
                tasks.create_task(connection.close())
