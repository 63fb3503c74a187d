"""Where peers listen on TCP: which addresses may be used, and whom to dial next. Pure.

Addresses come from a tracker, from other peers (BEP 11) and from the local network. All of them
are claims of strangers: nobody may aim us at the machine's own services, at a neighbour's router,
or at a port where no peer listens.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from random import Random
from typing import NamedTuple, TypeAlias

from workunits.errors import MalformedError

IPAddress: TypeAlias = IPv4Address | IPv6Address

MAX_KNOWN = 200
MAX_FROM_ONE = 50
MAX_BANNED = 1000
"""Addresses of one torrent: known, told by one peer, and banned."""

MAX_PER_HOST = 4
"""Addresses of one host of the Internet: who names a victim must not make us try all its ports."""

MAX_FAILURES = 4
"""Attempts in a row that fail, after which an address is forgotten until it is told again."""

RETRY = (10.0, 900.0)
"""Seconds between two attempts, first and last."""

LOWEST_PORT = 1024
"""No peer needs a lower one, and services that a dial could disturb are there."""

_LAN = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fc00::/7"),
    IPv6Network("fe80::/10"),
    IPv6Network("fec0::/10"),
)
_SHARED = IPv4Network("100.64.0.0/10")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


class Address(NamedTuple):
    """An IP address in text, as ``ipaddress`` spells it, and a port."""

    host: str
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> "Address":
        """Spell an address as all others are. Raises ``MalformedError`` when it is none."""
        return cls(str(plain(host)), port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Zone(Enum):
    """How far an address reaches."""

    HOST = 0
    """This machine only."""

    LAN = 1
    """A network of people who know each other: private, link-local, unique local."""

    SHARED = 2
    """Behind a carrier's NAT (RFC 6598): strangers, but not the Internet."""

    GLOBAL = 3
    NOWHERE = 4
    """Nobody can be there: unspecified, multicast, broadcast, reserved."""


class Source(IntEnum):
    """Who told us of an address; lower is preferred."""

    LOCAL = 0
    TRACKER = 1
    PEER = 2


def plain(host: str) -> IPAddress:
    """The address without a scope, and IPv4 where it is mapped into IPv6.

    Raises ``MalformedError``.
    """
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        raise MalformedError(f"{host[:80]!r} is not an IP address") from None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def zone_of(host: str) -> Zone:
    """How far ``host`` reaches, and ``NOWHERE`` for what is no address.

    A gateway would take us to the inner one of an address that carries an IPv4 one (6to4, NAT64,
    Teredo, IPv4-compatible), so that must be of the Internet.
    """
    try:
        ip = plain(host)
    except MalformedError:
        return Zone.NOWHERE
    if isinstance(ip, IPv6Address):
        inner = _inside(ip)
        if inner is not None and _zone_of(inner) is not Zone.GLOBAL:
            return Zone.NOWHERE
    return _zone_of(ip)


def _zone_of(ip: IPAddress) -> Zone:
    if ip.is_loopback:
        return Zone.HOST
    if ip.is_unspecified or ip.is_multicast:
        return Zone.NOWHERE
    if any(ip.version == net.version and ip in net for net in _LAN):
        return Zone.LAN
    if ip.version == 4 and ip in _SHARED:
        return Zone.SHARED
    # IPv4 240/4 with the broadcast address, and 0/8; of IPv6 only 2000::/3 was ever given out.
    if isinstance(ip, IPv4Address):
        return Zone.NOWHERE if ip.is_reserved or ip.packed[0] == 0 else Zone.GLOBAL
    translated = any(ip in net for net in _NAT64)
    return Zone.GLOBAL if translated or ip.packed[0] >> 5 == 1 else Zone.NOWHERE


def _inside(ip: IPv6Address) -> IPv4Address | None:
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if any(ip in net for net in _NAT64) or (int(ip) >> 32 == 0 and int(ip) > 1):
        return IPv4Address(ip.packed[12:])
    return None


@dataclass(frozen=True, slots=True)
class Reachable:
    """Which addresses a swarm may dial and take connections from.

    ``tracker`` is the zone in which the tracker was reached, and ``lan`` whether it says that its
    swarm is one of a local network; ``always`` admits the whole Internet.
    """

    tracker: Zone
    lan: bool = False
    always: bool = False

    @property
    def local(self) -> bool:
        """Whether all peers of the tracker are in one local network."""
        return self.lan or self.tracker in (Zone.HOST, Zone.LAN)

    def dials(self, address: Address, source: Source) -> bool:
        """Whether to connect to ``address``, as told by ``source``."""
        if not LOWEST_PORT <= address.port <= 65535:
            return False
        match zone_of(address.host):
            case Zone.HOST:
                return self.tracker is Zone.HOST
            case Zone.LAN:
                return source is Source.LOCAL or self.local
            case Zone.SHARED | Zone.GLOBAL as zone:
                return self.always and (zone is Zone.GLOBAL or self.local)
            case Zone.NOWHERE:
                return False

    def carries(self, ours: str, theirs: str) -> bool:
        """Whether a connection between these two hosts may be used."""
        near = (Zone.HOST, Zone.LAN)
        zones = zone_of(ours), zone_of(theirs)
        return self.always or (zones[0] in near and zones[1] in near)


@dataclass(slots=True)
class Known:
    """What is known of one address. ``until`` is when it may be dialled again."""

    source: Source
    teller: object = None
    name: bytes = b""
    """What the peer that was met there called itself."""

    failures: int = 0
    until: float = float("-inf")
    busy: bool = False


class AddressBook:
    """The addresses of one torrent. Times are seconds on one clock."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._known: dict[Address, Known] = {}
        self._banned: dict[Address, None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, address: Address) -> bool:
        return address in self._known

    def add(self, addresses: Iterable[Address], source: Source, teller: object = None) -> None:
        """Note where peers are said to be. ``teller`` is one peer; it gets only so many."""
        told = sum(c.teller == teller for c in self._known.values()) if teller is not None else 0
        for address in addresses:
            known = self._known.get(address)
            if known is not None:
                known.source = min(known.source, source)
                continue
            if address in self._banned or (teller is not None and told >= MAX_FROM_ONE):
                continue
            if self._filled(address.host):
                continue
            if len(self._known) >= MAX_KNOWN and not self._make_room(source):
                continue
            self._known[address] = Known(source, teller)
            told += 1

    def remove(self, addresses: Iterable[Address], source: Source, teller: object = None) -> None:
        """They are gone, says who told us of them; what others told is kept."""
        for address in addresses:
            known = self._known.get(address)
            if known and not known.busy and (known.source, known.teller) == (source, teller):
                del self._known[address]

    def ready(self, now: float, met: Container[bytes] = ()) -> list[Address]:
        """Addresses that may be dialled now, but for those of the peers ``met``."""
        return [
            address
            for address, known in self._known.items()
            if not known.busy and known.until <= now and not (known.name and known.name in met)
        ]

    def next(
        self, now: float, count: int, *, local: int = 0, met: Container[bytes] = ()
    ) -> list[Address]:
        """Up to ``count`` addresses to dial, the preferred ones first; they are busy until
        ``failed`` or ``ended``. ``local`` more are taken where they are local ones. Peers of the
        names ``met`` are connected in another way."""
        ready = self.ready(now, met)
        self._rng.shuffle(ready)
        ready.sort(key=lambda a: (_near(a, self._known[a]), self._known[a].failures))
        chosen = ready[: max(0, count)]
        more = ready[len(chosen) : max(0, count + local)]
        chosen += [address for address in more if not _near(address, self._known[address])]
        for address in chosen:
            self._known[address].busy = True
        return chosen

    def failed(self, address: Address, now: float, name: bytes = b"") -> None:
        """Nobody is there, or nobody of use: wait longer each time, then forget.

        ``name`` is what the peer called itself, if it got that far.
        """
        known = self._known.get(address)
        if known is None:
            return
        known.name = name or known.name
        known.busy = False
        known.failures += 1
        first, last = RETRY
        wait: float = min(last, first * 4 ** (known.failures - 1))
        known.until = now + wait * self._rng.uniform(0.75, 1.25)
        if known.failures >= MAX_FAILURES and known.source is not Source.LOCAL:
            del self._known[address]

    def ended(self, address: Address, now: float, name: bytes) -> None:
        """A connection that was of use is over."""
        known = self._known.get(address)
        if known is not None:
            known.name = name
            known.busy = False
            known.failures = 0
            known.until = now + RETRY[0] * self._rng.uniform(0.75, 1.25)

    def ban(self, address: Address) -> None:
        """Never dial it again."""
        self._known.pop(address, None)
        self._banned[address] = None
        if len(self._banned) > MAX_BANNED:
            del self._banned[next(iter(self._banned))]

    def _filled(self, host: str) -> bool:
        many = sum(known.host == host for known in self._known) >= MAX_PER_HOST
        return many and zone_of(host) is Zone.GLOBAL

    def _make_room(self, source: Source) -> bool:
        """Forget the least promising address, if it is no better than a new one of ``source``."""
        idle = [a for a, known in self._known.items() if not known.busy]
        if not idle:
            return False
        worst = max(idle, key=lambda a: (self._known[a].source, self._known[a].failures))
        known = self._known[worst]
        if (known.source, known.failures) <= (source, 0):
            return False
        del self._known[worst]
        return True


def _near(address: Address, known: Known) -> bool:
    """Sorts local addresses first."""
    return known.source is not Source.LOCAL and zone_of(address.host) not in (Zone.HOST, Zone.LAN)
