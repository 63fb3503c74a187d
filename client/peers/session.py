"""libtorrent on the event loop: its settings, and its alerts. Everything peculiar to its binding,
that is not about one torrent, stays in here.

libtorrent works in threads of its own and tells of it in alerts. It writes a byte into a socket
when there are some, so nothing polls.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import libtorrent

from client.peers.network import Network, TcpPolicy
from client.peers.reach import Reach
from client.peers.throttle import Rates
from workunits.ids import HASH_SIZE
from workunits.metainfo import LEAF_SIZE, Metainfo, Tree
from workunits.torrents import TorrentInfo

log = logging.getLogger(__name__)

PREFIX = "-OS0100-"
MAX_CONNECTIONS = 200
SLOTS = 8
OFFERS = 6
"""Offers in one announce, and answers between two; libtorrent announces hybrid torrents twice."""

CONNECT_SECONDS = 30
"""How long an offer waits for its answer, and both for a connection."""

MEGABYTE = 1024 * 1024
QUEUE = 8 * MEGABYTE
"""Bytes that may wait for the disk: most of what libtorrent uses of our memory."""

SEND_BUFFER = MEGABYTE // 2
"""Bytes that may wait in one connection."""

REMOVE_SECONDS = 3.0

LOCAL = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)
_READ = 4096


def settings_of(network: Network, limits: Rates) -> dict[str, object]:
    """Settings for libtorrent: nothing of the public network that was not asked for."""
    category = libtorrent.alert.category_t
    direct = network.dials
    hosts = ("0.0.0.0", "[::]") if direct else ("127.0.0.1",)  # noqa: S104 - see ``local_only``
    port = network.port if direct else 0
    return {
        "alert_mask": category.error_notification
        | category.status_notification
        | category.storage_notification
        | category.piece_progress_notification,
        "user_agent": "openswarm/0.1.0",
        "peer_fingerprint": PREFIX,
        "listen_interfaces": ",".join(f"{host}:{port}" for host in hosts),
        "webtorrent_stun_server": "",
        "max_webtorrent_offers": OFFERS,
        "webtorrent_connection_timeout": CONNECT_SECONDS,
        "enable_incoming_tcp": direct,
        "enable_outgoing_tcp": direct,
        "enable_incoming_utp": direct,
        "enable_outgoing_utp": direct,
        "enable_lsd": direct and network.local,
        "enable_dht": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "announce_to_all_trackers": True,
        "announce_to_all_tiers": True,
        "apply_ip_filter_to_trackers": False,
        "connections_limit": MAX_CONNECTIONS,
        "unchoke_slots_limit": SLOTS,
        "max_queued_disk_bytes": QUEUE,
        "send_buffer_watermark": SEND_BUFFER,
        "aio_threads": 4,
        "allow_multiple_connections_per_ip": True,
        "active_downloads": -1,
        "active_seeds": -1,
        "active_limit": -1,
        "stop_tracker_timeout": 0,
        "min_websocket_announce_interval": 5,
    } | rates_of(limits)


def rates_of(limits: Rates) -> dict[str, object]:
    """Bandwidth limits as settings; peers in the LAN count like all others."""
    up, down = limits.up or 0, limits.down or 0
    return {
        "upload_rate_limit": up,
        "local_upload_rate_limit": up,
        "download_rate_limit": down,
        "local_download_rate_limit": down,
    }


def ice_of(reach: Reach) -> str:
    """The one STUN or TURN server that libtorrent takes; a TURN server does both."""
    if reach.turn is not None:
        scheme, _, place = reach.turn.urls[0].partition(":")
        name, secret = quote(reach.turn.username, ""), quote(reach.turn.credential, "")
        return f"{scheme}:{name}:{secret}@{place}"
    return reach.stun[0] if reach.stun else ""


def local_only() -> Any:
    """A filter that keeps TCP and uTP inside of local networks; WebRTC does not ask it."""
    found = libtorrent.ip_filter()
    found.add_rule("0.0.0.0", "255.255.255.255", 1)  # noqa: S104 - all of them
    found.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1)
    for net in map(ip_network, LOCAL):
        found.add_rule(str(net[0]), str(net[-1]), 0)
    return found


class Session:
    """A libtorrent session whose alerts are heard on the event loop that runs at ``open``."""

    def __init__(self, network: Network, limits: Rates, heard: Callable[[Any], None]) -> None:
        """``heard`` must not keep an alert: it is gone when ``heard`` returns."""
        self._network = network
        self._settings: Any = settings_of(network, limits)
        self._heard = heard
        self._held: list[Any] = []
        self._leaving = 0
        self._empty = asyncio.Event()

    def open(self) -> None:
        """Start."""
        self._loop = asyncio.get_running_loop()
        self._reads, self._writes = socket.socketpair()
        for end in (self._reads, self._writes):
            end.setblocking(False)
        self._loop.add_reader(self._reads, self._drain)
        self._held.append(libtorrent.session(self._settings))
        if self._network.tcp is TcpPolicy.LAN:
            self._held[0].set_ip_filter(local_only())
        self._held[0].set_alert_fd(self._writes.fileno())

    async def close(self) -> None:
        """Stop. What torrents have not saved is lost. Whatever libtorrent is connected to must have
        ended before: its destructor waits for that, and no other Python code runs meanwhile."""
        self._loop.remove_reader(self._reads)
        # It ends when its threads do.
        await asyncio.to_thread(self._held.clear)
        self._reads.close()
        self._writes.close()

    def add(self, params: Any) -> Any:
        """Add a torrent; returns its handle. Raises ``RuntimeError``."""
        return self._held[0].add_torrent(params)

    def remove(self, handle: Any) -> None:
        """Remove a torrent; files stay. One that is gone is no error."""
        with suppress(RuntimeError):
            self._held[0].remove_torrent(handle)
            self._leaving += 1

    async def removed(self) -> None:
        """Wait until libtorrent has done what removing torrents takes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REMOVE_SECONDS):
                while self._leaving > 0:
                    self._empty.clear()
                    await self._empty.wait()

    def refresh(self, statuses: list[Any]) -> list[Any]:
        """What ``statuses`` are now, in one question to libtorrent's thread."""
        return list(self._held[0].refresh_torrent_status(statuses, 0)) if statuses else []

    def apply(self, settings: Mapping[str, object]) -> None:
        """Change settings."""
        self._held[0].apply_settings(dict(settings))

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._reads.recv(_READ):
                pass
        if not self._held:
            return
        for alert in self._held[0].pop_alerts():
            if isinstance(alert, libtorrent.torrent_removed_alert):
                self._leaving -= 1
                self._empty.set()
            try:
                self._heard(alert)
            except Exception:
                # A bug about one torrent must not stop the others' alerts.
                log.exception("an alert of libtorrent was not handled")


def digests_of(resume: Mapping[bytes, Any], info: Metainfo | TorrentInfo) -> dict[int, bytes]:
    """Roots of the SHA-256 trees of pieces (BEP 52), as far as libtorrent knows them.

    ``resume`` is the resume data of a torrent of one file. libtorrent hashes each block that it
    writes and keeps the hashes, so nobody has to read the content again.
    """
    trees = resume.get(b"trees") or [{}]
    hashes, mask = trees[0].get(b"hashes", b""), trees[0].get(b"mask", b"")
    at = [index for index, bit in enumerate(_bits(mask)) if bit]
    nodes = {index: hashes[HASH_SIZE * n : HASH_SIZE * (n + 1)] for n, index in enumerate(at)}
    leaves = -(-info.length // LEAF_SIZE)
    first = (1 << (leaves - 1).bit_length()) - 1
    span = info.piece_length // LEAF_SIZE if info.count > 1 else leaves
    found = {}
    for piece in range(info.count):
        tree = Tree()
        for leaf in range(piece * span, min(leaves, (piece + 1) * span)):
            digest = nodes.get(first + leaf)
            if digest is None:
                break
            tree.add(digest)
        else:
            found[piece] = tree.root(1 if info.count == 1 else span)
    return found


def _bits(mask: bytes) -> Iterator[bool]:
    for byte in mask:
        for bit in range(7, -1, -1):
            yield bool(byte >> bit & 1)
