"""The UDP tracker (BEP 15): a datagram in, at most one datagram out, and the sockets.

Nobody is answered who has not shown that the address is theirs, by a connection id that was sent
there; the answer to a connect request has the size of the request. So a datagram with a forged
source brings a victim no more than the forger has sent.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import lru_cache

from tracker.announce.datagrams import (
    KEY_SIZE,
    MAX_DATAGRAM,
    Action,
    ConnectionIds,
    Head,
    encode_announced,
    encode_connected,
    encode_failure,
    encode_scraped,
    parse_announce,
    parse_head,
    parse_scrape,
)
from tracker.announce.handlers import AnnounceService
from tracker.announce.http import DEFAULT_PEERS, INTERVAL, MAX_PEERS, pack_address
from tracker.announce.swarms import PORT_SIZE
from workunits.errors import MalformedError, RemoteError

MAX_BATCH = 128
"""Datagrams that are taken before others have their turn."""

RECEIVE_BUFFER = 4 << 20
_V4_SIZE = 4
_CONNECT, _ANNOUNCE, _SCRAPE = int(Action.CONNECT), int(Action.ANNOUNCE), int(Action.SCRAPE)


class UdpService:
    """Answers datagrams from the state of ``service``. ``secret`` is for connection ids."""

    __slots__ = ("_ids", "_service")

    def __init__(self, service: AnnounceService, secret: bytes | None = None) -> None:
        self._service = service
        self._ids = ConnectionIds(secret or secrets.token_bytes(KEY_SIZE))

    def answer(self, raw: bytes, source: bytes) -> bytes | None:
        """The reply to a datagram from ``source``, a packed address of 4 or 16 bytes; or none."""
        service, head = self._service, parse_head(raw)
        if head is None:
            service.tally.udp_dropped += 1
            return None
        now = service.clock()
        if head.action == _CONNECT and head.connecting:
            service.tally.udp_connects += 1
            return encode_connected(head.transaction, self._ids.issue(source, now))
        if not self._ids.valid(head.connection, source, now):
            service.tally.udp_dropped += 1
            return None
        try:
            return self._announce(raw, head, source, now)
        except RemoteError as error:
            service.tally.refused += 1
            return encode_failure(head.transaction, error)

    def _announce(self, raw: bytes, head: Head, source: bytes, now: float) -> bytes:
        service = self._service
        if head.action == _SCRAPE:
            return self._scrape(raw, head)
        if head.action != _ANNOUNCE:
            raise MalformedError(
                f"action {head.action} is not known", hint="send 1 to announce, 2 to scrape"
            )
        service.tally.udp_announces += 1
        asked = parse_announce(raw)
        service.admission.admit(asked.url)
        wanted = DEFAULT_PEERS if asked.numwant is None else min(asked.numwant, MAX_PEERS)
        counts, v4, v6, _ = service.swarms.announce_packed(
            asked.info_hash,
            source + asked.port.to_bytes(PORT_SIZE, "big"),
            asked.peer_id,
            left=asked.left,
            event=asked.event,
            numwant=wanted,
            now=now,
            token=asked.token,
            both=False,
        )
        peers = v4 if len(source) == _V4_SIZE else v6
        return encode_announced(
            head.transaction, INTERVAL, counts.incomplete, counts.complete, peers
        )

    def _scrape(self, raw: bytes, head: Head) -> bytes:
        service = self._service
        service.tally.udp_scrapes += 1
        service.admission.admit("")
        found = []
        for info_hash in parse_scrape(raw):
            counts = service.swarms.counts(info_hash)
            # The reply has no place to say that a torrent is not tracked: it goes by the order.
            found.append(
                (counts.complete, counts.downloaded, counts.incomplete) if counts else (0, 0, 0)
            )
        return encode_scraped(head.transaction, found)


@asynccontextmanager
async def serve_udp(
    service: AnnounceService, host: str, port: int, *, secret: bytes | None = None
) -> AsyncIterator[int]:
    """Answer datagrams to ``host`` and ``port`` (0 for any) until the block is left; gives the
    port. Raises ``OSError`` if it cannot listen there."""
    loop = asyncio.get_running_loop()
    udp = UdpService(service, secret)
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            opened = stack.enter_context(socket.socket(family, kind, protocol))
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((address[0], port, *address[2:]))
            port = opened.getsockname()[1]
            sockets.append(opened)
        for opened in sockets:
            loop.add_reader(opened, _take, opened, udp)
            stack.callback(loop.remove_reader, opened)
        yield port


def _take(opened: socket.socket, udp: UdpService) -> None:
    """Answer what waits. A reply that cannot be sent at once is lost, as datagrams may be."""
    for _ in range(MAX_BATCH):
        try:
            raw, address = opened.recvfrom(MAX_DATAGRAM + 1)
        except OSError:
            # Nothing waits; or an earlier reply found nobody (ICMP), which says nothing here.
            return
        reply = udp.answer(raw, _packed(address[0]))
        if reply is not None:
            try:
                opened.sendto(reply, address)
            except OSError:
                continue


@lru_cache(maxsize=4096)
def _packed(host: str) -> bytes:
    return pack_address(host, 0)[:-PORT_SIZE]
