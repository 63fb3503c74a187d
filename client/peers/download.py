"""One blob's download as pure state: events of peers in, commands out.

Two phases. First the info dictionary (BEP 9), whole from one peer at a time so that a wrong one
has one culprit; then the pieces (``picker``). The shell writes, reads back, hashes and sends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from client.peers import extensions, protocol
from client.peers.layout import Block, Layout
from client.peers.picker import Peer, Picker
from workunits.errors import SwarmError
from workunits.ids import BlobRef
from workunits.metainfo import Metainfo, info_size_of, parse_info

METADATA_TIMEOUT = 10.0
"""Seconds that a peer has for the whole info dictionary."""


@dataclass(frozen=True, slots=True)
class AskMetadata:
    """Ask ``peer`` for a part of the info dictionary."""

    peer: Peer
    part: int


@dataclass(frozen=True, slots=True)
class Begin:
    """The info dictionary is known and right: make room for the content."""

    info: Metainfo


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
    """Hash ``piece`` and call ``checked``; with the digests of its blocks where asked for."""

    piece: int


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


Command: TypeAlias = (
    AskMetadata
    | Begin
    | Interest
    | Ask
    | Withdraw
    | Keep
    | Check
    | Unwanted
    | Drop
    | Gained
    | Finished
)


class Download:
    """The state of one blob's download. All times are seconds on one clock."""

    def __init__(self, ref: BlobRef, rng: Random) -> None:
        self._ref = ref
        self._layout = Layout.of(ref.length)
        self._picker = Picker(self._layout, rng)
        self._rng = rng
        self._size = info_size_of(ref.length)
        self._parts: dict[int, bytes] = {}
        self._source: Peer | None = None
        self._deadline = 0.0
        self._sources: list[Peer] = []  # peers that say they have the info dictionary
        self._interest: dict[Peer, bool] = {}
        self.info: Metainfo | None = None

    @property
    def picker(self) -> Picker:
        """Which pieces are there."""
        return self._picker

    def join(self, peer: Peer, now: float, *, window: int | None = None) -> None:
        """A peer's handshake is done. ``window`` bytes may be under way from it."""
        self._picker.join(peer, now, window=window)
        self._interest[peer] = False

    def leave(self, peer: Peer, now: float) -> list[Command]:
        """A peer is gone; others are asked for what it was to send."""
        self._picker.leave(peer)
        self._interest.pop(peer, None)
        if peer in self._sources:
            self._sources.remove(peer)
        commands: list[Command] = []
        if self._source == peer:
            commands += self._next_source(now)
        return commands + self._ask_all(now)

    def handle(self, peer: Peer, event: protocol.Event, now: float, *, fast: bool) -> list[Command]:
        """Take an event of ``peer``; events about what we serve are not for here."""
        picker = self._picker
        commands: list[Command] = []
        match event:
            case protocol.Received(block, data):
                return self._received(peer, block, data, now)
            case extensions.Introduced(metadata, queue):
                picker.limit(peer, queue)
                if metadata and self.info is None and peer not in self._sources:
                    self._sources.append(peer)
                    if self._source is None:
                        return self._next_source(now)
                return []
            case extensions.MetadataReceived(part, data):
                return self._metadata(peer, part, data, now)
            case extensions.MetadataRejected():
                return self._next_source(now) if peer == self._source else []
            case protocol.Has(pieces):
                picker.has(peer, pieces)
                commands += self._interests(peer)
            case protocol.HasAll():
                picker.has_all(peer)
                commands += self._interests(peer)
            case protocol.Choking(on):
                picker.choke(peer, on)
                if on and not fast:
                    picker.choked_out(peer)
                    return self._ask_all(now)
            case protocol.AllowedFast(piece):
                picker.allow(peer, piece)
            case protocol.Rejected(block):
                picker.rejected(peer, block)
                return self._ask_all(now)
            case _:
                return []
        return commands + self._ask(peer, now)

    def checked(self, piece: int, ok: bool, digests: Sequence[bytes], now: float) -> list[Command]:
        """The outcome of ``Check``. ``digests`` (one a block) matter when not ``ok``, or when
        ``needs_digests`` says so."""
        if not ok:
            blamed = self._picker.failed(piece, digests)
            drops: list[Command] = [Drop(p, f"piece {piece} is wrong", ban=True) for p in blamed]
            return drops + self._ask_all(now)
        needed = digests or [b""] * len(self._layout.blocks_of(piece))
        liars = self._picker.verified(piece, needed)
        commands: list[Command] = [Gained(piece)]
        commands += [Drop(p, f"blocks of piece {piece} were wrong", ban=True) for p in liars]
        if self._picker.done:
            return [*commands, Finished()]
        for peer in self._interest:
            commands += self._interests(peer)
        return commands

    def needs_digests(self, piece: int, ok: bool) -> bool:
        """Whether ``checked`` must be given the digests of the blocks."""
        return not ok or self._picker.suspicious(piece)

    def tick(self, now: float) -> list[Command]:
        """Give up on what takes too long. Call about once a second."""
        commands: list[Command] = [
            Drop(peer, "it sends nothing") for peer in self._picker.expire(now)
        ]
        late = self._source is not None and now > self._deadline
        idle = self._source is None and self.info is None
        if late or idle:
            commands += self._next_source(now)
        return commands + self._ask_all(now)

    def know(self, info: Metainfo, now: float) -> list[Command]:
        """The info dictionary is known, checked against the reference."""
        if self.info is not None:
            return []
        self.info = info
        self._source = None
        self._sources.clear()
        self._parts.clear()
        commands: list[Command] = [Begin(info)]
        if self._picker.done:
            return [*commands, Finished()]
        for peer in self._interest:
            commands += self._interests(peer)
        return commands + self._ask_all(now)

    # -- inside -----------------------------------------------------------------------------

    def _received(self, peer: Peer, block: Block, data: bytes, now: float) -> list[Command]:
        if self.info is None:
            return [Unwanted(peer)]
        taken = self._picker.received(peer, block, now)
        if not taken.wanted:
            return [Unwanted(peer), *self._ask(peer, now)]
        commands: list[Command] = [Keep(peer, block, data)]
        commands += [Withdraw(other, block) for other in taken.cancel]
        if taken.complete:
            commands.append(Check(block.piece))
        return commands + self._ask(peer, now)

    def _metadata(self, peer: Peer, part: int, data: bytes, now: float) -> list[Command]:
        if self.info is not None or peer != self._source or part in self._parts:
            return [Unwanted(peer)]
        self._parts[part] = data
        raw = b"".join(self._parts[key] for key in sorted(self._parts))
        if len(raw) < self._size:
            return []
        try:
            info = parse_info(raw, self._ref)
        except SwarmError as error:
            self._sources.remove(peer)
            drop = Drop(peer, f"its info dictionary is wrong: {error.message}", ban=True)
            return [drop, *self._next_source(now)]
        return self.know(info, now)

    def _next_source(self, now: float) -> list[Command]:
        self._parts.clear()
        others = [peer for peer in self._sources if peer != self._source] or self._sources
        self._source = self._rng.choice(others) if others else None
        if self._source is None:
            return []
        self._deadline = now + METADATA_TIMEOUT
        count = -(-self._size // extensions.METADATA_BLOCK)
        return [AskMetadata(self._source, part) for part in range(count)]

    def _interests(self, peer: Peer) -> list[Command]:
        wanted = self._picker.interesting(peer)
        if wanted == self._interest[peer]:
            return []
        self._interest[peer] = wanted
        return [Interest(peer, wanted)]

    def _ask(self, peer: Peer, now: float) -> list[Command]:
        if self.info is None or peer not in self._interest:
            return []
        blocks = self._picker.pick(peer, now)
        return [Ask(peer, tuple(blocks))] if blocks else []

    def _ask_all(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for peer in self._interest:
            commands += self._ask(peer, now)
        return commands
