"""Connections of one torrent, whatever carries them: who is at the other end, what went through.

A peer can be met in two ways at once. It names itself in its handshake, so that shows; but anybody
can give any name, so a name alone is no reason to give up a connection that delivers.
"""

from collections.abc import Iterable

from client.peers.addresses import Address
from client.peers.protocol import HANDSHAKE_SIZE
from client.peers.throttle import Throttle
from client.peers.transport import Channel
from workunits.wire.signalling import ID_SIZE

OVERLAP = 10.0
"""Seconds for which two connections to the same name may show which one is better."""

KIN = b"-OS"
"""How the names of our own kind begin; of two such peers one decides for both."""


class Link:
    """A channel that notes the peer's name and the bytes that pass, and keeps to the limits."""

    def __init__(
        self,
        channel: Channel,
        throttle: Throttle,
        key: bytes,
        *,
        address: Address | None = None,
    ) -> None:
        """``key`` is what the peer is known by before it speaks: its name at the tracker, or where
        it comes from. ``address`` is that of a TCP connection, with port 0 if the peer made it."""
        self._channel = channel
        self._throttle = throttle
        self._head = bytearray()
        self.window = channel.window
        self.key = key
        self.address = address
        self.name = b""
        self.moved = 0
        self.rival: float | None = None
        """Since when there is another connection to the same name, and ``mark`` what had passed."""

        self.mark = 0

    @property
    def direct(self) -> bool:
        """Whether it runs over TCP, which costs less than WebRTC."""
        return self.address is not None

    async def send(self, data: bytes) -> None:
        """See ``Channel``."""
        await self._throttle.up(len(data))
        await self._channel.send(data)
        self.moved += len(data)

    async def receive(self) -> bytes:
        """See ``Channel``."""
        data = await self._channel.receive()
        self.moved += len(data)
        if not self.name:
            self._head += data[:HANDSHAKE_SIZE]
            if len(self._head) >= HANDSHAKE_SIZE:
                self.name = bytes(self._head[HANDSHAKE_SIZE - ID_SIZE : HANDSHAKE_SIZE])
        await self._throttle.down(len(data))
        return data

    async def close(self) -> None:
        """See ``Channel``."""
        await self._channel.close()


def surplus(links: Iterable[Link], ours: bytes, now: float) -> list[Link]:
    """Connections to end: to ourselves (``ours`` is our own name), and of several to one peer all
    but the one that moved most. Call about once a second.
    """
    same: dict[bytes, list[Link]] = {}
    for link in links:
        if link.name:
            same.setdefault(link.name, []).append(link)
    over = same.pop(ours, [])
    for name, group in same.items():
        for link in group:
            if len(group) == 1:
                link.rival = None
            elif link.rival is None:
                link.rival, link.mark = now, link.moved
        # Only one side of two of our kind decides, or each might end the one that the other keeps.
        decides = ours > name or not name.startswith(KIN)
        ripe = all(link.rival is not None and now - link.rival >= OVERLAP for link in group)
        if len(group) > 1 and decides and ripe:
            best = max(group, key=lambda link: (link.moved - link.mark, link.direct))
            over += [link for link in group if link is not best]
    return over
