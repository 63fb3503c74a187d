"""Which block to ask of whom: rarest piece first, several peers at once, blame for bad pieces.

Pure: time and randomness are arguments. A peer here is any hashable name.

A piece is fetched block by block from whoever is free. When its hash is wrong and one peer sent
all of it, that peer is to blame. When several did, nobody can tell yet: the digests of the bad
blocks are kept, the whole piece is fetched again from a single peer, and once the right bytes are
known, every block that differs names its sender.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from client.peers.layout import BLOCK_SIZE, Block, Layout
from client.peers.supply import MAX_DEPTH, MIN_DEPTH, Supply

REQUEST_TIMEOUT = 30.0
"""Seconds after which a block is asked of somebody else, while the peer still sends others."""

STALL_TIMEOUT = 8.0
"""Seconds without any block, after which a peer's requests are asked of others."""

DROP_TIMEOUT = 40.0
"""Seconds without any block that was asked for, after which a peer is of no use."""

SOLE_TIMEOUT = 60.0
"""Seconds that a single source may take for a piece, while somebody else has it too."""

PAUSE = 1.0
"""Seconds without requests, after which a peer's rate is measured anew."""

DUPLICATES = 3
"""In the endgame, how many peers may be asked for one block."""

WINDOW = 16
"""Pieces after the first missing one that are fetched in order, where order matters."""

MAX_REFUSED = 256
"""Pieces that a peer may have refused, after which it is asked for nothing more."""

RANKED = 256
"""Pieces that are ranked anew for every pick, on average."""

Peer = Hashable


@dataclass(slots=True)
class Partial:
    """A piece under way."""

    missing: set[Block]
    """Blocks that have not come."""

    fresh: list[Block]
    """Blocks that nobody is asked for; the next one is last."""

    senders: dict[Block, Peer] = field(default_factory=dict)
    sole: Peer | None = None
    alone: bool = False
    """Whether all of it must come from one peer (``sole``, once there is one)."""

    since: float = 0.0
    """When ``sole`` was first asked."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a block that came."""

    wanted: bool
    """Whether its bytes are to be kept."""

    complete: bool = False
    """Whether its piece is now ready to be hashed."""

    cancel: tuple[Peer, ...] = ()
    """Who else was asked for it."""


class Picker:
    """The state of one download."""

    def __init__(
        self,
        layout: Layout,
        rng: Random,
        *,
        have: Iterable[int] = (),
        sequential: bool = False,
    ) -> None:
        """``have`` are pieces that are there already.

        ``sequential`` fetches the first missing pieces in order, for content that is used while
        it comes; what is beyond them still comes rarest first.
        """
        self._layout = layout
        self._rng = rng
        self._sequential = sequential
        self._missing = set(range(layout.count)).difference(have)
        self._peers: dict[Peer, Supply] = {}
        self._rarity = [0] * layout.count
        self._ranking: list[int] = []  # pieces that were missing when it was made, rarest first
        self._rank = [0] * layout.count
        self._head = 0  # all before it in the ranking has been begun
        self._first = 0  # nothing before it is missing
        self._stale = True
        self._walks = 0
        self._partial: dict[int, Partial] = {}
        self._suspects: dict[int, list[tuple[Block, bytes, Peer]]] = {}

    # -- peers ------------------------------------------------------------------------------

    def join(self, peer: Peer, now: float, *, window: int | None = None) -> None:
        """A peer is there; it has nothing yet and chokes us.

        ``window`` is how many bytes may be under way from it, ``None`` for no limit.
        """
        depth = MAX_DEPTH if window is None else max(1, window // BLOCK_SIZE)
        self._peers[peer] = Supply(heard=now, since=now, window=depth)

    def leave(self, peer: Peer) -> None:
        """A peer is gone. What it was asked for is asked of others."""
        supply = self._peers.pop(peer, None)
        if supply is None:
            return
        self._give_up(supply, list(supply.asked))
        for piece in supply.pieces:
            self._rarity[piece] -= 1
        self._stale |= bool(supply.pieces)
        self._restart_from(peer)

    def has(self, peer: Peer, pieces: Iterable[int]) -> None:
        """A peer has these pieces."""
        supply = self._peers[peer]
        for piece in pieces:
            if piece not in supply.pieces:
                supply.pieces.add(piece)
                supply.wanted += piece in self._missing
                self._rarity[piece] += 1
                self._stale = True

    def has_all(self, peer: Peer) -> None:
        """A peer has every piece. It changes no order, so it is not counted."""
        self._peers[peer].every = True

    def choke(self, peer: Peer, on: bool) -> None:
        """A peer starts or stops to serve us. With the fast extension it rejects what it drops."""
        supply = self._peers[peer]
        supply.choked = on
        supply.refused.clear()

    def allow(self, peer: Peer, piece: int) -> None:
        """A peer serves ``piece`` even while it chokes us."""
        supply = self._peers[peer]
        if len(supply.fast) < 64:
            supply.fast.add(piece)

    def limit(self, peer: Peer, depth: int) -> None:
        """A peer queues at most ``depth`` requests."""
        self._peers[peer].limit = max(1, min(MAX_DEPTH, depth))

    # -- state ------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether every piece was verified."""
        return not self._missing

    @property
    def missing(self) -> int:
        """Pieces that are not verified yet."""
        return len(self._missing)

    def has_piece(self, piece: int) -> bool:
        """Whether ``piece`` was verified."""
        return piece not in self._missing

    def interesting(self, peer: Peer) -> bool:
        """Whether a peer has something that we lack."""
        return self._wanted(self._peers[peer]) > 0

    def rate(self, peer: Peer) -> float:
        """Bytes per second that a peer delivers."""
        return self._peers[peer].rate

    # -- picking ----------------------------------------------------------------------------

    def pick(self, peer: Peer, now: float) -> list[Block]:
        """The blocks to ask of ``peer`` now; they count as asked."""
        supply = self._peers[peer]
        room = supply.depth() - len(supply.asked)
        # Refilling a deep queue block by block would walk the pieces for each of them.
        if room <= 0 or (room < supply.depth() // 4 and supply.asked):
            return []
        if not self._wanted(supply) or len(supply.refused) >= MAX_REFUSED:
            return []
        if supply.choked and not supply.fast:
            return []
        chosen: list[Block] = []
        for piece in self._order(peer, supply):
            self._take_from(piece, peer, room, chosen, now)
            if len(chosen) >= room:
                break
        else:
            if not chosen:
                chosen = self._endgame(supply, room)
        if chosen and not supply.asked and not supply.stalled:
            if now - supply.heard > PAUSE:
                supply.since, supply.taken = now, 0
            supply.heard = now
        for block in chosen:
            supply.asked[block] = now
        return chosen

    def received(self, peer: Peer, block: Block, now: float) -> Taken:
        """A block came from ``peer``."""
        supply = self._peers[peer]
        if block in supply.asked:
            del supply.asked[block]
        elif block in supply.late:
            supply.late.discard(block)
        else:
            return Taken(wanted=False)
        self._measure(supply, block.length, now)
        partial = self._partial.get(block.piece)
        if partial is None or block not in partial.missing:
            return Taken(wanted=False)
        if partial.alone and partial.sole != peer:
            return Taken(wanted=False)
        partial.missing.discard(block)
        if partial.fresh and block in partial.fresh:
            partial.fresh.remove(block)
        partial.senders[block] = peer
        others = []
        for other, theirs in self._peers.items():
            if theirs.asked.pop(block, None) is not None:
                theirs.late.add(block)
                others.append(other)
        return Taken(True, not partial.missing, tuple(others))

    def rejected(self, peer: Peer, block: Block) -> bool:
        """A peer will not send a block; whether it was asked for it."""
        supply = self._peers[peer]
        if block not in supply.asked:
            return False
        self._give_up(supply, [block])
        supply.late.discard(block)
        supply.refused.add(block.piece)
        partial = self._partial.get(block.piece)
        if partial is not None and partial.sole == peer:
            self._restart(partial)
        return True

    def choked_out(self, peer: Peer) -> bool:
        """A peer without the fast extension choked us: what it was asked for is lost (BEP 3);
        whether there was such."""
        supply = self._peers[peer]
        lost = bool(supply.asked)
        self._give_up(supply, list(supply.asked))
        self._restart_from(peer)
        return lost

    def expire(self, now: float) -> list[Peer]:
        """Give up on what takes too long; returns the peers that are of no use."""
        useless = []
        for peer, supply in self._peers.items():
            silent = now - supply.heard
            if not supply.asked:
                if silent > DROP_TIMEOUT and self._refuses(supply):
                    useless.append(peer)
                continue
            if silent > DROP_TIMEOUT:
                useless.append(peer)
            if silent > STALL_TIMEOUT:
                supply.stalled = True
                supply.rate = 0.0
                # One request stays, so that a peer that wakes up is noticed, and one that does
                # not is dropped.
                kept, *overdue = supply.asked
                self._offer_again(kept)
            else:
                overdue = [b for b, at in supply.asked.items() if now - at > REQUEST_TIMEOUT]
            self._give_up(supply, overdue)
            if supply.stalled:
                self._restart_from(peer)
        for piece, partial in self._partial.items():
            slow = partial.sole is not None and now - partial.since > SOLE_TIMEOUT
            if slow and any(p != partial.sole and s.has(piece) for p, s in self._peers.items()):
                self._peers[partial.sole].stalled = True
                self._restart(partial)
        return useless

    # -- verifying --------------------------------------------------------------------------

    def verified(self, piece: int, digests: Sequence[bytes]) -> tuple[Peer, ...]:
        """``piece`` is right. ``digests`` of its blocks name those who sent wrong ones before."""
        self._partial.pop(piece, None)
        if piece in self._missing:
            self._missing.discard(piece)
            for supply in self._peers.values():
                supply.wanted -= piece in supply.pieces
        right = dict(zip(self._layout.blocks_of(piece), digests, strict=True))
        suspects = self._suspects.pop(piece, [])
        return tuple({peer for block, digest, peer in suspects if right[block] != digest})

    def suspicious(self, piece: int) -> bool:
        """Whether ``verified`` needs the digests of ``piece``."""
        return piece in self._suspects

    def failed(self, piece: int, digests: Sequence[bytes]) -> tuple[Peer, ...]:
        """``piece`` is wrong; returns who is certainly to blame."""
        partial = self._partial.pop(piece)
        blocks = self._layout.blocks_of(piece)
        senders = {partial.senders[block] for block in blocks}
        fresh = Partial(set(blocks), blocks[::-1])
        if len(senders) > 1:
            fresh.alone = True
            entries = zip(blocks, digests, strict=True)
            known = self._suspects.setdefault(piece, [])
            known += [(block, digest, partial.senders[block]) for block, digest in entries]
            del known[: -4 * len(blocks)]
        else:
            fresh.alone = partial.alone
        self._partial[piece] = fresh
        for supply in self._peers.values():
            for block in blocks:
                supply.late.discard(block)
        return tuple(senders) if len(senders) == 1 else ()

    # -- inside -----------------------------------------------------------------------------

    def _order(self, peer: Peer, supply: Supply) -> Iterable[int]:
        """Pieces to fetch from ``peer``: those under way first, then the rarest."""
        can = self._can
        begun = [p for p, part in self._partial.items() if part.fresh and can(supply, p)]
        near = range(0)
        if self._sequential:
            while self._first < self._layout.count and self._first not in self._missing:
                self._first += 1
            near = range(self._first, min(self._layout.count, self._first + WINDOW))
            first = (p for p in near if p in begun or p not in self._partial)
            yield from (p for p in first if can(supply, p))
        yield from (p for p in begun if p not in near)
        new = (p for p in self._ranked(supply) if p not in self._partial and p not in near)
        yield from (p for p in new if can(supply, p))

    def _ranked(self, supply: Supply) -> Iterable[int]:
        """Missing pieces of which it may have some, the rarest first, in no order among equals."""
        ranking = self._ranking
        self._walks += 1
        # Making it takes as long as many picks; while it is a little old, it does no harm.
        if self._stale and self._walks * RANKED >= len(ranking):
            ranking = self._ranking = list(self._missing)
            self._rng.shuffle(ranking)
            ranking.sort(key=self._rarity.__getitem__)
            for place, piece in enumerate(ranking):
                self._rank[piece] = place
            self._head = self._walks = 0
            self._stale = False
        while self._head < len(ranking) and self._begun(ranking[self._head]):
            self._head += 1
        few = supply.fast if supply.choked else supply.pieces
        if supply.choked or (not supply.every and 8 * supply.wanted < len(ranking)):
            return sorted(few & self._missing, key=self._rank.__getitem__)
        return islice(ranking, self._head, None)

    def _begun(self, piece: int) -> bool:
        return piece in self._partial or piece not in self._missing

    def _wanted(self, supply: Supply) -> int:
        """How many missing pieces a peer has."""
        return len(self._missing) if supply.every else supply.wanted

    def _can(self, supply: Supply, piece: int) -> bool:
        """Whether a peer would serve a missing piece."""
        if piece not in self._missing or piece in supply.refused or not supply.has(piece):
            return False
        return not supply.choked or piece in supply.fast

    def _refuses(self, supply: Supply) -> bool:
        """Whether a peer has rejected requests for all that it says it has for us."""
        refused, wanted = len(supply.refused & self._missing), self._wanted(supply)
        return not supply.choked and 0 < min(wanted, MAX_REFUSED) <= refused

    def _take_from(
        self, piece: int, peer: Peer, room: int, chosen: list[Block], now: float
    ) -> None:
        partial = self._partial.get(piece)
        if partial is None:
            blocks = self._layout.blocks_of(piece)
            partial = self._partial[piece] = Partial(set(blocks), blocks[::-1])
        if partial.alone:
            if partial.sole is None:
                partial.sole = peer
                partial.since = now
            elif partial.sole != peer:
                return
        while partial.fresh and len(chosen) < room:
            chosen.append(partial.fresh.pop())

    def _endgame(self, supply: Supply, room: int) -> list[Block]:
        """Nothing is left to ask for the first time: ask for what others are slow with."""
        if supply.stalled or any(part.fresh and not part.alone for part in self._partial.values()):
            return []
        counts: dict[Block, int] = {}
        for other in self._peers.values():
            for block in other.asked:
                counts[block] = counts.get(block, 0) + 1
        waiting = [
            block
            for piece, part in self._partial.items()
            if not part.alone and self._can(supply, piece)
            for block in part.missing
            if block not in supply.asked and counts.get(block, 0) < DUPLICATES
        ]
        self._rng.shuffle(waiting)
        # Few at a time: each of them may come twice.
        return waiting[: min(room, MIN_DEPTH)]

    def _give_up(self, supply: Supply, blocks: list[Block]) -> None:
        for block in blocks:
            del supply.asked[block]
            supply.late.add(block)
            self._offer_again(block)

    def _offer_again(self, block: Block) -> None:
        partial = self._partial.get(block.piece)
        if partial is None or block not in partial.missing or block in partial.fresh:
            return
        if not any(block in s.asked and not s.stalled for s in self._peers.values()):
            partial.fresh.append(block)

    def _restart_from(self, peer: Peer) -> None:
        for partial in self._partial.values():
            if partial.sole == peer:
                self._restart(partial)

    def _restart(self, partial: Partial) -> None:
        """The single source of a piece is gone or slow: all of it comes from another one."""
        blocks = [*partial.missing, *partial.senders]
        sole = self._peers.get(partial.sole) if partial.sole is not None else None
        if sole is not None:
            for block in blocks:
                sole.asked.pop(block, None)
                sole.late.discard(block)
        partial.missing = set(blocks)
        partial.fresh = sorted(blocks, reverse=True)
        partial.senders.clear()
        partial.sole = None

    def _measure(self, supply: Supply, size: int, now: float) -> None:
        supply.heard = now
        supply.stalled = False
        supply.taken += size
        passed = now - supply.since
        if passed >= 0.25:
            sample = supply.taken / passed
            supply.rate = sample if not supply.rate else 0.7 * supply.rate + 0.3 * sample
            supply.since, supply.taken = now, 0
