"""Peer exchange (BEP 11): which addresses to tell whom, as pure state."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

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
    since: float
    told: set[Address] = field(default_factory=set)


class Exchange:
    """What every peer of one torrent was told. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._listeners: dict[Peer, _Listener] = {}

    def join(self, peer: Peer, now: float) -> None:
        """A peer is there; it hears of others at the next tick."""
        self._listeners[peer] = _Listener(now - INTERVAL)

    def leave(self, peer: Peer) -> None:
        """A peer is gone."""
        self._listeners.pop(peer, None)

    def tick(self, known: Iterable[tuple[Peer, Address]], now: float) -> list[Tell]:
        """What to tell now. ``known`` are the peers that can be dialled, and where."""
        places = dict(known)
        tells = []
        for peer, listener in self._listeners.items():
            if now - listener.since < INTERVAL:
                continue
            there = {address for other, address in places.items() if other != peer}
            added = tuple(sorted(there - listener.told)[:MAX_TOLD])
            dropped = tuple(sorted(listener.told - there)[:MAX_TOLD])
            if added or dropped:
                listener.since = now
                listener.told = (listener.told | set(added)) - set(dropped)
                tells.append(Tell(peer, added, dropped))
        return tells
