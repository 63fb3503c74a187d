"""A blob that we are in the swarm of, and the offers that go out for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client.peers.signalling import Schedule
from client.peers.stats import Progress
from client.peers.torrent import Torrent
from workunits.wire.signalling import Event, Offer

Listener = Callable[[Progress], None]


@dataclass(slots=True, eq=False)
class Member:
    """A blob that we are in the swarm of."""

    torrent: Torrent
    schedule: Schedule
    offering: dict[bytes, float] = field(default_factory=dict)
    """Our offers that are being made or wait for an answer, and since when."""

    answering: set[bytes] = field(default_factory=set)
    """Peers whose offers we are taking up."""

    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    result: "asyncio.Future[Path] | None" = None
    listeners: list[Listener] = field(default_factory=list)
    waiters: int = 0


@dataclass(slots=True)
class Batch:
    """Offers that are made one by one and go out in one announce."""

    event: Event
    missing: int
    offers: list[Offer] = field(default_factory=list)
