"""One peer of one torrent: its wire, what is known of it, and what waits to be sent to it."""

import asyncio
from dataclasses import dataclass, field

from client.peers.extensions import Address
from client.peers.protocol import PeerWire
from client.peers.transport import Channel

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
    address: Address | None = None
    """Where it can be dialled over TCP; port 0 until it says where it listens."""

    joined: bool = False
    extended: bool = False
    every: bool = False
    interested: bool = False
    spoke: float = 0.0
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
