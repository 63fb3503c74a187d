"""The announce service: clocks, counters and connections around the pure parts.

``answer`` and ``open`` do the work for ``front`` (TCP), ``udp`` has a service of its own on the
same state, and the routes do it for requests that come by way of aiohttp.
"""

import asyncio
import random
import secrets
import time
from asyncio import TaskGroup
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from aiohttp import web

from tracker.announce import http
from tracker.announce.admission import Admission, Mode
from tracker.announce.frames import Close
from tracker.announce.networks import is_local, network_of
from tracker.announce.requests import RequestParser, accept
from tracker.announce.signalling import INTERVAL, Relay, Send
from tracker.announce.sockets import Socket
from tracker.announce.swarms import Limits, Swarms
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.wire import signalling as wire

HEARTBEAT = 30.0
BEAT_EVERY = 1.0
PRUNE_EVERY = 1.0
MAX_SOCKETS = 20_000
MAX_NETWORK_SOCKETS = 1_000
_PATHS = ("/announce", "/announce/{passkey}")


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
    udp_connects: int = 0
    udp_announces: int = 0
    udp_scrapes: int = 0
    udp_dropped: int = 0
    socket_messages: int = 0
    relayed_offers: int = 0
    relayed_answers: int = 0
    refused: int = 0
    slow_dropped: int = 0
    peers_expired: int = 0
    offers_expired: int = 0


class Beating(Protocol):
    """A connection that wants to be called every ``HEARTBEAT`` seconds."""

    def beat(self) -> None:
        """See whether anybody is there."""

    def close(self) -> None:
        """The tracker is stopping."""


def peer_address(host: str, _: Mapping[str, str]) -> str:
    """The address that the request came from, as the socket says it."""
    return host


def status_of(error: RemoteError) -> int:
    """The HTTP status of a WebSocket that is not opened."""
    match error:
        case LimitError():
            return 503
        case MalformedError():
            return 400
        case _:
            return 403


class AnnounceService:
    """Announces, scrapes and relays, whoever carries them.

    ``admission`` says who may announce what (``tracked`` is short for one that lists those
    info-hashes). ``source`` says where a request came from, given the socket's address and the
    request's header fields by their names in lower case; replace it only behind a proxy that you
    run.
    """

    def __init__(
        self,
        *,
        admission: Admission | None = None,
        tracked: Callable[[bytes], bool] | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        source: Callable[[str, Mapping[str, str]], str] = peer_address,
    ) -> None:
        seeded = random.Random(secrets.randbits(128))  # noqa: S311 - drawing peers is no secret
        if admission is None:
            mode = Mode.OPEN if tracked is None else Mode.LISTED
            admission = Admission(mode, listed=tracked or (lambda _: True), wall=time.time)
        self.admission = admission
        self.swarms = Swarms(tracked=admission.tracked, rng=rng or seeded, limits=limits)
        self.requests = RequestParser()
        self.source = source
        self.clock = clock
        self.tally = Counters()
        self._relay: Relay[Socket] = Relay(self.swarms)
        self._sockets: set[Socket] = set()
        self._by_network: Counter[int] = Counter()
        self._beats: dict[Beating, float] = {}
        self._empty = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """The routes, for an application that adds them itself (see ``add_to``)."""
        scrapes = [path.replace("announce", "scrape") for path in _PATHS]
        return [
            *(web.get(path, self._get_announce, allow_head=False) for path in _PATHS),
            *(web.get(path, self._get_scrape, allow_head=False) for path in scrapes),
        ]

    def add_to(self, app: web.Application) -> None:
        """Add routes, the service's tasks and an orderly end to ``app``."""
        app.add_routes(self.routes())
        app.cleanup_ctx.append(self._tasks)
        app.on_shutdown.append(self._hang_up)

    def counters(self) -> Counters:
        """A copy of the counters as they stand."""
        return replace(
            self.tally,
            peers=self.swarms.peer_count,
            swarms=self.swarms.swarm_count,
            sockets=len(self._sockets),
            outstanding_offers=self._relay.outstanding,
            relayed_offers=self._relay.relayed_offers,
            relayed_answers=self._relay.relayed_answers,
        )

    def prune(self) -> None:
        """Forget peers and offers whose time is over; called every second by the app."""
        now = self.clock()
        self.tally.peers_expired += self.swarms.prune(now)
        self.tally.offers_expired += self._relay.prune(now)

    def beat(self) -> None:
        """Call every connection whose turn it is; called every second by the app."""
        now = self.clock()
        due = []
        for connection, when in self._beats.items():
            if when > now:
                break
            due.append(connection)
        for connection in due:
            self.watch(connection)
            connection.beat()

    def watch(self, connection: Beating) -> None:
        """Call ``connection`` in ``HEARTBEAT`` seconds, and then again and again."""
        self._beats.pop(connection, None)
        self._beats[connection] = self.clock() + HEARTBEAT

    def unwatch(self, connection: Beating) -> None:
        """Call it no more."""
        self._beats.pop(connection, None)

    def answer(self, target: str, source: str) -> bytes:
        """The bencoded reply to a GET of ``target`` (path and query, still percent-encoded) that
        came from ``source``, an IP address in text. Refusals are replies too."""
        query = target.partition("?")[2]
        try:
            admitted = self.admission.admit(target)
            if target.startswith("/scrape"):
                self.tally.http_scrapes += 1
                return http.answer_scrape(self.swarms, query)
            self.tally.http_announces += 1
            warning = self.admission.warning(admitted, http.INTERVAL)
            return http.answer_announce(self.swarms, query, source, self.clock(), warning)
        except RemoteError as error:
            self.tally.refused += 1
            return http.failure(error)

    def open(
        self,
        target: str,
        source: str,
        lost: Callable[[Exception | None], None] | None = None,
    ) -> Socket:
        """A WebSocket for who has asked for ``target``. Raises ``RemoteError`` for who may not
        have one; ``status_of`` is how to say so."""
        admitted = self.admission.admit(target)
        if len(self._sockets) >= MAX_SOCKETS:
            raise LimitError("too many WebSockets", hint="try again later")
        network = network_of(http.pack_address(source, 0))
        if self._by_network[network] >= MAX_NETWORK_SOCKETS and not is_local(network):
            raise LimitError("too many WebSockets of your network", hint="close some of them")
        socket = Socket(self, network, admitted, lost=lost)
        self._sockets.add(socket)
        self._by_network[network] += 1
        self.watch(socket)
        self.tally.sockets_opened += 1
        return socket

    def receive(self, socket: Socket, raw: bytes, *, text: bool) -> None:
        """Take a message of a WebSocket."""
        self.tally.socket_messages += 1
        warning, admitted = "", socket.admitted
        try:
            message = wire.parse_from_client(raw)
            # An answer goes to who asked for it, and to nobody else: that needs no pass.
            if not isinstance(message, wire.Answer):
                self.admission.confirm(admitted)
                if admitted.member is not None:
                    warning = self.admission.warning(admitted, INTERVAL)
        except RemoteError as error:
            if text and not _is_utf8(raw):
                socket.close(Close.NOT_TEXT, "a text message is not UTF-8")
                return
            self._deliver(Send(socket, wire.Failure.answering(raw, error)))
            return
        for send in self._relay.receive(socket, message, self.clock(), socket.network, warning):
            self._deliver(send)

    def gone(self, socket: Socket) -> None:
        """A WebSocket is no more."""
        if socket in self._sockets:
            self._sockets.remove(socket)
            self._by_network[socket.network] -= 1
            if not self._by_network[socket.network]:
                del self._by_network[socket.network]
        self.unwatch(socket)
        self._relay.close(socket)
        if not self._sockets:
            self._empty.set()

    def _deliver(self, send: Send[Socket]) -> None:
        to, message = send
        if isinstance(message, wire.Failure):
            self.tally.refused += 1
        if not to.send(message.pack()):
            self.tally.slow_dropped += 1

    async def _get_announce(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._adopt(request)
        return self._respond(request)

    async def _get_scrape(self, request: web.Request) -> web.StreamResponse:
        return self._respond(request)

    def _respond(self, request: web.Request) -> web.Response:
        source = self.source(request.remote or "", _named(request))
        return web.Response(body=self.answer(request.raw_path, source), content_type="text/plain")

    async def _adopt(self, request: web.Request) -> web.StreamResponse:
        """Take the connection away from aiohttp, for a WebSocket that did not come by ``front``."""
        named, transport, behind = _named(request), request.transport, request.protocol
        over = asyncio.get_running_loop().create_future()

        def lost(error: Exception | None) -> None:
            behind.connection_lost(error)
            if not over.done():
                over.set_result(None)

        try:
            head = accept(named)
            source = self.source(request.remote or "", named)
            socket = self.open(request.raw_path, source, lost)
        except RemoteError as error:
            return web.Response(status=status_of(error), text=error.message)
        if transport is None:
            self.gone(socket)
            raise ConnectionResetError
        transport.write(head)
        transport.set_protocol(socket)
        socket.connection_made(transport)
        await over
        # Nobody is there any more to get this.
        return web.Response()

    async def _tasks(self, _: web.Application) -> AsyncIterator[None]:
        async with TaskGroup() as tasks:
            running = [
                tasks.create_task(_forever(self.prune, lambda: PRUNE_EVERY)),
                tasks.create_task(_forever(self.beat, lambda: BEAT_EVERY)),
            ]
            yield
            for task in running:
                task.cancel()

    async def _hang_up(self, _: web.Application) -> None:
        self._empty.clear()
        for connection in tuple(self._beats):
            connection.close()
        if self._sockets:
            await self._empty.wait()


async def _forever(step: Callable[[], None], seconds: Callable[[], float]) -> None:
    while True:
        await asyncio.sleep(seconds())
        step()


def _named(request: web.Request) -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
