"""WebRTC data channels as byte streams, on aiortc. Everything peculiar to aiortc stays in here.

No trickle: an SDP holds all candidates. No STUN or TURN server unless the tracker names one. aioice
gathers no loopback candidates, so two peers on one machine meet at its network address.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import aioice.turn
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)

from client.peers.addresses import Reachable, Zone
from client.peers.candidates import RELAYED, candidates, relayed, welcome
from client.peers.reach import Turn
from client.peers.transport import Channel, Dial, Inbox
from workunits.errors import LimitError, MalformedError

LABEL = "openswarm"
OPEN_TIMEOUT = 20.0
"""Seconds from both descriptions being known to an open channel."""

MESSAGE_SIZE = 32 * 1024
"""Bytes of one data channel message; every implementation takes 64 KiB."""

HIGH_WATER = 512 * 1024
LOW_WATER = 128 * 1024
"""Bytes in aiortc's send buffer at which ``send`` waits, and goes on."""

MAX_SDP = 16 * 1024
MAX_CANDIDATES = 32
GUARD_INTERVAL = 1.0
SOCKET_BUFFER = 4 * 1024 * 1024
"""Bytes of UDP receive buffer that we ask the kernel for; it may grant less."""

_CANDIDATE = "a=candidate:"
_HERE = Reachable(Zone.HOST)


@dataclass(frozen=True, slots=True)
class Ice:
    """How connections are to be made. aiortc uses one STUN and one TURN server at a time.

    ``relay_only`` shows and uses nothing but relayed candidates; ``near`` says which candidates
    of others are followed.
    """

    stun: tuple[str, ...] = ()
    turn: Turn | None = None
    relay_only: bool = False
    near: Reachable = _HERE


async def on_this_machine() -> Ice:
    """No servers, and every candidate is followed."""
    return Ice()


class WebRtcConnector:
    """Makes WebRTC connections; ``ice`` is asked for every one of them."""

    def __init__(self, ice: Callable[[], Awaitable[Ice]] = on_this_machine) -> None:
        self._ice = ice
        self._attempt = 0
        # The size that aioice gives its sockets, 256 KiB by default.
        aioice.turn.UDP_SOCKET_BUFFER_SIZE = SOCKET_BUFFER

    async def offer(self) -> Dial:
        """Gather candidates and describe a connection with one data channel."""
        return await self._begin(None)

    async def answer(self, sdp: str) -> Dial:
        """Answer the offer ``sdp``. Raises ``MalformedError``."""
        check_sdp(sdp)
        return await self._begin(sdp)

    async def _begin(self, offer: str | None) -> Dial:
        ice = await self._ice()
        attempt = self._attempt
        dial = WebRtcDial(ice, offering=offer is None, attempt=attempt)
        await dial.describe(offer)
        if ice.turn is not None and not any(kind == RELAYED for _, kind in candidates(dial.sdp)):
            # The TURN server did not answer: try its next address, for one may be UDP that a
            # firewall drops, and the other TCP. Several dials that run now count as one.
            self._attempt = attempt + 1
            if ice.relay_only:
                await dial.close()
                raise ConnectionError("the tracker's TURN server does not answer")
        return dial


async def _end(connection: RTCPeerConnection) -> None:
    """Close a connection, which may be closing by itself.

    aiortc lets all who close wait for one future: one of them who was cancelled would cancel it,
    and leave the connection half closed.
    """
    await asyncio.shield(connection.close())


class WebRtcDial:
    """A peer connection on its way to an open data channel."""

    def __init__(self, ice: Ice, *, offering: bool, attempt: int = 0) -> None:
        """``attempt`` chooses among the addresses of the TURN server."""
        if ice.relay_only and ice.turn is None:
            raise ConnectionError("the tracker names no TURN server, and others are not to be used")
        policy = RTCIceTransportPolicy.RELAY if ice.relay_only else RTCIceTransportPolicy.ALL
        self._ice = ice
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=_servers(ice, attempt), iceTransportPolicy=policy)
        )
        self._settled = asyncio.Event()
        self._channel: RTCDataChannel | None = None
        self._stream: WebRtcChannel | None = None
        self._handed_over = False
        self.sdp = ""
        self._connection.on("connectionstatechange", self._changed)
        if offering:
            self._take(self._connection.createDataChannel(LABEL))
        else:
            self._connection.on("datachannel", self._take)

    async def describe(self, offer: str | None) -> None:
        """Make our description, as an answer to ``offer`` if there is one."""
        connection = self._connection
        try:
            if offer is None:
                await connection.setLocalDescription(await connection.createOffer())
            else:
                await self._set_remote(offer, "offer")
                await connection.setLocalDescription(await connection.createAnswer())
        except BaseException:
            await self.close()
            raise
        sdp = connection.localDescription.sdp
        self.sdp = relayed(sdp) if self._ice.relay_only else sdp

    async def open(self, answer: str | None = None) -> Channel:
        """See ``Dial``."""
        try:
            if answer is not None:
                check_sdp(answer)
                await self._set_remote(answer, "answer")
            async with asyncio.timeout(OPEN_TIMEOUT):
                await self._settled.wait()
            if self._stream is None or not self._stream.alive:
                raise ConnectionError("the WebRTC connection failed")
        except TimeoutError:
            await self.close()
            raise ConnectionError("the WebRTC connection did not open in time") from None
        except BaseException:
            await self.close()
            raise
        self._handed_over = True
        return self._stream

    async def close(self) -> None:
        """See ``Dial``."""
        if not self._handed_over:
            await _end(self._connection)

    async def _set_remote(self, sdp: str, kind: str) -> None:
        try:
            shown = welcome(sdp, self._ice.near)
            await self._connection.setRemoteDescription(RTCSessionDescription(shown, kind))
        except Exception as error:  # aiortc lets whatever its parser stumbles over out
            raise MalformedError(f"the peer's {kind} is not usable: {error!r}") from None

    def _take(self, channel: RTCDataChannel) -> None:
        if self._channel is not None:
            return  # one is enough; a peer that opens more is not served on them
        self._channel = channel
        self._stream = WebRtcChannel(self._connection, channel)
        if channel.readyState == "open":
            self._settled.set()
        else:
            channel.on("open", self._settled.set)

    def _changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            if self._stream is not None:
                self._stream.lost()
            self._settled.set()


class WebRtcChannel:
    """An open data channel."""

    def __init__(self, connection: RTCPeerConnection, channel: RTCDataChannel) -> None:
        self._connection = connection
        self._channel = channel
        self._inbox = Inbox()
        self._room = asyncio.Event()
        self.alive = True
        self.window: int | None = receive_window()
        channel.bufferedAmountLowThreshold = LOW_WATER
        channel.on("bufferedamountlow", self._room.set)
        channel.on("message", self._message)
        channel.on("close", self.lost)
        self._watch: asyncio.TimerHandle | None = None
        self._guard()

    async def send(self, data: bytes) -> None:
        """See ``Channel``."""
        view = memoryview(data)
        for at in range(0, len(view), MESSAGE_SIZE):
            while self.alive and self._channel.bufferedAmount > HIGH_WATER:
                self._room.clear()
                await self._room.wait()
            if not self.alive:
                raise ConnectionError("the data channel is closed")
            try:
                self._channel.send(bytes(view[at : at + MESSAGE_SIZE]))
            except Exception as error:  # aiortc's own InvalidStateError and its transports'
                self.lost()
                raise ConnectionError(f"the data channel is closed: {error!r}") from None

    async def receive(self) -> bytes:
        """See ``Channel``."""
        return await self._inbox.get()

    async def close(self) -> None:
        """See ``Channel``."""
        self.lost()
        with suppress(ConnectionError):
            await _end(self._connection)

    def lost(self) -> None:
        """Nothing more will come or go."""
        self.alive = False
        self._inbox.end()
        self._room.set()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _guard(self) -> None:
        """End a connection whose peer sends one message without an end.

        aiortc announces a receive window, but keeps whatever comes beyond it.
        """
        association = self._connection.sctp
        if association is not None and association._advertised_rwnd < 0:
            self.lost()
        else:
            self._watch = asyncio.get_running_loop().call_later(GUARD_INTERVAL, self._guard)

    def _message(self, data: bytes | str) -> None:
        self._inbox.put(data.encode() if isinstance(data, str) else data)


@cache
def receive_window() -> int:
    """Bytes of content that the kernel buffers for one UDP socket of ours.

    More than that in flight is lost whenever this process is busy for a moment, and aiortc then
    waits a second or more to send it again: measured, it costs two thirds of the speed. The kernel
    counts a packet of 1.2 KB as 2.3 KB.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) * 2 // 5


def _servers(ice: Ice, attempt: int) -> list[RTCIceServer]:
    servers = [RTCIceServer(urls=url) for url in ice.stun[:1] if not ice.relay_only]
    if ice.turn is not None:
        url = ice.turn.urls[attempt % len(ice.turn.urls)]
        servers.append(RTCIceServer(url, ice.turn.username, ice.turn.credential))
    return servers


def check_sdp(sdp: str) -> None:
    """Refuse a description that would make aiortc do more than open one data channel."""
    if len(sdp) > MAX_SDP:
        raise LimitError(f"a session description of {len(sdp)} bytes is over {MAX_SDP}")
    lines = sdp.splitlines()  # as aiortc does, which knows more ends of a line than LF
    if [line.partition(" ")[0] for line in lines if line.startswith("m=")] != ["m=application"]:
        raise MalformedError("a session description must have one data section and no other")
    if sum(line.startswith(_CANDIDATE) for line in lines) > MAX_CANDIDATES:
        raise LimitError(f"a session description has over {MAX_CANDIDATES} candidates")
