"""Whom we serve and what, as pure state: slots that rotate, a bounded queue for every peer."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from client.peers.extensions import QUEUE_LIMIT
from client.peers.layout import Block

SLOTS = 8
"""Peers that are served at the same time, per blob."""

ROTATION = 15.0
"""Seconds after which a served peer makes room for one that waits."""

Peer = Hashable


@dataclass(slots=True)
class Customer:
    """A peer that may fetch from us."""

    interested: bool = False
    served: bool = False
    since: float = 0.0
    """When it began to be served, or to wait."""

    queue: dict[Block, None] = field(default_factory=dict)  # in order of arrival


@dataclass(frozen=True, slots=True)
class Turn:
    """Choke (``on``) or unchoke ``peer``; ``lost`` are its requests that will not be served."""

    peer: Peer
    on: bool
    lost: tuple[Block, ...] = ()


class Upload:
    """The customers of one blob. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._customers: dict[Peer, Customer] = {}

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

    def request(self, peer: Peer, block: Block) -> bool:
        """Queue a request; False when it is refused (choked, queue full, or asked twice)."""
        customer = self._customers[peer]
        if not customer.served or len(customer.queue) >= QUEUE_LIMIT or block in customer.queue:
            return False
        customer.queue[block] = None
        return True

    def cancel(self, peer: Peer, block: Block) -> bool:
        """Forget a request; False when it was not queued."""
        queue = self._customers[peer].queue
        if block not in queue:
            return False
        del queue[block]
        return True

    def next(self, peer: Peer) -> Block | None:
        """Take the oldest request of ``peer``."""
        customer = self._customers.get(peer)
        if customer is None or not customer.queue:
            return None
        block = next(iter(customer.queue))
        del customer.queue[block]
        return block

    def tick(self, now: float) -> list[Turn]:
        """Give every waiting peer its turn. Call about once a second."""
        waiting = [c for c in self._customers.values() if c.interested and not c.served]
        turns: list[Turn] = []
        for peer, customer in sorted(self._customers.items(), key=lambda item: item[1].since):
            if len(turns) == len(waiting):
                break
            if customer.served and now - customer.since >= ROTATION:
                turns.append(self._choke(peer, customer, now))
        return turns + self._fill(now)

    def _fill(self, now: float) -> list[Turn]:
        free = SLOTS - sum(c.served for c in self._customers.values())
        waiting = [
            (customer.since, at, peer)
            for at, (peer, customer) in enumerate(self._customers.items())
            if customer.interested and not customer.served
        ]
        turns = []
        for _, _, peer in sorted(waiting, key=lambda item: item[:2])[: max(0, free)]:
            customer = self._customers[peer]
            customer.served, customer.since = True, now
            turns.append(Turn(peer, on=False))
        return turns

    def _choke(self, peer: Peer, customer: Customer, now: float) -> Turn:
        lost = tuple(customer.queue)
        customer.queue.clear()
        customer.served, customer.since = False, now
        return Turn(peer, True, lost)
