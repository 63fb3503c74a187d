"""Plain TCP as a way to carry the peer protocol (BEP 3): streams, dialling, and a listener.

Nothing is encrypted, so by default only connections inside of the local network are made.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from client.peers.addresses import Address
from client.peers.protocol import PROTOCOL
from workunits.errors import MalformedError, UnavailableError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 8.0
HEAD_TIMEOUT = 10.0
"""Seconds for a connection to be made, and for its first bytes to come."""

HEAD_SIZE = len(PROTOCOL) + 8 + 20
"""Protocol, reserved bits, info-hash: what says which torrent a connection is about."""

READ_SIZE = 256 * 1024
HIGH_WATER = 1024 * 1024
LOW_WATER = 256 * 1024
"""Bytes: read at once, and in the send buffer when ``send`` waits and goes on."""

CLOSE_TIMEOUT = 1.0
BACKLOG = 64
MAX_HALF_OPEN = 64
MAX_HALF_OPEN_PER_HOST = 8
MAX_PER_HOST = 64
"""Incoming connections: before the first bytes came (all, of one host), and of one host."""

Admit = Callable[[str, str], bool]
"""Whether a connection between our host and theirs may be used."""

Arrive = Callable[["TcpChannel", bytes], Coroutine[Any, Any, None]]
"""Runs a connection that came in, for an info-hash; returns when it is over, or at once when there
is no such torrent."""

Spawn = Callable[..., None]
"""Runs ``coroutine_function(*args)`` in somebody's task group."""


class TcpChannel:
    """A TCP connection; see ``Channel``. ``head`` are bytes that were read already."""

    window: int | None = None

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes = b""
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head
        self._closed = False
        self.ours = _address(writer, "sockname")
        self.theirs = _address(writer, "peername")
        writer.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)

    async def send(self, data: bytes) -> None:
        """See ``Channel``."""
        if self._closed:
            raise ConnectionError("the connection is closed")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise ConnectionError(f"the connection is closed: {error}") from None

    async def receive(self) -> bytes:
        """See ``Channel``."""
        if self._head:
            head, self._head = self._head, b""
            return head
        try:
            return await self._reader.read(READ_SIZE)
        except OSError:
            return b""

    async def close(self) -> None:
        """See ``Channel``. What was not sent yet is thrown away."""
        self._closed = True
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()
        else:
            self._writer.close()
        with suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._writer.wait_closed()


async def connect(address: Address, admit: Admit) -> TcpChannel:
    """Connect to ``address``. Raises ``ConnectionError``."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_connection(*address, limit=READ_SIZE)
    except OSError as error:
        raise ConnectionError(f"no connection to {address}: {error}") from None
    channel = TcpChannel(reader, writer)
    if not admit(channel.ours.host, channel.theirs.host):
        await channel.close()
        raise ConnectionError(f"the connection to {address} leaves the local network")
    return channel


class TcpListener:
    """Takes connections for all torrents on one port."""

    def __init__(self, admit: Admit, arrive: Arrive, spawn: Spawn) -> None:
        self._admit = admit
        self._arrive = arrive
        self._spawn = spawn
        self._server: asyncio.Server | None = None
        self._opening: dict[asyncio.StreamWriter, str] = {}
        self._hosts: Counter[str] = Counter()
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen; port 0 takes a free one. Raises ``UnavailableError``."""
        try:
            self._server = await asyncio.start_server(
                self._accept, sock=_bound(port), limit=READ_SIZE, backlog=BACKLOG
            )
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on TCP port {port}: {error.strerror or error}",
                hint="Choose another one with --port, or none with --tcp never.",
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours, theirs = _address(writer, "sockname").host, _address(writer, "peername").host
        if (
            self._server is None
            or not self._admit(ours, theirs)
            or len(self._opening) >= MAX_HALF_OPEN
            or list(self._opening.values()).count(theirs) >= MAX_HALF_OPEN_PER_HOST
            or self._hosts[theirs] >= MAX_PER_HOST
        ):
            writer.transport.abort()
            return
        self._opening[writer] = theirs
        self._hosts[theirs] += 1
        self._spawn(self._serve, reader, writer, then=lambda: self._over(writer, theirs))

    def _over(self, writer: asyncio.StreamWriter, host: str) -> None:
        self._opening.pop(writer, None)
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                head = await _read_head(reader)
        except (OSError, EOFError, MalformedError) as error:
            log.debug("a TCP connection came to nothing: %s", error)
            return
        del self._opening[writer]
        await self._arrive(TcpChannel(reader, writer, head), head[-20:])


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """The first bytes of a handshake; what speaks another protocol is cut off at once."""
    protocol = await reader.readexactly(len(PROTOCOL))
    if protocol != PROTOCOL:
        raise MalformedError("the peer does not speak the BitTorrent protocol")
    return protocol + await reader.readexactly(HEAD_SIZE - len(PROTOCOL))


def _address(writer: asyncio.StreamWriter, name: str) -> Address:
    host, port = (writer.get_extra_info(name) or ("::", 0))[:2]
    return Address.of(host, port)


def _bound(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6 where the machine has both."""
    if socket.has_dualstack_ipv6():
        with suppress(OSError):
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
