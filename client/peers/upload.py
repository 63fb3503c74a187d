"""Whom we serve and what, as pure state: few slots, and a bounded queue for every peer.

While we download, slots are for those who give us most (tit-for-tat), except for what is left over
and one at least: those go round, so that a newcomer, or somebody who snubbed us, has the chance to
give. While we seed, whoever has waited longest takes the slot of the slowest.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from math import exp

from client.peers.extensions import QUEUE_LIMIT
from client.peers.layout import Block

SLOTS = 8
"""Peers that are served at the same time, per torrent."""

ROTATION = 15.0
"""While seeding: seconds after which a served peer makes room for one that waits."""

RECHOKE = 10.0
"""While downloading: seconds from one choice of those who give most to the next."""

OPTIMISTIC = 30.0
"""While downloading: seconds of a slot that goes round."""

SNUB = 60.0
"""Seconds without a byte for us, after which a peer is not one that gives."""

RATE_SECONDS = 20.0
"""Over how long rates are averaged."""

QUEUE_BYTES = 8 * 1024 * 1024
"""Bytes that one peer may have asked for and not been sent."""

Peer = Hashable


@dataclass(slots=True)
class Meter:
    """Bytes per second, of which what is long past counts less and less."""

    total: float = 0.0
    last: float = float("-inf")

    def add(self, size: int, now: float) -> None:
        """``size`` bytes passed."""
        self.total = self.rate(now) * RATE_SECONDS + size
        self.last = max(self.last, now)

    def rate(self, now: float) -> float:
        """The rate."""
        return self.total * exp(-max(0.0, now - self.last) / RATE_SECONDS) / RATE_SECONDS


@dataclass(slots=True)
class Customer:
    """A peer that may fetch from us."""

    interested: bool = False
    served: bool = False
    since: float = 0.0
    """When it began to be served, or to wait."""

    queue: dict[Block, None] = field(default_factory=dict)  # in order of arrival
    queued: int = 0
    """Bytes in ``queue``."""

    given: Meter = field(default_factory=Meter)
    taken: Meter = field(default_factory=Meter)


@dataclass(frozen=True, slots=True)
class Turn:
    """Choke (``on``) or unchoke ``peer``; ``lost`` are its requests that will not be served."""

    peer: Peer
    on: bool
    lost: tuple[Block, ...] = ()


class Upload:
    """The customers of one torrent. Times are seconds on one clock."""

    def __init__(self, *, seeding: bool = True, slots: int = SLOTS) -> None:
        self.seeding = seeding
        """Whether nothing is missing here, so that nobody can give us anything. May be set."""

        self._slots = slots
        self._customers: dict[Peer, Customer] = {}
        self._chosen = float("-inf")

    def join(self, peer: Peer, now: float) -> None:
        """A peer is there, not interested, and choked."""
        self._customers[peer] = Customer(since=now)

    def leave(self, peer: Peer, now: float) -> list[Turn]:
        """A peer is gone; its slot goes to the next."""
        self._customers.pop(peer, None)
        return self._fill(now)

    def interest(self, peer: Peer, on: bool, now: float) -> list[Turn]:
        """A peer wants something (no longer)."""
        customer = self._customers[peer]
        if customer.interested == on:
            return []
        customer.interested = on
        if on:
            customer.since = now
            return self._fill(now)
        return [self._choke(peer, customer, now), *self._fill(now)] if customer.served else []

    def gave(self, peer: Peer, size: int, now: float) -> None:
        """``peer`` sent us ``size`` bytes that we wanted."""
        customer = self._customers.get(peer)
        if customer is not None:
            customer.given.add(size, now)

    def took(self, peer: Peer, size: int, now: float) -> None:
        """``peer`` was sent ``size`` bytes of content."""
        customer = self._customers.get(peer)
        if customer is not None:
            customer.taken.add(size, now)

    def request(self, peer: Peer, block: Block) -> bool:
        """Queue a request; False when it is refused (choked, queue full, or asked twice)."""
        customer = self._customers[peer]
        full = len(customer.queue) >= QUEUE_LIMIT or customer.queued + block.length > QUEUE_BYTES
        if not customer.served or full or block in customer.queue:
            return False
        customer.queue[block] = None
        customer.queued += block.length
        return True

    def cancel(self, peer: Peer, block: Block) -> bool:
        """Forget a request; False when it was not queued."""
        customer = self._customers[peer]
        if block not in customer.queue:
            return False
        del customer.queue[block]
        customer.queued -= block.length
        return True

    def next(self, peer: Peer) -> Block | None:
        """Take the oldest request of ``peer``."""
        customer = self._customers.get(peer)
        if customer is None or not customer.queue:
            return None
        block = next(iter(customer.queue))
        del customer.queue[block]
        customer.queued -= block.length
        return block

    def tick(self, now: float) -> list[Turn]:
        """Give slots to whom they are due. Call about once a second."""
        if self.seeding:
            return self._rotate(now) + self._fill(now)
        turns: list[Turn] = []
        if now - self._chosen >= RECHOKE:
            self._chosen = now
            turns = self._choose(now)
        return turns + self._fill(now)

    # -- inside -----------------------------------------------------------------------------

    def _rotate(self, now: float) -> list[Turn]:
        """The slowest make room for all that wait, once they have had their time."""
        due = [
            (customer.taken.rate(now), customer.since, at, peer)
            for at, (peer, customer) in enumerate(self._customers.items())
            if customer.served and now - customer.since >= ROTATION
        ]
        wanted = max(0, len(self._waiting()) - self._free())
        slowest = [peer for *_, peer in sorted(due, key=lambda item: item[:3])][:wanted]
        return [self._choke(peer, self._customers[peer], now) for peer in slowest]

    def _choose(self, now: float) -> list[Turn]:
        """Make room for those who give most, and for the next in line."""
        givers = [
            (-customer.given.rate(now), customer.since, at, peer)
            for at, (peer, customer) in enumerate(self._customers.items())
            if customer.interested and now - customer.given.last <= SNUB
        ]
        best = [peer for *_, peer in sorted(givers, key=lambda item: item[:3])][: self._slots - 1]
        others = [
            (customer.since, at, peer)
            for at, (peer, customer) in enumerate(self._customers.items())
            if customer.served and peer not in best
        ]
        others.sort(key=lambda item: item[:2])
        room = self._slots - len(best)
        waiting = sum(peer not in best for peer in self._waiting())
        # Longest served first: too many of them, or their time is over and somebody waits.
        leaving = max(0, len(others) - room)
        spare = max(0, room - len(others))
        for since, _, _ in others[leaving:]:
            if now - since < OPTIMISTIC or waiting - spare <= leaving:
                break
            leaving += 1
        turns = [self._choke(peer, self._customers[peer], now) for _, _, peer in others[:leaving]]
        entering = [peer for peer in best if not self._customers[peer].served]
        return turns + [self._serve(peer, now) for peer in entering]

    def _waiting(self) -> list[Peer]:
        """Who waits for a slot, those who have waited longest first."""
        waiting = [
            (customer.since, at, peer)
            for at, (peer, customer) in enumerate(self._customers.items())
            if customer.interested and not customer.served
        ]
        return [peer for *_, peer in sorted(waiting, key=lambda item: item[:2])]

    def _free(self) -> int:
        return max(0, self._slots - sum(c.served for c in self._customers.values()))

    def _fill(self, now: float) -> list[Turn]:
        free = self._free()
        return [self._serve(peer, now) for peer in self._waiting()[:free]] if free else []

    def _serve(self, peer: Peer, now: float) -> Turn:
        customer = self._customers[peer]
        customer.served, customer.since = True, now
        return Turn(peer, on=False)

    def _choke(self, peer: Peer, customer: Customer, now: float) -> Turn:
        lost = tuple(customer.queue)
        customer.queue.clear()
        customer.queued = 0
        customer.served, customer.since = False, now
        return Turn(peer, True, lost)
