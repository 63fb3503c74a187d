"""One WebTorrent peer's WebSocket, on a transport of its own.

Nothing here ever waits for the receiver: what it does not read is kept by the transport, and a
receiver that lets too much pile up loses its connection.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from tracker.announce.admission import Pass
from tracker.announce.frames import (
    Close,
    FrameError,
    FrameReader,
    Kind,
    encode_close,
    encode_frame,
    parse_close,
)
from workunits.wire.signalling import MAX_MESSAGE

MAX_WAITING = 1024 * 1024
"""Bytes that may wait for a slow receiver."""

CLOSE_TIMEOUT = 2.0
_TEXT = Kind.TEXT


class Receiver(Protocol):
    """Who is told what arrives."""

    def receive(self, socket: "Socket", raw: bytes, *, text: bool) -> None:
        """A message has come in."""

    def gone(self, socket: "Socket") -> None:
        """The socket is no more."""


class Socket(asyncio.Protocol):
    """An open WebSocket. Compared by identity.

    ``network`` is where it comes from (see ``networks``), ``admitted`` who is behind it; ``lost``
    is called, if given, with what ``connection_lost`` is called with.
    """

    __slots__ = (
        *("_broken", "_closing", "_heard", "_lost", "_reader", "_receiver", "_transport"),
        *("admitted", "network"),
    )

    def __init__(
        self,
        receiver: Receiver,
        network: int,
        admitted: Pass,
        *,
        lost: Callable[[Exception | None], None] | None = None,
    ) -> None:
        self.network = network
        self.admitted = admitted
        self._receiver = receiver
        self._lost = lost
        self._reader = FrameReader(MAX_MESSAGE)
        self._transport: asyncio.Transport | None = None
        self._broken = False
        self._closing = False
        self._heard = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a transport on which hands were shaken."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take the messages in ``data``; whoever breaks the protocol is told, and cut off."""
        self._heard = True
        if self._broken:
            return
        try:
            reader = self._reader
            reader.push(data)
            while (message := reader.pull()) is not None:
                kind, payload = message
                if kind is _TEXT or kind is Kind.BINARY:
                    if not self._closing:
                        self._receiver.receive(self, payload, text=kind is _TEXT)
                elif kind is Kind.CLOSE:
                    self._end(parse_close(payload))
                    return
                elif kind is Kind.PING:
                    self.write(encode_frame(Kind.PONG, payload))
        except FrameError as error:
            self.close(error.close, error.message)
            # The rest cannot be read; it is let go until the other side hangs up, because to close
            # on bytes that nobody took would reset the connection before the reason gets through.
            self._broken = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who has to know."""
        self._closing = True
        self._transport = None
        self._receiver.gone(self)
        if self._lost is not None:
            self._lost(exc)

    def send(self, payload: bytes) -> bool:
        """Send a text message, never waiting; one to a closing socket is dropped. False if the
        receiver was too slow and loses its connection."""
        return self.write(encode_frame(_TEXT, payload))

    def write(self, frame: bytes) -> bool:
        """As ``send``, for a whole frame."""
        transport = self._transport
        if transport is None or self._closing:
            return True
        transport.write(frame)
        if transport.get_write_buffer_size() > MAX_WAITING:
            self._closing = True
            transport.abort()
            return False
        return True

    def beat(self) -> None:
        """Called now and then: ask for a sign of life, or give up if the last got none."""
        if self._transport is None:
            return
        if not self._heard:
            self._closing = True
            self._transport.abort()
            return
        self._heard = False
        self.write(encode_frame(Kind.PING, b""))

    def close(self, code: Close = Close.GOING_AWAY, reason: str = "") -> None:
        """Say why it ends, and let the other side answer for a short time only."""
        if self._transport is None or self._closing:
            return
        self.write(encode_close(code, reason))
        self._closing = True
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._abort)

    def _end(self, code: int) -> None:
        """The other side has said goodbye, or has answered ours."""
        if self._transport is None:
            return
        if not self._closing:
            self.write(encode_frame(Kind.CLOSE, code.to_bytes(2, "big")))
            self._closing = True
        self._transport.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
