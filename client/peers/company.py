"""The peers of one torrent: who is connected, who must not be, and who makes room for others."""

import logging
from collections.abc import Callable, Iterator

from client.peers.connection import Connection

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 20.0
KEEPALIVE = 90.0
SILENCE_TIMEOUT = 240.0
"""Seconds: for the handshake, between our keepalives, and without a byte from a peer."""

BAN = 900.0
MAX_BANNED = 1000
"""Seconds for which a peer that lied is kept away, and how many are remembered. Peers choose what
they are called, so who is banned may be somebody whose name a liar used."""

USELESS = 90.0
"""Seconds without content between us and a peer, after which it makes room for another one."""

RELIEF = 10.0
"""Seconds from one peer that makes room to the next, so that no flood of peers drives out all."""


class Company:
    """The connections of one torrent. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._connections: dict[Connection, None] = {}
        self._banned: dict[bytes, float] = {}
        self._relieved = float("-inf")

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._connections))

    def __len__(self) -> int:
        """How many there are that have not been ended."""
        return sum(not each.ended.is_set() for each in self._connections)

    @property
    def joined(self) -> list[Connection]:
        """Those whose handshake is done."""
        return [each for each in self._connections if each.joined]

    @property
    def idle(self) -> int:
        """How many brought nothing for long."""
        since = self._clock() - USELESS
        return sum(each.useful < since for each in self._connections if not each.ended.is_set())

    @property
    def banned(self) -> set[bytes]:
        """What those are known by who lied not long ago."""
        since = self._clock() - BAN
        return {remote for remote, at in self._banned.items() if at > since}

    def add(self, connection: Connection) -> None:
        """One more."""
        self._connections[connection] = None

    def remove(self, connection: Connection) -> None:
        """It is over."""
        self._connections.pop(connection, None)

    def heard(self, remote: bytes, within: float) -> int:
        """Connections to the peer of this tracker id that sent something in ``within`` seconds."""
        since = self._clock() - within
        return sum(each.remote == remote and each.heard >= since for each in self._connections)

    def ban(self, remote: bytes) -> None:
        """Have no other connection to it for a while."""
        self._banned.pop(remote, None)
        self._banned[remote] = self._clock()
        if len(self._banned) > MAX_BANNED:
            del self._banned[next(iter(self._banned))]

    def relieve(self) -> bool:
        """End the connection that has been useless longest, if any has been for long; whether
        there is room for another peer now. Call it when somebody else is to be had."""
        now = self._clock()
        if now - self._relieved < RELIEF:
            return False
        there = [each for each in self._connections if not each.ended.is_set()]
        worst = min(there, key=lambda each: each.useful, default=None)
        if worst is None or now - worst.useful < USELESS:
            return False
        self._relieved = now
        log.debug("a peer makes room: nothing came for %.0f s", now - worst.useful)
        worst.ended.set()
        return True

    def end(self) -> None:
        """End all connections."""
        for each in self._connections:
            each.ended.set()

    def tick(self) -> None:
        """Give up those that say nothing, and let the others hear that we are there."""
        now = self._clock()
        for each in self._connections:
            limit = SILENCE_TIMEOUT if each.joined else HANDSHAKE_TIMEOUT
            if now - each.heard > limit:
                each.ended.set()
            elif each.joined and now - each.spoke > KEEPALIVE:
                each.send(bytes(4))
