"""The piece layers of files (BEP 52): which part to ask of whom, as pure state.

They are not in the info dictionary. With them a piece is checked by SHA-256 as soon as it is
there; a torrent that has a v1 half does without until they come.
"""

from dataclasses import dataclass, field

from client.peers.picker import Peer
from workunits.errors import MalformedError
from workunits.hashtree import HashRequest, LayerBuilder, TreeShape
from workunits.torrents import TorrentInfo

PATIENCE = 20.0
"""Seconds after which a part is asked of somebody else."""

DEPTH = 8
"""Requests under way at one peer."""

MAX_USELESS = 64
"""Parts that a peer did not have, after which it is asked for nothing more for a while."""

FORGIVENESS = 60.0
"""Seconds of that while: whoever had only a part of the content has all of it some time."""


@dataclass(frozen=True, slots=True)
class AskHashes:
    """Ask ``peer`` for a part of a file's tree."""

    peer: Peer
    request: HashRequest


@dataclass(slots=True)
class _Source:
    asked: dict[HashRequest, float] = field(default_factory=dict)
    useless: set[HashRequest] = field(default_factory=set)
    """What it refused or did not send in time."""

    forgiven: float = 0.0
    """When that was forgotten."""


class Layers:
    """The piece layers of one torrent. Times are seconds on one clock."""

    def __init__(self, info: TorrentInfo) -> None:
        self._info = info
        self._builders: dict[bytes, LayerBuilder] = {}
        self._missing: dict[HashRequest, None] = {}
        self._sources: dict[Peer, _Source] = {}
        for file in info.files:
            if file.length > info.piece_length and file.root not in self._builders:
                builder = LayerBuilder(TreeShape.of(info, file))
                self._builders[file.root] = builder
                self._missing.update(dict.fromkeys(builder.missing))

    @property
    def needed(self) -> bool:
        """Whether nothing can be checked yet: there is no v1 half."""
        return not self._info.pieces and bool(self._missing)

    def root_of(self, piece: int) -> bytes:
        """What the tree over ``piece`` must come to; empty while that is not known."""
        try:
            file, at = self._info.place_of(piece)
        except IndexError:
            return b""
        builder = self._builders.get(file.root)
        return builder.node(at) if builder is not None else file.root

    def join(self, peer: Peer, now: float) -> list[AskHashes]:
        """A peer takes hash requests."""
        self._sources.setdefault(peer, _Source(forgiven=now))
        return self._ask(now)

    def leave(self, peer: Peer, now: float) -> list[AskHashes]:
        """A peer is gone."""
        self._sources.pop(peer, None)
        return self._ask(now)

    def received(
        self, peer: Peer, request: HashRequest, hashes: bytes, now: float
    ) -> list[AskHashes]:
        """Hashes came. Raises ``RemoteError`` when they do not lead to the root, or nobody asked
        for them."""
        source = self._sources.get(peer)
        if source is None or source.asked.pop(request, None) is None:
            if source is not None and request in source.useless:
                return []  # late
            raise MalformedError("the peer sent hashes that nobody asked it for")
        if self._builders[request.root].add(request, hashes):
            del self._missing[request]
        return self._ask(now)

    def rejected(self, peer: Peer, request: HashRequest, now: float) -> list[AskHashes]:
        """The peer does not have that part."""
        source = self._sources.get(peer)
        if source is not None and source.asked.pop(request, None) is not None:
            source.useless.add(request)
        return self._ask(now)

    def tick(self, now: float) -> list[AskHashes]:
        """Ask others for what takes too long. Call about once a second."""
        for source in self._sources.values():
            if now - source.forgiven > FORGIVENESS:
                source.useless.clear()
                source.forgiven = now
            for request, since in list(source.asked.items()):
                if now - since > PATIENCE:
                    del source.asked[request]
                    source.useless.add(request)
        return self._ask(now)

    # -- inside -----------------------------------------------------------------------------

    def _ask(self, now: float) -> list[AskHashes]:
        if not self._missing:
            return []
        under_way = {request for source in self._sources.values() for request in source.asked}
        commands = []
        for peer, source in self._sources.items():
            if len(source.useless) >= MAX_USELESS:
                continue
            for request in self._missing:
                if len(source.asked) >= DEPTH:
                    break
                if request not in under_way and request not in source.useless:
                    source.asked[request] = now
                    under_way.add(request)
                    commands.append(AskHashes(peer, request))
        return commands
