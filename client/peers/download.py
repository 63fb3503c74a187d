"""One torrent's download as pure state: events of peers in, commands out.

Two phases. First the info dictionary (BEP 9), whole from one peer at a time so that a wrong one
has one culprit; then the pieces (``picker``), and beside them the hash trees of files (``layers``).
The shell writes, reads back, hashes and sends.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from client.peers import events, extensions
from client.peers.layers import AskHashes, Layers
from client.peers.layout import Block, Layout
from client.peers.picker import Peer, Picker
from workunits.errors import SwarmError
from workunits.hashtree import HashRequest
from workunits.torrents import TorrentInfo

METADATA_TIMEOUT = 10.0
"""Seconds that a peer has for the next part of the info dictionary."""

METADATA_START, METADATA_PART = 20.0, 0.1
"""Seconds that a peer has for all of it while others have it too: to begin with, and for each part.
Else one that sends a part now and then could keep everybody waiting."""

METADATA_DEPTH = 64
"""Parts that are asked for at once."""

Parse = Callable[[bytes], TorrentInfo]
"""Checks an info dictionary; raises ``SwarmError`` when it is not the one that is wanted."""


@dataclass(frozen=True, slots=True)
class AskMetadata:
    """Ask ``peer`` for a part of the info dictionary."""

    peer: Peer
    part: int


@dataclass(frozen=True, slots=True)
class Begin:
    """The info dictionary is known and right: make room for the content, then ``begun``."""

    info: TorrentInfo


@dataclass(frozen=True, slots=True)
class Interest:
    """Tell ``peer`` whether it has something for us."""

    peer: Peer
    on: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask ``peer`` for blocks."""

    peer: Peer
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Tell ``peer`` that a block is no longer wanted."""

    peer: Peer
    block: Block


@dataclass(frozen=True, slots=True)
class Keep:
    """Write a block where it belongs."""

    peer: Peer
    block: Block
    data: bytes


@dataclass(frozen=True, slots=True)
class Check:
    """Hash ``piece`` and call ``checked``; with the digests of its blocks where asked for.

    ``root`` is what its SHA-256 tree must come to; while that is not known (empty), its SHA-1
    must fit.
    """

    piece: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Unwanted:
    """``peer`` sent a block that nobody asked it for."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection of ``peer``; ``ban`` when what it sent was wrong."""

    peer: Peer
    reason: str
    ban: bool = False


@dataclass(frozen=True, slots=True)
class Gained:
    """``piece`` is verified: others may have it."""

    piece: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Every piece is verified."""


Ordinary: TypeAlias = AskMetadata | AskHashes | Interest | Ask | Withdraw | Unwanted | Drop
"""Commands that are about one peer and no file."""

Command: TypeAlias = Ordinary | Begin | Keep | Check | Gained | Finished


class Download:
    """The state of one torrent's download. All times are seconds on one clock."""

    def __init__(self, parse: Parse, rng: Random, *, sequential: bool = False) -> None:
        """``sequential`` fetches in order, for content that is used while it comes."""
        self._parse = parse
        self._rng = rng
        self._sequential = sequential
        self._layout: Layout | None = None
        self._picker: Picker | None = None
        self._layers: Layers | None = None
        self._parts: dict[int, bytes] = {}
        self._source: Peer | None = None
        self._deadline = 0.0
        self._limit = 0.0
        self._next = 0
        self._sources: dict[Peer, int] = {}  # peers with the info dictionary, and its size
        self._interest: dict[Peer, bool] = {}
        self._windows: dict[Peer, int | None] = {}
        self._hashers: dict[Peer, None] = {}  # peers that take hash requests
        self.info: TorrentInfo | None = None

    @property
    def picker(self) -> Picker | None:
        """Which pieces are there, once it is known which there are."""
        return self._picker

    def join(
        self, peer: Peer, now: float, *, window: int | None = None, hashes: bool = False
    ) -> None:
        """A peer's handshake is done. ``window`` bytes may be under way from it; ``hashes`` is
        whether it takes hash requests."""
        self._windows[peer] = window
        if self._picker is not None:
            self._picker.join(peer, now, window=window)
        self._interest[peer] = False
        if hashes:
            self._hashers[peer] = None

    def leave(self, peer: Peer, now: float) -> list[Command]:
        """A peer is gone; others are asked for what it was to send."""
        if self._picker is not None:
            self._picker.leave(peer)
        for known in (self._interest, self._windows, self._hashers, self._sources):
            known.pop(peer, None)
        commands: list[Command] = []
        if self._layers is not None:
            commands += self._layers.leave(peer, now)
        if self._source == peer:
            commands += self._next_source(now)
        return commands + self._ask_all(now)

    def handle(self, peer: Peer, event: events.Event, now: float, *, fast: bool) -> list[Command]:
        """Take an event of ``peer``; events about what we serve are not for here."""
        match event:
            case extensions.Introduced():
                return self._introduced(peer, event, now)
            case extensions.MetadataReceived(part, data):
                return self._metadata(peer, part, data, now)
            case extensions.MetadataRejected():
                return self._next_source(now) if peer == self._source else []
            case events.HashesReceived(request, hashes):
                return self._hashes(peer, request, hashes, now)
            case events.HashesRejected(request):
                return [*self._layers.rejected(peer, request, now)] if self._layers else []
            case events.Received(block, data):
                return self._received(peer, block, data, now)
        picker = self._picker
        if picker is None:
            return []
        commands: list[Command] = []
        match event:
            case events.Has(pieces):
                picker.has(peer, pieces)
                commands += self._interests(peer)
            case events.HasAll():
                picker.has_all(peer)
                commands += self._interests(peer)
            case events.Choking(on):
                picker.choke(peer, on)
                if on and not fast and picker.choked_out(peer):
                    return self._ask_all(now)
            case events.AllowedFast(piece):
                picker.allow(peer, piece)
            case events.Rejected(block):
                return self._ask_all(now) if picker.rejected(peer, block) else []
            case _:
                return []
        return commands + self._ask(peer, now)

    def checked(self, piece: int, ok: bool, digests: Sequence[bytes], now: float) -> list[Command]:
        """The outcome of ``Check``. ``digests`` (one a block) matter when not ``ok``, or when
        ``needs_digests`` says so."""
        picker, layout = self._picker, self._layout
        assert picker is not None and layout is not None
        if not ok:
            blamed = picker.failed(piece, digests)
            drops: list[Command] = [Drop(p, f"piece {piece} is wrong", ban=True) for p in blamed]
            return drops + self._ask_all(now)
        needed = digests or [b""] * len(layout.blocks_of(piece))
        liars = picker.verified(piece, needed)
        commands: list[Command] = [Gained(piece)]
        commands += [Drop(p, f"blocks of piece {piece} were wrong", ban=True) for p in liars]
        if picker.done:
            return [*commands, Finished()]
        for peer in self._interest:
            commands += self._interests(peer)
        return commands

    def needs_digests(self, piece: int, ok: bool) -> bool:
        """Whether ``checked`` must be given the digests of the blocks."""
        return not ok or (self._picker is not None and self._picker.suspicious(piece))

    def tick(self, now: float) -> list[Command]:
        """Give up on what takes too long. Call about once a second."""
        useless = self._picker.expire(now) if self._picker is not None else []
        commands: list[Command] = [Drop(peer, "it sends nothing") for peer in useless]
        if self._layers is not None:
            for peer in self._hashers:  # those that speak no extension protocol
                commands += self._layers.join(peer, now)
            commands += self._layers.tick(now)
        slow = now > self._limit and len(self._sources) > 1
        late = self._source is not None and (now > self._deadline or slow)
        idle = self._source is None and self.info is None
        if late or idle:
            commands += self._next_source(now)
        return commands + self._ask_all(now)

    def know(self, info: TorrentInfo) -> list[Command]:
        """The info dictionary is known, and is the right one."""
        if self.info is not None:
            return []
        self.info = info
        self._source = None
        self._sources.clear()
        self._parts.clear()
        return [Begin(info)]

    def begun(self, have: Collection[int], now: float) -> list[Command]:
        """There is room for the content, and ``have`` are pieces that are there already."""
        assert self.info is not None
        self._layout = Layout.of_torrent(self.info)
        self._picker = Picker(self._layout, self._rng, have=have, sequential=self._sequential)
        for peer, window in self._windows.items():
            self._picker.join(peer, now, window=window)
        if self._picker.done:
            return [Finished()]
        if self.info.v2 is not None:
            self._layers = Layers(self.info)
        commands: list[Command] = []
        for peer in self._hashers:
            commands += self._join_layers(peer, now)
        for peer in self._interest:
            commands += self._interests(peer)
        return commands + self._ask_all(now)

    # -- inside -----------------------------------------------------------------------------

    def _introduced(self, peer: Peer, event: extensions.Introduced, now: float) -> list[Command]:
        if self._picker is not None:
            self._picker.limit(peer, event.queue)
        if event.ours:
            self._hashers[peer] = None
        commands = self._offered(peer, event, now)
        return commands + (self._join_layers(peer, now) if peer in self._hashers else [])

    def _offered(self, peer: Peer, event: extensions.Introduced, now: float) -> list[Command]:
        if not event.metadata or self.info is not None or peer in self._sources:
            return []
        self._sources[peer] = event.metadata
        return self._next_source(now) if self._source is None else []

    def _join_layers(self, peer: Peer, now: float) -> list[Command]:
        return list(self._layers.join(peer, now)) if self._layers is not None else []

    def _hashes(self, peer: Peer, request: HashRequest, hashes: bytes, now: float) -> list[Command]:
        if self._layers is None:
            return [Unwanted(peer)]
        try:
            commands: list[Command] = list(self._layers.received(peer, request, hashes, now))
        except SwarmError as error:
            return [Drop(peer, error.message, ban=True)]
        return commands + self._ask_all(now)

    def _received(self, peer: Peer, block: Block, data: bytes, now: float) -> list[Command]:
        if self._picker is None:
            return [Unwanted(peer)]
        taken = self._picker.received(peer, block, now)
        if not taken.wanted:
            return [Unwanted(peer), *self._ask(peer, now)]
        commands: list[Command] = [Keep(peer, block, data)]
        commands += [Withdraw(other, block) for other in taken.cancel]
        if taken.complete:
            root = self._layers.root_of(block.piece) if self._layers is not None else b""
            commands.append(Check(block.piece, root))
        return commands + self._ask(peer, now)

    def _metadata(self, peer: Peer, part: int, data: bytes, now: float) -> list[Command]:
        if self.info is not None or peer != self._source or part in self._parts:
            return [Unwanted(peer)]
        self._parts[part] = data
        self._deadline = now + METADATA_TIMEOUT
        count = _parts_of(self._sources[peer])
        if len(self._parts) < count:
            part, self._next = self._next, min(count, self._next + 1)
            return [AskMetadata(peer, part)] if part < count else []
        try:
            info = self._parse(b"".join(self._parts[key] for key in sorted(self._parts)))
        except SwarmError as error:
            del self._sources[peer]
            drop = Drop(peer, f"its info dictionary is wrong: {error.message}", ban=True)
            return [drop, *self._next_source(now)]
        return self.know(info)

    def _next_source(self, now: float) -> list[Command]:
        self._parts.clear()
        others = [peer for peer in self._sources if peer != self._source] or [*self._sources]
        self._source = self._rng.choice(others) if others else None
        if self._source is None:
            return []
        self._deadline = now + METADATA_TIMEOUT
        count = _parts_of(self._sources[self._source])
        self._limit = now + METADATA_START + count * METADATA_PART
        self._next = min(count, METADATA_DEPTH)
        return [AskMetadata(self._source, part) for part in range(self._next)]

    def _interests(self, peer: Peer) -> list[Command]:
        if self._picker is None:
            return []
        wanted = self._picker.interesting(peer)
        if wanted == self._interest[peer]:
            return []
        self._interest[peer] = wanted
        return [Interest(peer, wanted)]

    def _ask(self, peer: Peer, now: float) -> list[Command]:
        if self._picker is None or peer not in self._interest:
            return []
        if self._layers is not None and self._layers.needed:
            return []  # without them nothing could be checked
        blocks = self._picker.pick(peer, now)
        return [Ask(peer, tuple(blocks))] if blocks else []

    def _ask_all(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for peer in self._interest:
            commands += self._ask(peer, now)
        return commands


def _parts_of(size: int) -> int:
    return -(-size // extensions.METADATA_BLOCK)
