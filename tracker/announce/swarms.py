"""Who is in which swarm: pure state, fed by every announce, whatever carried it.

A swarm has two pools. HTTP (and later UDP) peers are reached at an address, WebTorrent peers
through the socket that they announced on; they cannot be handed to each other, but they count
together. ``now`` is seconds on any clock that never goes back.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Generic, TypeVar

from workunits.errors import RefusedError
from workunits.wire.signalling import Event

Key = TypeVar("Key", bound=Hashable)


class Carrier(Enum):
    """How a peer is reached; the two pools of a swarm."""

    ADDRESS = 0
    SOCKET = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the state, and how long a peer lives without announcing (seconds)."""

    peers: int = 200_000
    swarms: int = 100_000
    peers_per_swarm: int = 20_000
    address_ttl: float = 45 * 60.0
    socket_ttl: float = 5 * 60.0


class Peer(Generic[Key]):
    """One member of one swarm.

    ``key`` owns it: the packed address and port that the announce came from, or the socket and
    the peer id. ``peer_id`` alone owns nothing, because peer ids are public.
    """

    __slots__ = ("key", "peer_id", "position", "seeding", "seen")

    def __init__(self, key: Key, peer_id: bytes, seeding: bool, seen: float) -> None:
        self.key = key
        self.peer_id = peer_id
        self.seeding = seeding
        self.seen = seen
        self.position = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Seeders, leechers, and completed downloads since the swarm was first seen."""

    complete: int
    incomplete: int
    downloaded: int


@dataclass(frozen=True, slots=True)
class Announced(Generic[Key]):
    """What an announce came to. ``stored`` is false when the tracker has no room for the peer."""

    counts: Counts
    peers: list[Peer[Key]]
    stored: bool


class _Pool(Generic[Key]):
    """Peers by key, oldest announce first, and in two lists for drawing at random."""

    __slots__ = ("by_key", "leechers", "seeders")

    def __init__(self) -> None:
        self.by_key: dict[Key, Peer[Key]] = {}
        self.seeders: list[Peer[Key]] = []
        self.leechers: list[Peer[Key]] = []

    def add(self, peer: Peer[Key]) -> None:
        self.by_key[peer.key] = peer
        self._enlist(peer)

    def refresh(self, peer: Peer[Key], peer_id: bytes, seeding: bool, now: float) -> None:
        del self.by_key[peer.key]
        self.by_key[peer.key] = peer
        peer.peer_id = peer_id
        peer.seen = now
        if peer.seeding != seeding:
            self._delist(peer)
            peer.seeding = seeding
            self._enlist(peer)

    def remove(self, key: Key) -> bool:
        peer = self.by_key.pop(key, None)
        if peer is None:
            return False
        self._delist(peer)
        return True

    def expire(self, before: float) -> int:
        stale = []
        for key, peer in self.by_key.items():
            if peer.seen > before:
                break
            stale.append(key)
        for key in stale:
            self.remove(key)
        return len(stale)

    def draw(self, count: int, peer_id: bytes, seeding: bool, rng: Random) -> list[Peer[Key]]:
        """Up to ``count`` others; a seeder has no use for seeders."""
        if count <= 0:
            return []
        first = self.leechers
        second: list[Peer[Key]] = [] if seeding else self.seeders
        split, total = len(first), len(first) + len(second)
        # One more than asked for, because the asker may be among those drawn.
        if total <= count + 1:
            drawn = first + second
            rng.shuffle(drawn)
        else:
            drawn = [
                first[at] if at < split else second[at - split]
                for at in rng.sample(range(total), count + 1)
            ]
        return [peer for peer in drawn if peer.peer_id != peer_id][:count]

    def _enlist(self, peer: Peer[Key]) -> None:
        members = self.seeders if peer.seeding else self.leechers
        peer.position = len(members)
        members.append(peer)

    def _delist(self, peer: Peer[Key]) -> None:
        members = self.seeders if peer.seeding else self.leechers
        last = members.pop()
        if last is not peer:
            members[peer.position] = last
            last.position = peer.position


class _Swarm:
    __slots__ = ("completed", "pools")

    def __init__(self) -> None:
        self.pools: tuple[_Pool[Hashable], _Pool[Hashable]] = (_Pool(), _Pool())
        self.completed = 0

    def counts(self) -> Counts:
        addressed, connected = self.pools
        return Counts(
            len(addressed.seeders) + len(connected.seeders),
            len(addressed.leechers) + len(connected.leechers),
            self.completed,
        )

    def empty(self) -> bool:
        return not any(pool.by_key for pool in self.pools)


_NOBODY = Counts(0, 0, 0)


def track_everything(_: bytes) -> bool:
    """The predicate of an open tracker."""
    return True


class Swarms:
    """All swarms of one tracker.

    ``tracked`` decides for every announce whether its info-hash is welcome here.
    """

    def __init__(
        self, *, tracked: Callable[[bytes], bool], rng: Random, limits: Limits | None = None
    ) -> None:
        self._tracked = tracked
        self._rng = rng
        self._limits = limits or Limits()
        self._swarms: dict[bytes, _Swarm] = {}
        self._peers = 0

    @property
    def peer_count(self) -> int:
        """Peers in all swarms together."""
        return self._peers

    @property
    def swarm_count(self) -> int:
        """Swarms that are remembered, some of them empty."""
        return len(self._swarms)

    def announce(
        self,
        carrier: Carrier,
        info_hash: bytes,
        key: Key,
        peer_id: bytes,
        *,
        left: int | None,
        event: Event,
        numwant: int,
        now: float,
    ) -> Announced[Key]:
        """Enter, refresh or remove the peer ``key`` and draw up to ``numwant`` others of its kind.

        Raises ``RefusedError`` if this tracker does not track ``info_hash``.
        """
        if not self._tracked(info_hash):
            raise RefusedError(
                "this tracker does not track that info-hash",
                hint="submit a job that uses the torrent, or register it with the tracker",
            )
        swarm = self._swarms.get(info_hash)
        if event is Event.STOPPED:
            self.remove(carrier, info_hash, key)
            return Announced(swarm.counts() if swarm else _NOBODY, [], True)
        # Not every client that says completed also says how much is left.
        seeding = left == 0 or event is Event.COMPLETED
        if swarm is None:
            if len(self._swarms) >= self._limits.swarms or self._peers >= self._limits.peers:
                return Announced(_NOBODY, [], False)
            swarm = self._swarms[info_hash] = _Swarm()
        pool = swarm.pools[carrier.value]
        peer = pool.by_key.get(key)
        if event is Event.COMPLETED and (peer is None or not peer.seeding):
            swarm.completed += 1
        stored = True
        if peer is not None:
            pool.refresh(peer, peer_id, seeding, now)
        elif stored := self._make_room(pool):
            pool.add(Peer(key, peer_id, seeding, now))
            self._peers += 1
        peers = pool.draw(numwant, peer_id, seeding, self._rng)
        return Announced(swarm.counts(), peers, stored)  # type: ignore[arg-type]

    def remove(self, carrier: Carrier, info_hash: bytes, key: Hashable) -> None:
        """Forget a peer; nothing happens if it is not there."""
        swarm = self._swarms.get(info_hash)
        if swarm is not None and swarm.pools[carrier.value].remove(key):
            self._peers -= 1
            if not swarm.completed and swarm.empty():
                del self._swarms[info_hash]

    def counts(self, info_hash: bytes) -> Counts | None:
        """What a scrape says of a swarm; ``None`` if it is not tracked."""
        if not self._tracked(info_hash):
            return None
        swarm = self._swarms.get(info_hash)
        return swarm.counts() if swarm else _NOBODY

    def members(self, info_hash: bytes) -> Iterator[Peer[Hashable]]:
        """Everyone in a swarm, for pages and tests."""
        swarm = self._swarms.get(info_hash)
        for pool in swarm.pools if swarm else ():
            yield from pool.by_key.values()

    def prune(self, now: float) -> int:
        """Forget peers that have not announced within their time; returns how many.

        Costs one step per swarm and one per forgotten peer.
        """
        lapse = (now - self._limits.address_ttl, now - self._limits.socket_ttl)
        crowded = 2 * len(self._swarms) > self._limits.swarms
        gone = 0
        for info_hash, swarm in list(self._swarms.items()):
            for pool, before in zip(swarm.pools, lapse, strict=True):
                gone += pool.expire(before)
            # The count of completed downloads is worth keeping while there is room for it.
            if swarm.empty() and (crowded or not swarm.completed or not self._tracked(info_hash)):
                del self._swarms[info_hash]
        self._peers -= gone
        return gone

    def _make_room(self, pool: _Pool[Hashable]) -> bool:
        if len(pool.by_key) >= self._limits.peers_per_swarm:
            pool.remove(self._rng.choice(pool.leechers or pool.seeders).key)
            self._peers -= 1
            return True
        return self._peers < self._limits.peers
