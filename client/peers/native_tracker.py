"""The way between libtorrent and our tracker: it announces to us, and we pass it on.

libtorrent could speak with the tracker itself. But it looks for one that went away only after
minutes, never says over a WebSocket that it leaves, announces a hybrid torrent twice, follows every
address that a stranger names, and at its end waits for the tracker while all of Python stands
still. So what it says and hears passes through here, in the tracker's own words, on a local address
that nobody else knows.
"""

import asyncio
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from random import Random
from urllib.parse import unquote_to_bytes

import aiohttp
import libtorrent
from aiohttp import web
from yarl import URL

from client.peers.addresses import Reachable
from client.peers.candidates import welcome
from client.peers.native_member import NativeMember
from client.peers.network import Network, TcpPolicy
from client.peers.reach import MEMBERS, Beacon
from client.peers.session import OFFERS, Session, ice_of
from client.peers.signalling import TrackerSocket
from client.peers.webrtc import check_sdp
from workunits.errors import RemoteError
from workunits.passes import SignedPass
from workunits.signing import Identity
from workunits.wire.signalling import (
    Announce,
    AnnounceReply,
    Answer,
    Event,
    Failure,
    FromTracker,
    RelayedAnswer,
    RelayedOffer,
    parse_from_client,
)

log = logging.getLogger(__name__)

PASS_SECONDS = 20 * 3600
"""For how long a signed announce URL is made out."""

HUNGRY_SECONDS = 12
"""Between the announces of a download without peers."""

RETRY_SECONDS = 2
"""Between attempts to have libtorrent announce what the tracker has not heard of yet."""

INTERVALS = (30, 900)
"""Seconds; what a tracker may ask for as the interval."""

IDLE_SECONDS = 1800
"""What libtorrent is told where there is nothing to announce."""

FAREWELL = 2.0
"""Seconds for telling the tracker that we leave."""

MAX_WAITING = 1024
"""Messages that may wait for libtorrent."""

_TIMEOUT = aiohttp.ClientTimeout(total=20.0)
_LIMIT = 1024 * 1024
_REFUSAL = b"d14:failure reason"
_EVENT = re.compile(r"&event=[a-z]*")


class NativeTracker:
    """Our tracker, as a ``NativeSwarm`` sees it."""

    def __init__(
        self,
        tracker: str,
        network: Network,
        session: Session,
        members: Mapping[bytes, NativeMember],
        *,
        identity: Identity | None,
        rng: Random,
    ) -> None:
        """``tracker`` is the base URL; ``members`` are by info-hash, and change."""
        self._base = tracker
        self._network = network
        self._session = session
        self._members = members
        self._identity = identity
        self._rng = rng
        self._path = f"/announce/{secrets.token_hex(16)}"
        self._inside: web.WebSocketResponse | None = None
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._goodbyes: asyncio.Queue[str] = asyncio.Queue()
        self._requests = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def open(self, http: aiohttp.ClientSession) -> None:
        """Begin to use ``http``."""
        self._http = http
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._beacon = Beacon(http, self._base, rng=self._rng, changed=self._changed)
        self._socket = TrackerSocket(
            http, self._url, rng=self._rng, connected=self._connected, received=self._received
        )
        app = web.Application()
        app.router.add_get(self._path, self._serve, allow_head=False)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=FAREWELL)
        await self._runner.setup()
        self._door = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, self._door).start()
        self._port: int = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Say goodbye to both sides. Everything was left before, and libtorrent must still live:
        while it ends, all of Python waits for it, and it for what it is connected to."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL), asyncio.TaskGroup() as group:
                while not self._goodbyes.empty():
                    group.create_task(self._ask(self._goodbyes.get_nowait()))
                await self._quiet.wait()
        # asyncio forgets a connection that it takes while its server closes: first take no more.
        with suppress(RuntimeError):  # uvloop, which has no such fault
            asyncio.get_running_loop().remove_reader(self._door)
        for _ in range(2):
            await asyncio.sleep(0)
        if self._inside is not None:
            await self._inside.close()
        await self._runner.cleanup()

    @property
    def online(self) -> bool:
        """Whether the tracker can be reached."""
        return self._socket.online

    async def listen(self) -> None:
        """Keep knowing how to be reached, until cancelled."""
        await self._beacon.run()

    async def connect(self) -> None:
        """Stay connected, until cancelled."""
        await self._beacon.settled.wait()
        await self._socket.run()

    async def part(self) -> None:
        """Tell the tracker over HTTP what was left, until cancelled: libtorrent would do it, but
        its end would wait for the answers."""
        while True:
            await self._ask(await self._goodbyes.get())

    def urls(self) -> list[str]:
        """Where libtorrent is to announce."""
        urls = [f"ws://127.0.0.1:{self._port}{self._path}"]
        if self._network.dials:
            urls.append(f"http://127.0.0.1:{self._port}{self._path}")
        return urls

    def again(self, member: NativeMember) -> None:
        """Announce at once what the tracker refused: it may want it now."""
        if member.refused:
            member.refused = False
            self._reannounce(member)

    def tick(self, member: NativeMember, now: float) -> None:
        """Look after a torrent. Call about once a second."""
        lonely = member.others and not member.peers and not member.seeding
        wait = HUNGRY_SECONDS if member.told else RETRY_SECONDS
        if self.online and (lonely or not member.told) and now - member.announced > wait:
            member.announced = now
            self._reannounce(member)

    def left(self, member: NativeMember) -> None:
        """A torrent was left."""
        if member.peer_id:
            gone = Announce(member.name, member.peer_id, 0 if member.seeding else 1, Event.STOPPED)
            self._socket.send(gone.encode())
        for query in member.queries.values():
            self._goodbyes.put_nowait(f"{_EVENT.sub('', query)}&event=stopped")

    # -- from libtorrent --------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return await self._pass_on(request)
        socket = web.WebSocketResponse(max_msg_size=_LIMIT, compress=False, timeout=FAREWELL)
        await socket.prepare(request)
        self._inside = socket
        self._outbox = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write(socket, self._outbox))
            async for frame in socket:
                if frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    self._said(frame.data)
            writer.cancel()
        if self._inside is socket:
            self._inside = None
        return socket

    async def _write(self, socket: web.WebSocketResponse, outbox: "asyncio.Queue[str]") -> None:
        with suppress(ConnectionError):
            while True:
                await socket.send_str(await outbox.get())

    def _said(self, raw: str | bytes) -> None:
        try:
            message = parse_from_client(raw)
        except RemoteError as error:
            log.debug("libtorrent said something odd: %s", error)
            return
        member = self._members.get(message.info_hash) if isinstance(message, Announce) else None
        if isinstance(message, Answer):
            self._socket.send(message.encode())
        elif isinstance(message, Announce) and member is None:
            self._tell(AnnounceReply(message.info_hash, IDLE_SECONDS, 0, 0))
        elif isinstance(message, Announce) and member is not None:
            member.peer_id, member.answered = message.peer_id, 0
            member.announced = self._clock()
            member.told = self._socket.send(message.encode())
            if not member.told:
                self._tell(AnnounceReply(message.info_hash, IDLE_SECONDS, 0, 0))

    async def _pass_on(self, request: web.Request) -> web.Response:
        """An announce over HTTP, for TCP."""
        self._requests += 1
        self._quiet.clear()
        try:
            local = Reachable(self._beacon.zone, self._beacon.reach.lan).local
            if self._network.tcp is not TcpPolicy.ALWAYS and not local:
                return web.Response(body=b"d8:intervali%de5:peers0:e" % IDLE_SECONDS)
            query = request.raw_path.partition("?")[2]
            member = self._members.get(_info_hash(query))
            if member is None:
                return web.Response(body=b"d8:intervali%de5:peers0:e" % IDLE_SECONDS)
            member.queries[request.query.get("port", "")] = query
            body = await self._ask(query)
            if body is None:
                raise web.HTTPBadGateway
            if body.startswith(_REFUSAL):
                member.refused = True
            return web.Response(body=body)
        finally:
            self._requests -= 1
            if not self._requests:
                self._quiet.set()

    async def _ask(self, query: str) -> bytes | None:
        """What the tracker answers to an announce; None when it does not."""
        url = self._url()
        url += ("&" if "?" in url else "?") + query
        try:
            async with self._http.get(URL(url, encoded=True), timeout=_TIMEOUT) as answer:
                return await answer.content.read(_LIMIT) if answer.status == 200 else None
        except (aiohttp.ClientError, OSError) as error:
            log.debug("the tracker %s: %s", self._base, error)
            return None

    # -- from the tracker -------------------------------------------------------------------

    def _received(self, message: FromTracker) -> None:
        info_hash = getattr(message, "info_hash", None)
        member = self._members.get(info_hash) if info_hash else None
        if member is None:
            return
        match message:
            case AnnounceReply():
                member.refused = False
                member.others = message.complete + message.incomplete - 1
                interval = max(INTERVALS[0], min(INTERVALS[1], message.interval))
                self._tell(replace(message, interval=interval, min_interval=None))
            case RelayedOffer():
                self._offered(member, message)
            case RelayedAnswer():
                self._describe(message)
            case Failure():
                member.refused = True
                self._tell(AnnounceReply(member.name, INTERVALS[0], 0, 0))

    def _offered(self, member: NativeMember, message: RelayedOffer) -> None:
        if message.peer_id == member.peer_id:
            return
        member.answered += 1
        member.others = member.others or 1
        self._describe(message)
        if member.answered == OFFERS:
            # It answers no more of them until it has announced again.
            self._reannounce(member)

    def _describe(self, message: RelayedOffer | RelayedAnswer) -> None:
        """Pass on what a stranger says of how to reach him, without what we will not try."""
        reach = self._beacon.reach
        near = Reachable(self._beacon.zone, reach.lan)
        try:
            check_sdp(message.sdp)
        except RemoteError as error:
            log.debug("a peer's description is not usable: %s", error)
            return
        self._tell(replace(message, sdp=welcome(message.sdp, near)))

    def _tell(self, message: AnnounceReply | RelayedOffer | RelayedAnswer) -> None:
        if self._outbox.qsize() < MAX_WAITING:
            self._outbox.put_nowait(message.encode())

    # -- inside -----------------------------------------------------------------------------

    def _url(self) -> str:
        url = f"{self._base}/announce"
        reach = self._beacon.reach
        if self._identity is None or reach.mode != MEMBERS or reach.key is None:
            return url
        until = int(time.time()) + PASS_SECONDS
        return f"{url}?{SignedPass.query(self._identity, until, reach.key)}"

    def _changed(self) -> None:
        self._session.apply({"webtorrent_stun_server": ice_of(self._beacon.reach)})

    def _connected(self) -> None:
        for member in self._members.values():
            member.told = False
            self._reannounce(member)

    def _reannounce(self, member: NativeMember) -> None:
        member.handle.force_reannounce(0, -1, libtorrent.reannounce_flags_t.ignore_min_interval)


def _info_hash(query: str) -> bytes:
    """What an announce over HTTP is about; empty for nothing."""
    pairs = (pair.partition("=") for pair in query.split("&"))
    return next((unquote_to_bytes(value) for name, _, value in pairs if name == "info_hash"), b"")
