"""Peer exchange (BEP 11): which addresses to tell whom, as pure state.

An address of a local network is told only within one: outside of it nobody could use it, and it is
nobody's business.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from client.peers.addresses import Zone, zone_of
from client.peers.extensions import MAX_TOLD, Address

INTERVAL = 60.0
"""Seconds between two messages to one peer."""

Peer = Hashable


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell ``peer`` who came and who went."""

    peer: Peer
    added: tuple[Address, ...]
    dropped: tuple[Address, ...]


@dataclass(slots=True)
class _Listener:
    zone: Zone
    since: float
    told: set[Address] = field(default_factory=set)


class Exchange:
    """What every peer of one torrent was told. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._listeners: dict[Peer, _Listener] = {}

    def join(self, peer: Peer, host: str, now: float) -> None:
        """A peer at the address ``host`` listens; it hears of others at the next tick."""
        self._listeners.setdefault(peer, _Listener(zone_of(host), now - INTERVAL))

    def leave(self, peer: Peer) -> None:
        """A peer is gone."""
        self._listeners.pop(peer, None)

    def tick(self, known: Iterable[tuple[Peer, Address]], now: float) -> list[Tell]:
        """What to tell now. ``known`` are the peers that can be dialled, and where."""
        places = [(peer, address, zone_of(address[0])) for peer, address in known]
        tells = []
        for peer, listener in self._listeners.items():
            if now - listener.since < INTERVAL:
                continue
            zones = (listener.zone, Zone.GLOBAL)
            there = {address for other, address, zone in places if other != peer and zone in zones}
            added = tuple(sorted(there - listener.told)[:MAX_TOLD])
            dropped = tuple(sorted(listener.told - there)[:MAX_TOLD])
            if added or dropped:
                listener.since = now
                listener.told = (listener.told | set(added)) - set(dropped)
                tells.append(Tell(peer, added, dropped))
        return tells
