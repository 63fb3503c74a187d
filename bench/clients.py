"""Clients of trackers that do as little as they can, so that the server is what is measured.

Each asks again as soon as it is answered. They cut replies by hand and trust the server; a reply
that is a refusal ends the load.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from struct import Struct
from typing import cast
from urllib.parse import quote

from workunits.wire.signalling import Announce, Answer, Offer

SDP = "v=0\r\n" + "a=candidate:0 1 UDP 2122252543 192.0.2.1 54321 typ host\r\n" * 6
"""About as long as the offer of a data channel."""

HASHES = tuple(sha1(b"swarm %d" % number).digest() for number in range(1000))
"""The swarms of every load; a plan says how many of them it uses."""

PEERS = 32
"""Peers that one connection speaks for, over HTTP and UDP."""

OFFERS = 5
"""Offers in one announce: as many as WebTorrent makes (libtorrent makes 10)."""

WINDOW = 16
"""Datagrams that one UDP socket has under way."""

_CONNECT = bytes.fromhex("0000041727101980") + bytes(4)
_ANNOUNCE = Struct(">8sI4s20s20sQQQIIIiH")
_TEXT = 0x81
_PONG, _PING, _CLOSE = 0x8A, 0x89, 0x88


@dataclass(slots=True)
class Tally:
    """Requests or messages that went through; ``failure`` is why the load cannot go on."""

    sent: int = 0
    received: int = 0
    failure: str = ""
    over: bool = False

    def fail(self, reason: object) -> None:
        """Keep the first reason."""
        self.failure = self.failure or str(reason)[:300]


def peer_port(connection: int, peer: int) -> int:
    """A port of its own for every peer: that, and not the peer id, is how trackers know them."""
    return 1024 + (connection * PEERS + peer) % 64000


def http_requests(host: str, connection: int, swarms: int, path: str = "/announce") -> list[bytes]:
    """What one connection asks, in turn: an announce for each of its peers."""
    return [
        (
            f"GET {path}?info_hash={quote(HASHES[(connection * PEERS + peer) % swarms])}"
            f"&peer_id=-XX0001-{connection:06}{peer:06}&port={peer_port(connection, peer)}"
            f"&uploaded=0&downloaded=0&left={peer % 2}&compact=1&numwant=50 HTTP/1.1\r\n"
            f"Host: {host}\r\nUser-Agent: bench\r\nAccept-Encoding: identity\r\n\r\n"
        ).encode()
        for peer in range(PEERS)
    ]


class HttpClient(asyncio.Protocol):
    """One connection of announces; opens another when the server closes it after a reply."""

    def __init__(
        self, tally: Tally, requests: Iterator[bytes], reconnect: Callable[["HttpClient"], None]
    ) -> None:
        self._tally = tally
        self._requests = requests
        self._reconnect = reconnect
        self._rest = b""
        self._asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Count a reply and ask again."""
        data = self._rest + data
        head = data.find(b"\r\n\r\n")
        if head >= 0:
            at = data.lower().index(b"content-length:", 0, head + 2) + 15
            size = int(data[at : data.index(b"\r", at)])
            if len(data) >= head + 4 + size:
                if b"failure reason" in data or not data.startswith(b"HTTP/1.1 200"):
                    self._tally.fail(data)
                self._tally.received += 1
                self._rest = b""
                self._asked = False
                if not self._transport.is_closing():
                    self._ask()
                return
        self._rest = data

    def connection_lost(self, exc: Exception | None) -> None:
        """Open another one, unless the load is over."""
        self._rest = b""
        if not self._tally.over:
            self._reconnect(self)

    def _ask(self) -> None:
        self._tally.sent += 1
        self._transport.write(next(self._requests))


class UdpClient:
    """One socket of BEP 15 announces, ``WINDOW`` of them under way."""

    def __init__(
        self, tally: Tally, address: tuple[str, int], connection: int, swarms: int
    ) -> None:
        self._tally = tally
        self._swarms = swarms
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(address)
        self._number = connection
        self._requests: Iterator[bytes] = iter(())
        self._heard = 0

    def start(self) -> None:
        """Ask for a connection id."""
        self.socket.send(_CONNECT + b"\0\0\0\0")

    def ready(self) -> None:
        """Take every reply that waits and ask again for each."""
        receive, send, tally = self.socket.recv, self.socket.send, self._tally
        try:
            while True:
                reply = receive(2048)
                if reply[3] == 1:
                    tally.received += 1
                    send(next(self._requests))
                elif reply[3] == 0:
                    self._requests = itertools.cycle(self._announces(reply[8:16]))
                    for _ in range(WINDOW):
                        send(next(self._requests))
                    tally.sent += WINDOW - 1
                else:
                    tally.fail(reply[8:])
                tally.sent += 1
        except BlockingIOError:
            pass
        except OSError as error:
            tally.fail(error)

    def nudge(self) -> None:
        """Ask again when nothing came since the last nudge: datagrams get lost."""
        if self._heard == self._tally.received:
            self.start()
        self._heard = self._tally.received

    def _announces(self, connection: bytes) -> Iterable[bytes]:
        return [
            _announce(
                *(connection, self._number * PEERS + peer, self._swarms),
                peer_port(self._number, peer),
            )
            for peer in range(PEERS)
        ]


class FakeClient(UdpClient):
    """One socket that announces a new peer every time, and nobody is behind any of them.

    With ``pace`` (announces a second) it sends on and on, whatever is answered; without, it waits
    for answers as others do.
    """

    def __init__(self, tally: Tally, address: tuple[str, int], swarms: int, pace: float) -> None:
        super().__init__(tally, address, 0, swarms)
        self._pace = pace
        self._due = 0.0

    def ready(self) -> None:
        """Take replies; with a pace they are no reason to send."""
        if not self._pace:
            super().ready()
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                reply = self.socket.recv(2048)
                if reply[3] == 0:
                    self._requests = iter(self._announces(reply[8:16]))
                    self._due = time.monotonic()
                else:
                    self._tally.received += 1

    def nudge(self) -> None:
        """Send what is due."""
        if not self._pace or not self._due:
            super().nudge()
            return
        count = int((time.monotonic() - self._due) * self._pace)
        self._due += count / self._pace
        with contextlib.suppress(BlockingIOError):
            for _ in range(count):
                self.socket.send(next(self._requests))
                self._tally.sent += 1

    def _announces(self, connection: bytes) -> Iterable[bytes]:
        for peer in itertools.count():
            yield _announce(connection, peer, self._swarms, 1024 + peer // self._swarms % 64000)


def _announce(connection: bytes, peer: int, swarms: int, port: int) -> bytes:
    return _ANNOUNCE.pack(
        *(connection, 1, b"tran", HASHES[peer % swarms], b"-XX0001-%012d" % peer),
        *(0, peer % 2, 0, 0, 0, peer & 0xFFFFFFFF, 50, port),
    )


def frame(payload: bytes) -> bytes:
    """A text frame as a client sends it, masked (with zeros, which leaves it as it is)."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([_TEXT]) + length + bytes(4) + payload


@dataclass(slots=True)
class _Peer:
    """What a WebTorrent peer says, cut where its ids go in."""

    announce: tuple[bytes, ...]
    answer: tuple[bytes, ...]


def _peer(number: int, swarms: int) -> _Peer:
    info_hash, me = HASHES[number % swarms], b"-XX0001-%012d" % number
    ids = [b"%020d" % each for each in range(OFFERS)]
    offers = tuple(Offer(each, SDP) for each in ids)
    announce = Announce(info_hash, me, 1, numwant=OFFERS, offers=offers).encode()
    answer = Answer(info_hash, me, ids[0], ids[1], SDP).encode()
    return _Peer(_cut(announce, ids), _cut(answer, ids[:2]))


def _cut(text: str, ids: list[bytes]) -> tuple[bytes, ...]:
    parts, rest = [], text.encode()
    for each in ids:
        before, _, rest = rest.partition(each)
        parts.append(before)
    return (*parts, rest)


class SocketClient(asyncio.Protocol):
    """One WebTorrent peer: announces with offers, answers every offer that it gets."""

    def __init__(self, tally: Tally, host: str, number: int, swarms: int) -> None:
        self._tally = tally
        self._host = host
        self._peer = _peer(number, swarms)
        self._offers = itertools.cycle(_offer_ids())
        self._rest = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(
            f"GET /announce HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take every whole frame."""
        data = self._rest + data
        at = 0
        if not self._open:
            at = data.find(b"\r\n\r\n") + 4
            if at == 3:
                self._rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._tally.fail(data)
            self._open = True
            self._announce()
        while len(data) >= at + 2:
            kind, size, start = data[at], data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            if len(data) < start + size:
                break
            at = start + size
            if kind == _TEXT:
                self._take(data[start:at])
            elif kind == _PING:
                self._transport.write(bytes([_PONG, 0x80 | size]) + bytes(4) + data[start:at])
            else:
                self._tally.fail(data[start:at])
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        """That is not expected before the end."""
        if not self._tally.over:
            self._tally.fail("the tracker has closed a WebSocket")

    def _take(self, text: bytes) -> None:
        self._tally.received += 1
        if b'"offer"' in text:
            first, middle, last = self._peer.answer
            asker, offer = _value(text, b'"peer_id":"'), _value(text, b'"offer_id":"')
            self._send(first + asker + middle + offer + last)
        elif b'"interval"' in text:
            self._announce()
        elif b"failure reason" in text:
            self._tally.fail(text)

    def _announce(self) -> None:
        *parts, last = self._peer.announce
        offers = self._offers
        self._send(b"".join([part + next(offers) for part in parts]) + last)

    def _send(self, payload: bytes) -> None:
        self._tally.sent += 1
        self._transport.write(frame(payload))


class EchoClient(SocketClient):
    """One WebSocket to a server that sends everything back."""

    def _take(self, text: bytes) -> None:
        self._tally.received += 1
        self._announce()


def _value(text: bytes, key: bytes) -> bytes:
    at = text.index(key) + len(key)
    return text[at : text.index(b'"', at)]


def _offer_ids() -> list[bytes]:
    # Half of the bytes take two in UTF-8, as in life; none of them needs an escape in JSON.
    plain = [chr(byte) for byte in range(256) if byte >= 160 or chr(byte).isalnum()]
    return [
        "".join(plain[byte % len(plain)] for byte in os.urandom(20)).encode() for _ in range(512)
    ]
