"""WebRTC data channels as byte streams, on aiortc. Everything peculiar to aiortc stays in here.

No trickle: an SDP holds all candidates. No STUN server unless configured. aioice gathers no
loopback candidates, so two peers on one machine meet at its network address.
"""

import asyncio
import re
import socket
from contextlib import suppress
from functools import cache

import aioice.turn
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

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

_MEDIA = re.compile(r"^m=(\w+) ", re.MULTILINE)
_CANDIDATE = re.compile(r"^a=candidate:", re.MULTILINE)


class WebRtcConnector:
    """Makes WebRTC connections; ``ice_servers`` are STUN or TURN URLs."""

    def __init__(self, ice_servers: tuple[str, ...] = ()) -> None:
        self._servers = [RTCIceServer(urls=url) for url in ice_servers]
        # The size that aioice gives its sockets, 256 KiB by default.
        aioice.turn.UDP_SOCKET_BUFFER_SIZE = SOCKET_BUFFER

    async def offer(self) -> Dial:
        """Gather candidates and describe a connection with one data channel."""
        dial = WebRtcDial(self._servers, offering=True)
        await dial.describe(None)
        return dial

    async def answer(self, sdp: str) -> Dial:
        """Answer the offer ``sdp``. Raises ``MalformedError``."""
        check_sdp(sdp)
        dial = WebRtcDial(self._servers, offering=False)
        await dial.describe(sdp)
        return dial


class WebRtcDial:
    """A peer connection on its way to an open data channel."""

    def __init__(self, servers: list[RTCIceServer], *, offering: bool) -> None:
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._offering = offering
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
        self.sdp = connection.localDescription.sdp

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
            await self._connection.close()

    async def _set_remote(self, sdp: str, kind: str) -> None:
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, kind))
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
            await self._connection.close()

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


def check_sdp(sdp: str) -> None:
    """Refuse a description that would make aiortc do more than open one data channel."""
    if len(sdp) > MAX_SDP:
        raise LimitError(f"a session description of {len(sdp)} bytes is over {MAX_SDP}")
    if _MEDIA.findall(sdp) != ["application"]:
        raise MalformedError("a session description must have one data section and no other")
    if len(_CANDIDATE.findall(sdp)) > MAX_CANDIDATES:
        raise LimitError(f"a session description has over {MAX_CANDIDATES} candidates")
