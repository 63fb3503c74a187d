"""A torrent in libtorrent's session, and what became of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from client.folders import FolderShelf
from client.peers.stats import Progress, Traffic
from client.peers.storage import Storage
from workunits.errors import SwarmError, UnavailableError
from workunits.ids import BlobRef
from workunits.metainfo import Metainfo
from workunits.torrents import TorrentInfo

Listener = Callable[[Progress], None]


@dataclass(slots=True, eq=False)
class NativeMember:
    """One torrent of a ``NativeSwarm``. A blob has a ``ref``, what is in a folder a ``shelf``."""

    name: bytes
    """Its info-hash on the wire: 20 bytes."""

    handle: Any
    status: Any
    """libtorrent's counters when we last asked."""

    progressed: float
    """When content last came."""

    ref: BlobRef | None = None
    shelf: FolderShelf | None = None
    seeding: bool = False
    blob: Metainfo | None = None
    info: TorrentInfo | None = None
    storage: Storage | None = None
    """Where it is kept what came, until all of it is there. libtorrent writes past it."""

    result: "asyncio.Future[Any] | None" = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when libtorrent has everything, or ``failure`` says why that will never be."""

    failure: SwarmError | None = None
    listeners: list[Listener] = field(default_factory=list)
    waiters: int = 0
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    answers: dict[str, "asyncio.Future[Any]"] = field(default_factory=dict)
    """What was asked of libtorrent and is answered by an alert."""

    fresh: set[int] = field(default_factory=set)
    """Pieces that came since the disk was last told to keep them."""

    flushing: set[int] = field(default_factory=set)
    sure: set[int] = field(default_factory=set)
    """Pieces that the disk was told to keep."""

    params: Callable[[frozenset[int]], Any] | None = None
    """What libtorrent is told of it, given the pieces that are there; None before we know them."""

    renewals: int = 0
    """How often libtorrent gave it up, and was given it again."""

    renewing: bool = False
    """Whether that is about to happen."""

    past: Traffic = field(default_factory=Traffic)
    """With peers, before it was given again."""

    from_webseed: int = 0
    kept: int = 0
    """Bytes that were here before, less ``from_webseed`` of then."""

    received: int = 0
    others: int | None = None
    """Other peers that the tracker knows; None before it said so."""

    peer_id: bytes = b""
    """What libtorrent calls itself here; empty before it has announced."""

    announced: float = 0.0
    """When it last announced over the WebSocket."""

    told: bool = False
    """Whether the tracker has heard of it since we are connected."""

    answered: int = 0
    """Offers of others since it did."""

    queries: dict[str, str] = field(default_factory=dict)
    """What it last announced over HTTP, by the port that it is reached at."""

    refused: bool = False
    """Whether the tracker did not want it when it was last announced."""

    @property
    def alone(self) -> bool:
        """Whether the tracker said that nobody else is there."""
        return self.others == 0

    @property
    def about(self) -> Metainfo | TorrentInfo | None:
        """Its metainfo, once that is known."""
        return self.blob or self.info

    @property
    def have(self) -> frozenset[int]:
        """Pieces that are there for good."""
        return self.storage.verified | self.sure if self.storage is not None else frozenset()

    @property
    def total(self) -> int:
        """Bytes in all; 0 while nobody has said so."""
        return self.ref.length if self.ref is not None else int(self.status.total_wanted)

    @property
    def done(self) -> int:
        """Bytes that are verified."""
        if self.seeding:
            return self.total
        return min(self.total, int(self.status.total_wanted_done))

    @property
    def peers(self) -> int:
        """Open connections."""
        return int(self.status.num_peers)

    @property
    def from_peers(self) -> int:
        """Bytes of content that peers sent and that were of use."""
        # In the endgame libtorrent counts as redundant what it has not counted as received.
        useful = int(self.status.total_done) - self.kept - self.from_webseed
        return self.past.peers + max(0, min(int(self.status.total_payload_download), useful))

    @property
    def sent(self) -> int:
        """Bytes of content that peers were given."""
        return self.past.sent + int(self.status.total_payload_upload)

    def fail(self, error: SwarmError) -> None:
        """Give up the download."""
        if self.failure is None:
            self.failure = error
        self.ended.set()
        for what in list(self.answers):
            self.answer(what, error)

    def renew(self, admit: Callable[[Any], Any]) -> None:
        """Give it to libtorrent again, with the pieces that are there for good.

        ``admit`` takes parameters and gives a handle; the one before must have been removed.
        """
        assert self.params is not None and self.about is not None
        have = self.have
        self.past.peers, self.past.sent = self.from_peers, self.sent
        self.kept = sum(map(self.about.size_of, have)) - self.from_webseed
        self.handle = admit(self.params(have))
        self.status = self.handle.status(0)
        again = UnavailableError("libtorrent began again", hint="Ask for it again.")
        for what in list(self.answers):
            self.answer(what, again)

    def report(self) -> None:
        """Tell those who wait how far it is."""
        progress = Progress(self.done, self.total, self.peers)
        for listener in self.listeners:
            listener(progress)

    def ask(self, what: str) -> "asyncio.Future[Any]":
        """Wait for the alert called ``what``; askers of the same thing share it."""
        waiting = self.answers.get(what)
        if waiting is None or waiting.done():
            waiting = self.answers[what] = asyncio.get_running_loop().create_future()
        return waiting

    def answer(self, what: str, value: Any) -> None:
        """``value`` is what was asked for; an error is raised where it is waited for."""
        waiting = self.answers.pop(what, None)
        if waiting is not None and not waiting.done():
            if isinstance(value, SwarmError):
                waiting.set_exception(value)
                waiting.exception()  # the asker may be gone
            else:
                waiting.set_result(value)

    def close(self) -> None:
        """Let go of everything; who still waits is told."""
        stopped = UnavailableError("the download was stopped", hint="Fetch the blob again.")
        for what in list(self.answers):
            self.answer(what, stopped)
        if self.result is not None and not self.result.done():
            self.result.set_exception(self.failure or stopped)
            self.result.exception()  # the callers may all be gone
        if self.storage is not None:
            self.storage.close()
            self.storage = None
