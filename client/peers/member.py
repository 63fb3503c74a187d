"""The torrents that we are in the swarms of, and what all ways to meet their peers share."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

from client.peers.addresses import AddressBook
from client.peers.announcing import Turn
from client.peers.links import Link
from client.peers.signalling import Schedule
from client.peers.stats import Progress
from client.peers.throttle import Throttle
from client.peers.torrent import Torrent
from workunits.wire.signalling import ID_SIZE, Event, Offer

MAX_PEERS = 32
MAX_CONNECTIONS = 200
"""Peers of one torrent, and connections of all torrents."""

RESERVED = 50
"""Of these, how many are for downloads: whoever crowds what we seed must not keep us from them."""

RECENT = 60.0
"""Seconds within which a connection must have heard something to count as one."""

Listener = Callable[[Progress], None]


class Spawn(Protocol):
    """Runs ``work(*args)`` until it ends, ``member`` is left, or the swarm closes; then ``then``.

    What it raises is logged, and ends nothing else.
    """

    def __call__(
        self,
        work: Callable[..., Coroutine[Any, Any, None]],
        *args: object,
        member: "Member | None" = None,
        then: Callable[[], object] | None = None,
    ) -> None: ...


@dataclass(slots=True, eq=False)
class Member:
    """A torrent that we are in the swarm of."""

    torrent: Torrent
    schedule: Schedule
    book: AddressBook
    trackers: tuple[str, ...] = ()
    """HTTP announce URLs of others, from a link."""

    links: set[Link] = field(default_factory=set)
    """Connections, whatever carries them."""

    offering: dict[bytes, float] = field(default_factory=dict)
    """Our offers that are being made or wait for an answer, and since when."""

    answering: set[bytes] = field(default_factory=set)
    """Peers whose offers we are taking up."""

    invited: bool = False
    """Whether the peers that its link names were noted."""

    dialing: int = 0
    """TCP connections that are being made."""

    turns: dict[str, Turn] = field(default_factory=dict)
    """When it is announced over HTTP, by tracker."""

    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    result: "asyncio.Future[Path] | None" = None
    listeners: list[Listener] = field(default_factory=list)
    waiters: int = 0

    @property
    def info_hash(self) -> bytes:
        """The 20 bytes that name the swarm on the wire."""
        return self.torrent.target.hash20

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """All info-hashes (20 bytes) under which others may know it."""
        v1, v2 = self.torrent.target.v1, self.torrent.target.v2
        return tuple(name[:ID_SIZE] for name in (v1, v2) if name is not None)

    @property
    def left(self) -> int:
        """Bytes to fetch, as trackers are told; they take who has 0 for a seed."""
        torrent = self.torrent
        return 0 if torrent.seeding else max(1, (torrent.length or 0) - torrent.done)

    @property
    def private(self) -> bool:
        """Whether peers may come from its tracker only (BEP 27)."""
        info = self.torrent.info
        return info is not None and info.private

    def again(self) -> None:
        """Announce at once where a tracker refused it."""
        self.schedule.again()
        for turn in self.turns.values():
            turn.again()

    def met(self, name: bytes) -> bool:
        """Whether a connection runs to a peer that calls itself ``name``."""
        return any(link.name == name for link in self.links)


@dataclass(slots=True, eq=False)
class Roster:
    """Who we are, the swarms that we are in by info-hash, and room for connections."""

    peer_id: bytes
    rng: Random
    clock: Callable[[], float]
    spawn: Spawn
    throttle: Throttle
    members: dict[bytes, Member] = field(default_factory=dict)

    def find(self, info_hash: bytes) -> Member | None:
        """The member that others know by ``info_hash``, 20 bytes (BEP 52: of v2 the first 20)."""
        found = self.members.get(info_hash)
        if found is not None:
            return found
        return next((m for m in self.members.values() if info_hash in m.hashes), None)

    @property
    def open(self) -> int:
        """Connections that there are, or will be, of all torrents."""
        return sum(map(_connections, self.members.values()))

    def room(self, member: Member, total: int | None = None) -> bool:
        """Whether there may be one more connection. ``total`` is ``open``, where it is known."""
        most = MAX_CONNECTIONS - (RESERVED if member.torrent.seeding else 0)
        total = self.open if total is None else total
        return _connections(member) < MAX_PEERS and total < most

    def welcome(self, member: Member) -> bool:
        """Whether there may be one more connection now that somebody is to be had: a peer that has
        been useless for long makes room."""
        return self.room(member) or (member.torrent.company.relieve() and self.room(member))

    async def run(self, member: Member, link: Link) -> bool:
        """Run a connection to its end; whether the peer turned out to be one to stay away from."""
        member.links.add(link)
        try:
            await member.torrent.attach(link, link.key, address=link.address)
        finally:
            member.links.discard(link)
        if not member.torrent.seeding:
            member.schedule.lost(self.clock())
        return link.key in member.torrent.company.banned


def _connections(member: Member) -> int:
    return member.torrent.peers + len(member.offering) + len(member.answering) + member.dialing


@dataclass(slots=True)
class Batch:
    """Offers that are made one by one and go out in one announce."""

    event: Event
    missing: int
    offers: list[Offer] = field(default_factory=list)
