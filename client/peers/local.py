"""Peers of the local network, found by mDNS service discovery (RFC 6762, RFC 6763).

Everybody says under ``_openswarm._tcp.local.`` where it listens, and the beginnings of the
info-hashes that it shares; enough to know whom to ask, and too little to join by.
"""

import asyncio
import logging
from asyncio import TaskGroup
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import ifaddr
from zeroconf import Error, InterfaceChoice, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from client.peers.addresses import Address, Zone, plain, zone_of
from workunits.errors import MalformedError
from workunits.wire.signalling import ID_SIZE

log = logging.getLogger(__name__)

SERVICE = "_openswarm._tcp.local."
PREFIX_SIZE = 8
MAX_PREFIXES = 40
_PER_STRING = 25
"""Beginnings of info-hashes: bytes of one, how many are told, and in one string (255 bytes)."""

MAX_FOUND = 256
MAX_LOOKUPS = 32
MAX_HOSTS = 8
"""Limits: peers that are remembered, looked up at a time, and addresses of one."""

LOOKUP_TIMEOUT = 3000
"""Milliseconds."""

CHANGE_PAUSE = 2.0
"""Seconds between two changes of what we say."""

CLOSE_TIMEOUT = 2.0
_ID, _HASHES = b"id", (b"h0", b"h1")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A peer of the local network. ``name`` is its peer id."""

    name: bytes
    addresses: tuple[Address, ...]
    prefixes: frozenset[bytes]

    def shares(self, *hashes: bytes | None) -> bool:
        """Whether it says that it shares a torrent of one of these info-hashes."""
        return any(each and each[:PREFIX_SIZE] in self.prefixes for each in hashes)


def properties_of(peer_id: bytes, hashes: Iterable[bytes]) -> dict[str | bytes, bytes]:
    """What our TXT record says (RFC 6763); only the first 40 of ``hashes``."""
    prefixes = [each[:PREFIX_SIZE] for each in hashes][:MAX_PREFIXES]
    told: dict[str | bytes, bytes] = {_ID: peer_id}
    for at, key in enumerate(_HASHES):
        told[key] = b"".join(prefixes[at * _PER_STRING : (at + 1) * _PER_STRING])
    return told


def parse_neighbour(
    properties: Mapping[bytes, bytes | None], hosts: Sequence[str], port: int
) -> Neighbour:
    """What somebody's records say. Raises ``MalformedError``."""
    name = properties.get(_ID) or b""
    if len(name) != ID_SIZE or not 0 < port < 65536:
        raise MalformedError("an mDNS record is not that of a peer")
    prefixes = []
    for key in _HASHES:
        packed = properties.get(key) or b""
        if len(packed) % PREFIX_SIZE:
            raise MalformedError("an mDNS record has cut off info-hashes")
        prefixes += [packed[at : at + PREFIX_SIZE] for at in range(0, len(packed), PREFIX_SIZE)]
    addresses = []
    for host in hosts[:MAX_HOSTS]:
        with suppress(MalformedError):
            # A link-local IPv6 address means nothing without the interface.
            if not (plain(host).version == 6 and plain(host).is_link_local):
                addresses.append(Address.of(host, port))
    return Neighbour(name, tuple(dict.fromkeys(addresses)), frozenset(prefixes))


def own_hosts() -> list[str]:
    """Addresses of this machine in local networks."""
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            if zone_of(host) is Zone.LAN and not plain(host).is_link_local:
                found.append(host)
    return found[:MAX_HOSTS]


class Neighbourhood:
    """Says what we share, and knows who else does."""

    def __init__(
        self,
        peer_id: bytes,
        port: int,
        *,
        came: Callable[[Neighbour], None],
        went: Callable[[Neighbour], None],
        hosts: Sequence[str] | None = None,
    ) -> None:
        """``hosts`` are where we can be reached, and the interfaces to speak on; by default all
        that are in local networks."""
        self._peer_id = peer_id
        self._port = port
        self._came = came
        self._went = went
        self._hosts = hosts
        self._name = f"{peer_id[-6:].hex()}.{SERVICE}"
        self._hashes: tuple[bytes, ...] = ()
        self._changed = asyncio.Event()
        self._found: dict[str, Neighbour] = {}
        self._looking: set[str] = set()
        self._group = TaskGroup()

    @property
    def found(self) -> tuple[Neighbour, ...]:
        """Who is there now."""
        return tuple(self._found.values())

    def share(self, hashes: Iterable[bytes]) -> None:
        """Say from now on that we share these torrents."""
        hashes = tuple(hashes)[:MAX_PREFIXES]
        if hashes != self._hashes:
            self._hashes = hashes
            self._changed.set()

    async def run(self) -> None:
        """Take part until cancelled. A network that does not let us is no error."""
        await self._changed.wait()
        hosts = own_hosts() if self._hosts is None else self._hosts
        if not hosts:
            return
        try:
            zeroconf = AsyncZeroconf(
                interfaces=InterfaceChoice.Default if self._hosts is None else list(self._hosts)
            )
        except OSError as error:
            log.info("local peers are not looked for: %s", error)
            return
        try:
            async with TaskGroup() as self._group:
                await self._take_part(zeroconf, hosts)
        except* (OSError, Error) as errors:
            log.info("local peers are no longer looked for: %s", errors.exceptions[0])
        finally:
            with suppress(OSError, Error):  # TimeoutError is an OSError
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await zeroconf.async_close()

    async def _take_part(self, zeroconf: AsyncZeroconf, hosts: Sequence[str]) -> None:
        self._changed.clear()
        await (await zeroconf.async_register_service(self._info(hosts)))
        browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._seen])
        try:
            while True:
                await asyncio.sleep(CHANGE_PAUSE)
                await self._changed.wait()
                self._changed.clear()
                await (await zeroconf.async_update_service(self._info(hosts)))
        finally:
            await browser.async_cancel()

    def _info(self, hosts: Sequence[str]) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE,
            self._name,
            port=self._port,
            parsed_addresses=list(hosts),
            properties=properties_of(self._peer_id, self._hashes),
            server=f"{self._name.partition('.')[0]}.local.",
        )

    def _seen(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if name == self._name:
            return
        if state_change is ServiceStateChange.Removed:
            gone = self._found.pop(name, None)
            if gone is not None:
                self._went(gone)
        elif name not in self._looking and len(self._looking) < MAX_LOOKUPS:
            self._looking.add(name)
            self._group.create_task(self._look(zeroconf, name))

    async def _look(self, zeroconf: Zeroconf, name: str) -> None:
        try:
            info = AsyncServiceInfo(SERVICE, name)
            if not await info.async_request(zeroconf, LOOKUP_TIMEOUT):
                return
            neighbour = parse_neighbour(info.properties, info.parsed_addresses(), info.port or 0)
        except (MalformedError, Error) as error:
            log.debug("mDNS: %s", error)
            return
        finally:
            self._looking.discard(name)
        if neighbour.name == self._peer_id:
            return
        known = self._found.get(name)
        if known is not None and known != neighbour:
            self._went(known)
        if known is not None or len(self._found) < MAX_FOUND:
            self._found[name] = neighbour
            self._came(neighbour)
