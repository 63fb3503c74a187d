"""All peers of all swarms, as rows: who is where, of which network, and how long ago.

Pure bookkeeping; ``Swarms`` decides who comes in and who has to go. What each peer costs is bounded
and small; a test says how much.
"""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from tracker.announce.networks import Crowds
from tracker.announce.pools import NO_ROW, PEER_ID, V4_SIZE, V6_SIZE, Kind, Pool, Rows

CROWD = 64
"""Members from which on a swarm counts its networks."""

PREFIX = 20
"""Bytes of the info-hash in the keys of its peers."""


class Counts(NamedTuple):
    """Seeders, leechers, completed downloads since the swarm was first seen, and how many of the
    leechers want nothing more (BEP 21)."""

    complete: int
    incomplete: int
    downloaded: int
    paused: int = 0


_NO_POOLS = (None, None, None)


class Swarm:
    """One torrent's pools. ``crowds`` is there when it has enough members to count networks."""

    __slots__ = ("completed", "crowds", "info_hash", "pools")

    def __init__(self, info_hash: bytes) -> None:
        self.info_hash = info_hash
        self.completed = 0
        self.pools: tuple[Pool | None, Pool | None, Pool | None] = _NO_POOLS
        self.crowds: Crowds | None = None

    def put(self, kind: Kind, pool: Pool | None) -> None:
        """Have this pool of a kind, or none."""
        v4, v6, sockets = self.pools
        if kind is Kind.V4:
            v4 = pool
        elif kind is Kind.V6:
            v6 = pool
        else:
            sockets = pool
        self.pools = (v4, v6, sockets)

    def __len__(self) -> int:
        return sum(len(pool.members) for pool in self.pools if pool is not None)

    def counts(self) -> Counts:
        """How many there are."""
        complete = incomplete = paused = 0
        for pool in self.pools:
            if pool is not None:
                # Who uploads but is paused is not complete (BEP 21).
                seeders = len(pool.members) - pool.downloaders - pool.paused
                complete += seeders
                incomplete += pool.downloaders + pool.paused
                paused += pool.paused
        return Counts(complete, incomplete, self.completed, paused)

    def owner(self, kind: Kind, key: Hashable) -> Hashable:
        """What owns a row: this swarm and the address, or this swarm and the socket's key."""
        if kind is Kind.SOCKET:
            return self.info_hash, key
        return self.info_hash + key  # type: ignore[operator]


def key_of(owner: Hashable) -> Hashable:
    """The key in what ``Swarm.owner`` made."""
    return owner[PREFIX:] if isinstance(owner, bytes) else owner[1]  # type: ignore[index]


class Roster:
    """Swarms and their peers. A row's number is good until it is removed."""

    def __init__(self) -> None:
        self.swarms: dict[bytes, Swarm] = {}
        self.left: dict[bytes, Swarm] = {}
        """Swarms without peers whose count of completed downloads is kept."""

        self.rows = Rows()
        self.crowds = Crowds()
        self.addresses: dict[Hashable, int] = {}
        self.sockets: dict[Hashable, int] = {}
        self.seeders = 0
        self._identities: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.addresses) + len(self.sockets)

    def open(self, info_hash: bytes) -> Swarm:
        """The swarm of a torrent, made if there is none."""
        swarm = self.swarms.get(info_hash)
        if swarm is None:
            swarm = self.swarms[info_hash] = Swarm(info_hash)
        self.left.pop(info_hash, None)
        return swarm

    def find(self, swarm: Swarm, kind: Kind, key: Hashable) -> int:
        """The row of a peer, or ``NO_ROW``."""
        return self._alive(kind).get(swarm.owner(kind, key), NO_ROW)

    def pool_of(self, row: int) -> Pool:
        """Where a row is."""
        swarm = self.rows.swarm[row]
        assert isinstance(swarm, Swarm)
        pool = swarm.pools[_kind(self.rows.key[row])]
        assert pool is not None
        return pool

    def add(
        self,
        swarm: Swarm,
        kind: Kind,
        key: Hashable,
        network: int,
        *,
        seeding: bool,
        paused: bool,
    ) -> int:
        """Enter a peer that is not there; ``saw`` has to follow."""
        rows, owner = self.rows, swarm.owner(kind, key)
        row = rows.add()
        self._alive(kind)[owner] = row
        rows.key[row] = owner
        rows.swarm[row] = swarm
        rows.network[row] = network
        rows.identity[row] = 0
        pool = swarm.pools[kind]
        if pool is None:
            pool = Pool(rows, kind)
            swarm.put(kind, pool)
        address = key if isinstance(key, bytes) and kind is not Kind.SOCKET else b""
        pool.add(row, address, seeding=seeding, paused=paused)
        self.seeders += seeding
        self.crowds.add(network, row)
        if swarm.crowds is not None:
            swarm.crowds.add(network, row)
        elif len(pool.members) >= CROWD // 2 and len(swarm) >= CROWD:
            swarm.crowds = Crowds()
            for each in swarm.pools:
                for member in each.members if each is not None else ():
                    swarm.crowds.add(rows.network[member], member)
        return row

    def refresh(self, row: int, *, seeding: bool, paused: bool) -> None:
        """A peer announced again; ``saw`` has to follow."""
        owner, swarm = self.rows.key[row], self.rows.swarm[row]
        kind = _kind(owner)
        alive = self.sockets if kind is Kind.SOCKET else self.addresses
        pool = swarm.pools[kind]  # type: ignore[attr-defined]
        # The dictionary is in the order of age: who announces goes to its end.
        del alive[owner]
        alive[owner] = row
        was = pool.seeding(row)
        if was != seeding or paused or self.rows.paused[row]:
            self.seeders += seeding - was
            pool.change(row, seeding=seeding, paused=paused)

    def saw(self, row: int, kind: Kind, peer_id: bytes, token: bytes, now: float) -> None:
        """Write down when a peer announced, and as whom; its earlier self elsewhere is removed.

        A client has one self in each family of addresses, as BEP 7 wants it to.
        """
        rows = self.rows
        rows.seen[row] = now
        rows.peer_ids[row * PEER_ID : (row + 1) * PEER_ID] = peer_id
        before = rows.identity[row]
        if not token and not before:
            return
        swarm = rows.swarm[row]
        assert isinstance(swarm, Swarm)
        identity = _identity(swarm, kind, peer_id, token)
        if identity == before:
            return
        if before:
            del self._identities[before]
        rows.identity[row] = identity
        if identity:
            earlier = self._identities.get(identity)
            if earlier is not None:
                self.remove(earlier)
            self._identities[identity] = row

    def known(self, swarm: Swarm, kind: Kind, peer_id: bytes, token: bytes) -> int:
        """The row of a client in one family, or ``NO_ROW``."""
        return self._identities.get(_identity(swarm, kind, peer_id, token), NO_ROW)

    def remove(self, row: int) -> None:
        """Forget a peer, and its swarm if nothing is left of it."""
        rows = self.rows
        swarm, network, owner = rows.swarm[row], rows.network[row], rows.key[row]
        assert isinstance(swarm, Swarm)
        kind = _kind(owner)
        del self._alive(kind)[owner]
        if rows.identity[row]:
            del self._identities[rows.identity[row]]
        pool = swarm.pools[kind]
        assert pool is not None
        self.seeders -= pool.seeding(row)
        pool.remove(row)
        if not pool.members:
            swarm.put(kind, None)
        self.crowds.remove(network, row)
        if swarm.crowds is not None:
            swarm.crowds.remove(network, row)
            if len(swarm) < CROWD // 2:
                swarm.crowds = None
        rows.remove(row)
        if swarm.pools == _NO_POOLS:
            if swarm.completed:
                self.left[swarm.info_hash] = swarm
            else:
                del self.swarms[swarm.info_hash]

    def forget(self, swarm: Swarm) -> None:
        """Drop the count of a swarm that nobody is in."""
        del self.left[swarm.info_hash], self.swarms[swarm.info_hash]

    def stale(self, addresses: float, sockets: float, most: int) -> list[int]:
        """Up to ``most`` rows that were last seen at those times or before."""
        found: list[int] = []
        for alive, before in ((self.addresses, addresses), (self.sockets, sockets)):
            found += self._oldest(alive.values(), before, most - len(found))
        return found

    def _oldest(self, alive: Iterable[int], before: float, most: int) -> list[int]:
        seen = self.rows.seen
        found: list[int] = []
        for row in alive:
            if seen[row] > before or len(found) >= most:
                break
            found.append(row)
        return found

    def _alive(self, kind: Kind) -> dict[Hashable, int]:
        return self.sockets if kind is Kind.SOCKET else self.addresses


def _identity(swarm: Swarm, kind: Kind, peer_id: bytes, token: bytes) -> int:
    # Python's hash of bytes is keyed with a secret of the process: nobody can aim at another's.
    return hash((swarm.info_hash, kind, peer_id, token)) if token else 0


def kind_of(key: bytes) -> Kind:
    """The family of a packed address and port."""
    if len(key) == V4_SIZE:
        return Kind.V4
    if len(key) == V6_SIZE:
        return Kind.V6
    raise ValueError("an address and its port are 6 or 18 bytes")


def _kind(owner: Hashable) -> Kind:
    if isinstance(owner, bytes):
        return Kind.V4 if len(owner) == PREFIX + V4_SIZE else Kind.V6
    return Kind.SOCKET
