"""Who is in which swarm: pure state, fed by every announce, whatever carried it.

A swarm has three pools. HTTP and UDP peers are reached at an address, IPv4 or IPv6; WebTorrent
peers through the socket that they announced on. Sockets and addresses cannot be handed to each
other, but all count together. ``now`` is seconds on any clock that never goes back.

Everything is bounded: peers and swarms in all, peers of a swarm, peers and announces of a network.
When there is no room the largest network loses a peer, so who floods a tracker from a few networks
pushes out its own.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Generic, NamedTuple, TypeVar

from tracker.announce.networks import NOWHERE, is_local, network_of
from tracker.announce.pace import Pace
from tracker.announce.pools import NO_ROW, Kind
from tracker.announce.roster import Counts, Roster, Swarm, key_of, kind_of
from workunits.errors import RefusedError
from workunits.wire.signalling import Event

__all__ = ["Announced", "Carrier", "Counts", "Limits", "Packed", "Peer", "Swarms", "Tally"]

Key = TypeVar("Key", bound=Hashable)
PORT_SIZE = 2
EARLY_COST = 10
"""What an announce costs that comes before its time, in announces."""

PRUNE_MOST = 2_000
SWEEP_EVERY = 15.0
_ROOM_TRIES = 4


class Carrier(Enum):
    """How a peer is reached."""

    ADDRESS = 0
    SOCKET = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the state, and how long a peer lives without announcing (seconds)."""

    peers: int = 200_000
    swarms: int = 100_000
    peers_per_swarm: int = 20_000
    network_peers: int = 5_000
    network_swarm_peers: int = 300
    address_swarm_peers: int = 32
    address_ttl: float = 45 * 60.0
    socket_ttl: float = 5 * 60.0
    early: float = 60.0
    """Seconds within which a second announce from an address, without an event, is early."""


@dataclass(slots=True)
class Tally:
    """How often a limit was hit since the start."""

    early: int = 0
    network_full: int = 0
    address_full: int = 0
    swarm_full: int = 0
    evicted: int = 0
    turned_away: int = 0


class Peer(NamedTuple, Generic[Key]):
    """One member of one swarm.

    ``key`` owns it: the packed address and port that the announce came from, or the socket and
    the peer id. ``peer_id`` alone owns nothing, because peer ids are public.
    """

    key: Key
    peer_id: bytes
    seeding: bool
    seen: float


class Announced(NamedTuple, Generic[Key]):
    """What an announce came to. ``stored`` is false when the tracker has no room for the peer."""

    counts: Counts
    peers: list[Peer[Key]]
    stored: bool


class Packed(NamedTuple):
    """The same with peers as compact replies have them: 6 bytes each (BEP 23), or 18 (BEP 7)."""

    counts: Counts
    v4: bytes
    v6: bytes
    stored: bool


class Connected(NamedTuple, Generic[Key]):
    """The same with the keys of peers on sockets."""

    counts: Counts
    keys: list[Key]
    stored: bool


class _Arrival(NamedTuple):
    """Who announced: its row if it was stored, and how many peers it is given."""

    swarm: Swarm | None
    row: int
    uploading: bool
    numwant: int
    stored: bool


_NOBODY = Counts(0, 0, 0)


def track_everything(_: bytes) -> bool:
    """The predicate of an open tracker."""
    return True


class Swarms:
    """All swarms of one tracker.

    ``tracked`` decides for every announce whether its info-hash is welcome here.
    """

    def __init__(
        self,
        *,
        tracked: Callable[[bytes], bool],
        rng: Random,
        limits: Limits | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.pace = Pace() if pace is None else pace
        self.tally = Tally()
        self._tracked = tracked
        self._rng = rng
        self._limits = limits or Limits()
        self._roster = Roster()
        self._swept = -SWEEP_EVERY

    @property
    def peer_count(self) -> int:
        """Peers in all swarms together."""
        return len(self._roster)

    @property
    def seeder_count(self) -> int:
        """Peers that are complete, in all swarms together."""
        return self._roster.seeders

    @property
    def swarm_count(self) -> int:
        """Swarms that are remembered, some of them empty."""
        return len(self._roster.swarms)

    @property
    def network_count(self) -> int:
        """Networks (/24 or /48) that have peers here."""
        return len(self._roster.crowds)

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
        network: int = NOWHERE,
        token: bytes = b"",
    ) -> Announced[Key]:
        """Enter, refresh or remove the peer ``key`` and draw up to ``numwant`` others of its kind.

        ``key`` is the packed address and port (6 or 18 bytes) for ``ADDRESS``. ``network`` is for
        sockets (see ``networks``); an address says it itself. ``token`` is what an announce calls
        ``key``: who comes with the same peer id and token takes the place of its earlier self.
        Raises ``RefusedError`` if this tracker does not track ``info_hash``, and ``HurryError``
        if the network announces too often.
        """
        kind = Kind.SOCKET
        if carrier is Carrier.ADDRESS:
            assert isinstance(key, bytes)
            kind, network = kind_of(key), network_of(key)
        found = self._arrive(
            *(kind, info_hash, key, peer_id, left, event, numwant, network, token, now)
        )
        if found.swarm is None:
            return Announced(_NOBODY, [], found.stored)
        peers: list[Peer[Key]] = []
        for each, count in self._shares(kind, found, both=True):
            pool = found.swarm.pools[each]
            if pool is not None:
                skip = self._self_in(each, kind, found, peer_id, token)
                for row in pool.rows(count, skip, found.uploading, self._rng):
                    peer: Peer[Key] = self._peer(row)
                    # The asker may be there twice, on a socket that is dead.
                    if peer.peer_id != peer_id:
                        peers.append(peer)
        return Announced(found.swarm.counts(), peers, found.stored)

    def announce_packed(
        self,
        info_hash: bytes,
        key: bytes,
        peer_id: bytes,
        *,
        left: int | None,
        event: Event,
        numwant: int,
        now: float,
        token: bytes = b"",
        both: bool = True,
    ) -> Packed:
        """As ``announce`` of an address, with packed peers; ``both`` says whether those of the
        other family are wanted too."""
        kind = kind_of(key)
        found = self._arrive(
            *(kind, info_hash, key, peer_id, left, event, numwant, network_of(key), token, now)
        )
        swarm, row, uploading, numwant, stored = found
        if swarm is None:
            return Packed(_NOBODY, b"", b"", stored)
        packed, pools = [b"", b""], swarm.pools
        if not both or pools[Kind.V6 if kind is Kind.V4 else Kind.V4] is None:
            # Nearly always: only its own family is wanted, or there.
            own = pools[kind]
            if own is not None and numwant > 0:
                packed[kind] = own.packed(numwant, row, uploading, self._rng)
            return Packed(swarm.counts(), packed[0], packed[1], stored)
        for each, count in self._shares(kind, found, both=both):
            pool = pools[each]
            if pool is not None:
                skip = self._self_in(each, kind, found, peer_id, token)
                packed[each] = pool.packed(count, skip, uploading, self._rng)
        return Packed(swarm.counts(), packed[0], packed[1], stored)

    def announce_socket(
        self,
        info_hash: bytes,
        key: Key,
        peer_id: bytes,
        *,
        left: int | None,
        event: Event,
        numwant: int,
        now: float,
        network: int = NOWHERE,
        token: bytes = b"",
    ) -> Connected[Key]:
        """As ``announce`` of a socket, with no more than the keys of others."""
        found = self._arrive(
            *(Kind.SOCKET, info_hash, key, peer_id, left, event, numwant, network, token, now)
        )
        pool = found.swarm.pools[Kind.SOCKET] if found.swarm is not None else None
        if found.swarm is None or pool is None or found.numwant <= 0:
            counts = _NOBODY if found.swarm is None else found.swarm.counts()
            return Connected(counts, [], found.stored)
        rows = self._roster.rows
        keys = [
            key_of(rows.key[row])
            for row in pool.rows(found.numwant, found.row, found.uploading, self._rng)
            # The asker may be there twice, on a socket that is dead.
            if rows.peer_id(row) != peer_id
        ]
        return Connected(found.swarm.counts(), keys, found.stored)  # type: ignore[arg-type]

    def remove(self, carrier: Carrier, info_hash: bytes, key: Hashable) -> None:
        """Forget a peer; nothing happens if it is not there."""
        swarm = self._roster.swarms.get(info_hash)
        if swarm is not None:
            kind = Kind.SOCKET if carrier is Carrier.SOCKET else Kind.V4
            row = self._roster.find(swarm, kind, key)
            if row != NO_ROW:
                self._roster.remove(row)

    def counts(self, info_hash: bytes) -> Counts | None:
        """What a scrape says of a swarm; ``None`` if it is not tracked."""
        if not self._tracked(info_hash):
            return None
        swarm = self._roster.swarms.get(info_hash)
        return swarm.counts() if swarm is not None else _NOBODY

    def members(self, info_hash: bytes) -> Iterator[Peer[Hashable]]:
        """Everyone in a swarm, for pages and tests."""
        swarm = self._roster.swarms.get(info_hash)
        for pool in swarm.pools if swarm is not None else ():
            for row in pool.members if pool is not None else ():
                yield self._peer(row)

    def prune(self, now: float) -> int:
        """Forget peers that have not announced within their time; returns how many.

        To be called every second. It forgets 2,000 at most, so that nobody who announces
        meanwhile waits for long.
        """
        roster, limits = self._roster, self._limits
        stale = roster.stale(now - limits.address_ttl, now - limits.socket_ttl, PRUNE_MOST)
        for row in stale:
            roster.remove(row)
        if now - self._swept >= SWEEP_EVERY:
            self._swept = now
            self._sweep(now)
        return len(stale)

    def _sweep(self, now: float) -> None:
        roster = self._roster
        self.pace.prune(now)
        crowded = 2 * len(roster.swarms) > self._limits.swarms
        for swarm in list(roster.left.values()):
            # The count of completed downloads is worth keeping while there is room for it.
            if crowded or not self._tracked(swarm.info_hash):
                roster.forget(swarm)

    def _arrive(
        self,
        kind: Kind,
        info_hash: bytes,
        key: Hashable,
        peer_id: bytes,
        left: int | None,
        event: Event,
        numwant: int,
        network: int,
        token: bytes,
        now: float,
    ) -> _Arrival:
        if not self._tracked(info_hash):
            raise RefusedError(
                "this tracker does not track that info-hash",
                hint="submit a job that uses the torrent, or register it with the tracker",
            )
        roster = self._roster
        swarm = roster.swarms.get(info_hash)
        row = roster.find(swarm, kind, key) if swarm is not None else NO_ROW
        if event is Event.STOPPED:
            if row != NO_ROW:
                roster.remove(row)
            return _Arrival(swarm, NO_ROW, True, 0, True)
        # Not every client that says completed also says how much is left.
        seeding = left == 0 or event is Event.COMPLETED
        paused = event is Event.PAUSED and not seeding
        uploading = seeding or paused
        if row == NO_ROW or swarm is None:
            # aria2 says that nothing is left when it comes with a magnet link and has nothing.
            uploading = uploading and (kind is Kind.SOCKET or event is not Event.STARTED)
            self.pace.take(network, now)
            swarm = self._room(swarm, info_hash, kind, key, network)
            if swarm is None:
                self.tally.turned_away += 1
                swarm = roster.swarms.get(info_hash)
                return _Arrival(swarm, NO_ROW, uploading, numwant, False)
            swarm.completed += event is Event.COMPLETED
            row = roster.add(swarm, kind, key, network, seeding=seeding, paused=paused)
        else:
            numwant = self._calm(kind, row, event, numwant, network, now)
            swarm.completed += event is Event.COMPLETED and not roster.pool_of(row).seeding(row)
            roster.refresh(row, seeding=seeding, paused=paused)
        roster.saw(row, kind, peer_id, token, now)
        return _Arrival(swarm, row, uploading, numwant, True)

    def _calm(
        self, kind: Kind, row: int, event: Event, numwant: int, network: int, now: float
    ) -> int:
        """How many peers to give to who is here already; none to who cannot wait, at length."""
        soon = now - self._roster.rows.seen[row] < self._limits.early
        if soon and event is Event.NONE and kind is not Kind.SOCKET:
            if self.pace.spend(network, now, EARLY_COST):
                return numwant
            self.tally.early += 1
            numwant = 0
        self.pace.take(network, now)
        return numwant

    def _room(
        self, swarm: Swarm | None, info_hash: bytes, kind: Kind, key: Hashable, network: int
    ) -> Swarm | None:
        """The swarm with room for one more of ``network``; ``None`` if there is none."""
        limits, roster = self._limits, self._roster
        crowds = roster.crowds
        if crowds.size(network) >= limits.network_peers and not is_local(network):
            self.tally.network_full += 1
            self._evict(crowds.one_of(network))
        if swarm is not None and swarm.crowds is not None:
            self._room_for_network(swarm, kind, key, network)
        if swarm is not None and len(swarm) >= limits.peers_per_swarm:
            self.tally.swarm_full += 1
            self._evict(self._victim(swarm))
        for _ in range(_ROOM_TRIES):
            new = info_hash not in roster.swarms
            if len(roster) < limits.peers and not (new and len(roster.swarms) >= limits.swarms):
                return roster.open(info_hash)
            crowded = crowds.crowded()
            # Nobody is pushed out for a network that has as many already.
            if crowded is None or crowds.largest <= crowds.size(network) + 1:
                return None
            self._evict(crowded)
        return None

    def _room_for_network(self, swarm: Swarm, kind: Kind, key: Hashable, network: int) -> None:
        crowds, limits, rows = swarm.crowds, self._limits, self._roster.rows
        assert crowds is not None
        size = crowds.size(network)
        if size < min(limits.network_swarm_peers, limits.address_swarm_peers) or is_local(network):
            return
        if size >= limits.network_swarm_peers:
            self.tally.network_full += 1
            self._evict(crowds.one_of(network))
        elif kind is not Kind.SOCKET:
            owner = swarm.owner(kind, key)
            same = [
                row
                for row in crowds.members(network)
                if _address_of(rows.key[row]) == _address_of(owner)
            ]
            if len(same) >= limits.address_swarm_peers:
                self.tally.address_full += 1
                self._evict(min(same, key=rows.seen.__getitem__))

    def _victim(self, swarm: Swarm) -> int:
        crowded = swarm.crowds.crowded() if swarm.crowds is not None else None
        if crowded is not None:
            return crowded
        at = self._rng.randrange(len(swarm))
        for pool in swarm.pools:
            if pool is not None:
                if at < len(pool.members):
                    return pool.members[at]
                at -= len(pool.members)
        raise AssertionError("a full swarm has members")

    def _evict(self, row: int) -> None:
        self.tally.evicted += 1
        self._roster.remove(row)

    def _shares(self, kind: Kind, found: _Arrival, *, both: bool) -> tuple[tuple[Kind, int], ...]:
        """How many peers of which kind to draw. Who came over one family surely reaches that
        one, so it gets the most of them; a quarter is for the other, where there are as many."""
        numwant, swarm = found.numwant, found.swarm
        if numwant <= 0 or swarm is None:
            return ()
        if kind is Kind.SOCKET:
            return ((kind, numwant),)
        other = Kind.V6 if kind is Kind.V4 else Kind.V4
        theirs = swarm.pools[other] if both else None
        if theirs is None:
            return ((kind, numwant),)
        ours = swarm.pools[kind]
        reach = len(ours.members) - (found.row != NO_ROW) if ours is not None else 0
        share = min(len(theirs.members), max(numwant - reach, numwant // 4))
        return (kind, numwant - share), (other, share)

    def _self_in(self, kind: Kind, own: Kind, found: _Arrival, peer_id: bytes, token: bytes) -> int:
        """The row of who asks among the peers of ``kind``."""
        if kind is own:
            return found.row
        if not token or found.swarm is None:
            return NO_ROW
        return self._roster.known(found.swarm, kind, peer_id, token)

    def _peer(self, row: int) -> Peer[Key]:
        rows = self._roster.rows
        seeding = self._roster.pool_of(row).seeding(row)
        key = key_of(rows.key[row])
        return Peer(key, rows.peer_id(row), seeding, rows.seen[row])  # type: ignore[arg-type]


def _address_of(owner: Hashable) -> bytes:
    return owner[:-PORT_SIZE] if isinstance(owner, bytes) else b""
