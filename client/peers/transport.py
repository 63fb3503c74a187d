"""What a peer connection runs over: an ordered byte stream, and how two peers come to have one.

``webrtc`` is the real one. The in-memory pair below has the same manners (bounded buffers, ends
that vanish) and lets everything above the wire be tested without sockets.
"""

import asyncio
import secrets
from collections import deque
from typing import Protocol

from workunits.errors import LimitError

INBOX_LIMIT = 16 * 1024 * 1024
"""Bytes that may wait to be read before the connection is cut. More than we ever ask for."""


class Channel(Protocol):
    """An ordered, reliable byte stream to one peer. Message borders mean nothing."""

    @property
    def window(self) -> int | None:
        """Bytes that may be asked for at once without loss on the way; ``None`` for any number."""

    async def send(self, data: bytes) -> None:
        """Send; waits while too much is under way. Raises ``ConnectionError`` once closed."""

    async def receive(self) -> bytes:
        """The next bytes; empty at the end. Raises ``LimitError`` when they were not read fast
        enough to be kept."""

    async def close(self) -> None:
        """Close both directions. May be called again."""


class Dial(Protocol):
    """A connection that is being made. ``open`` or ``close`` ends it."""

    @property
    def sdp(self) -> str:
        """Our half of the handshake, for the other peer."""

    async def open(self, answer: str | None = None) -> Channel:
        """Wait until the stream is there. The side that offered passes the other's ``answer``.

        Raises ``ConnectionError`` when it fails and ``MalformedError`` for a bad answer; what was
        begun is closed then, and on cancellation.
        """

    async def close(self) -> None:
        """Give up. May be called again, and after ``open`` (then it does nothing)."""


class Connector(Protocol):
    """Makes connections."""

    async def offer(self) -> Dial:
        """Start a connection to whoever will answer."""

    async def answer(self, sdp: str) -> Dial:
        """Take up the offer ``sdp``. Raises ``MalformedError`` when it is not one."""


class Inbox:
    """Bytes that came and wait to be read; the writing side never blocks."""

    def __init__(self, limit: int = INBOX_LIMIT) -> None:
        self._limit = limit
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._over = False
        self._wake = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Add bytes; past the limit everything is thrown away and reading raises."""
        if self._ended or self._over:
            return
        self._size += len(data)
        if self._size > self._limit:
            self._over = True
            self._parts.clear()
        else:
            self._parts.append(data)
        self._wake.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake.set()

    async def get(self) -> bytes:
        """The next bytes; empty at the end."""
        while not self._parts:
            if self._over:
                raise LimitError(f"the peer sent over {self._limit} bytes that were not asked for")
            if self._ended:
                return b""
            self._wake.clear()
            await self._wake.wait()
        data = self._parts.popleft()
        self._size -= len(data)
        return data


class MemoryChannel:
    """One end of a stream inside of this process."""

    window: int | None = None

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._other: MemoryChannel | None = None
        self.closed = False

    @classmethod
    def pair(cls) -> tuple["MemoryChannel", "MemoryChannel"]:
        """Two connected ends."""
        one, two = cls(), cls()
        one._other, two._other = two, one
        return one, two

    async def send(self, data: bytes) -> None:
        """See ``Channel``."""
        await asyncio.sleep(0)
        if self.closed or self._other is None or self._other.closed:
            raise ConnectionError("the channel is closed")
        self._other._inbox.put(data)

    async def receive(self) -> bytes:
        """See ``Channel``."""
        return await self._inbox.get()

    async def close(self) -> None:
        """See ``Channel``."""
        self.closed = True
        self._inbox.end()
        if self._other is not None:
            self._other._inbox.end()


class MemoryDial:
    """One side of a connection that is being made inside of this process."""

    def __init__(self, sdp: str, channel: MemoryChannel) -> None:
        self.sdp = sdp
        self._channel = channel

    async def open(self, answer: str | None = None) -> Channel:
        """See ``Dial``."""
        return self._channel

    async def close(self) -> None:
        """See ``Dial``."""


class MemoryConnector:
    """Connects peers of one process: share one object among them."""

    def __init__(self) -> None:
        self._offers: dict[str, MemoryChannel] = {}

    async def offer(self) -> Dial:
        """See ``Connector``."""
        mine, theirs = MemoryChannel.pair()
        sdp = secrets.token_hex(8)
        self._offers[sdp] = theirs
        return MemoryDial(sdp, mine)

    async def answer(self, sdp: str) -> Dial:
        """See ``Connector``."""
        return MemoryDial("answer", self._offers.pop(sdp))
