"""One peer of one torrent: its wire, what is known of it, and the bytes in both directions."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from client.peers import download, events, layers, protocol
from client.peers.extensions import Address
from client.peers.protocol import PeerWire
from client.peers.transport import Channel
from workunits.errors import LimitError, MalformedError

OUTBOX_LIMIT = 1024 * 1024
"""Bytes of small messages that may wait for a peer that does not read."""


@dataclass(slots=True, eq=False)
class Connection:
    """One peer of one torrent."""

    channel: Channel
    wire: PeerWire
    remote: bytes
    """Whatever the peer is known by before it speaks: what is banned when it lies."""

    heard: float
    useful: float
    """When content last came from it, or went to it from a seed; at first, when it came."""

    address: Address | None = None
    """Where it can be dialled over TCP; port 0 until it says where it listens."""

    joined: bool = False
    extended: bool = False
    every: bool = False
    interested: bool = False
    spoke: float = 0.0
    told: float = float("-inf")
    """When it last told of other peers."""

    parts: deque[int] = field(default_factory=deque)
    """Parts of the info dictionary that it asked for and was not sent."""

    outbox: list[bytes] = field(default_factory=list)
    waiting: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, data: bytes) -> None:
        """Queue a message; a peer that does not read loses its connection."""
        if not data or self.ended.is_set():
            return
        self.outbox.append(data)
        self.waiting += len(data)
        if self.waiting > OUTBOX_LIMIT:
            self.ended.set()
        self.wake.set()

    def take(self) -> bytes:
        """Everything that waits."""
        data = b"".join(self.outbox)
        self.outbox.clear()
        self.waiting = 0
        return data


class Owner(Protocol):
    """The torrent that a connection belongs to."""

    def handle(self, connection: Connection, event: events.Event, now: float) -> None:
        """The peer said something."""

    def expel(self, connection: Connection, reason: str) -> None:
        """The peer broke the protocol: end the connection, and have no other to it."""

    def next_part(self, connection: Connection) -> bytes | None:
        """The message with the next part of the info dictionary that the peer asked for."""

    def next_block(self, connection: Connection) -> bytes | None:
        """The message with the next block that the peer asked for."""

    def served(self, connection: Connection, size: int) -> None:
        """A message with a block, of ``size`` bytes of content, was sent."""


async def run(connection: Connection, owner: Owner, clock: Callable[[], float]) -> None:
    """Carry bytes until the connection ends. Raises groups of ``SwarmError`` and ``OSError``."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_read(connection, owner, clock)),
            group.create_task(_write(connection, owner, clock)),
        ]
        await connection.ended.wait()
        for task in tasks:
            task.cancel()


async def _read(connection: Connection, owner: Owner, clock: Callable[[], float]) -> None:
    wire = connection.wire
    connection.send(wire.handshake())
    while data := await connection.channel.receive():
        now = connection.heard = clock()
        try:
            for event in wire.receive(data, now):
                if not connection.ended.is_set():
                    owner.handle(connection, event, now)
        except (MalformedError, LimitError) as error:
            owner.expel(connection, error.message)
            return
    connection.ended.set()


async def _write(connection: Connection, owner: Owner, clock: Callable[[], float]) -> None:
    channel = connection.channel
    while True:
        await connection.wake.wait()
        connection.wake.clear()
        while True:
            if connection.outbox:
                connection.spoke = clock()
                await channel.send(connection.take())
                continue
            part = owner.next_part(connection)
            if part is not None:
                if part:  # there is no answer for who does not say how to spell it
                    await channel.send(part)
                continue
            block = owner.next_block(connection)
            if block is None:
                break
            await channel.send(block)
            owner.served(connection, len(block) - protocol.BLOCK_HEAD)


def spelled(command: download.Ordinary, wire: PeerWire) -> bytes:
    """What to send to the peer that ``command`` is about."""
    match command:
        case download.Ask(_, blocks):
            return b"".join(map(protocol.request, blocks))
        case download.Withdraw(_, block):
            return protocol.cancel(block)
        case download.Interest(_, on):
            return protocol.message(protocol.INTERESTED if on else protocol.NOT_INTERESTED)
        case download.AskMetadata(_, part):
            return wire.ask_metadata(part)
        case layers.AskHashes(_, request):
            return protocol.ask_hashes(request)
    return b""
