"""A child that announces as fast as it is answered, over HTTP or over WebSockets."""

import asyncio
import json
import os
import sys
from asyncio import TaskGroup
from dataclasses import asdict, dataclass, field
from urllib.parse import quote, urlsplit

import aiohttp
import uvloop

from workunits.wire.signalling import Announce, Answer, Offer, RelayedOffer, parse_from_tracker

SDP = "v=0\r\n" + "a=candidate:0 1 UDP 2122252543 192.0.2.1 54321 typ host\r\n" * 6
"""About as long as the offer of a data channel."""

SWARMS = 20
_SEPARATOR = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load is told: where, ``http``, ``socket`` or ``echo``, over how many connections."""

    url: str
    kind: str
    connections: int

    def line(self) -> dict[str, object]:
        """The plan as JSON."""
        return asdict(self)


@dataclass(slots=True)
class Load:
    """Counts what went through. ``sent`` and ``received`` are requests or messages."""

    plan: Plan
    sent: int = 0
    received: int = 0
    hashes: list[bytes] = field(default_factory=lambda: [os.urandom(20) for _ in range(SWARMS)])

    async def run(self) -> None:
        """Run until told to end; answer every line in between with the counts."""
        connections = self.plan.connections
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, TaskGroup() as group:
            tasks = [
                group.create_task(self.connection(http, number)) for number in range(connections)
            ]
            while (await asyncio.to_thread(sys.stdin.readline)).strip() == '"count"':
                print(json.dumps([self.sent, self.received]), flush=True)
            for task in tasks:
                task.cancel()

    async def connection(self, http: aiohttp.ClientSession, number: int) -> None:
        """One connection of the kind that the plan asks for."""
        match self.plan.kind:
            case "http":
                await self.http(number)
            case "socket":
                await self.socket(http, number)
            case _:
                await self.echo(http)

    async def http(self, number: int) -> None:
        """One keep-alive connection of BEP 3 announces; a parser as small as it can be."""
        parts = urlsplit(self.plan.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        request = (
            f"GET /announce?info_hash={quote(self.hashes[number % SWARMS])}"
            f"&peer_id={quote(os.urandom(20))}&port={10_000 + number}&uploaded=0&downloaded=0"
            f"&left=1&compact=1&numwant=50 HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
        ).encode()
        try:
            while True:
                writer.write(request)
                self.sent += 1
                head = await reader.readuntil(_SEPARATOR)
                if not head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(head[:200])
                at = head.lower().index(_LENGTH) + len(_LENGTH)
                body = await reader.readexactly(int(head[at : head.index(b"\r", at)]))
                if b"failure reason" in body:
                    raise RuntimeError(body[:200])
                self.received += 1
        finally:
            writer.close()

    async def socket(self, http: aiohttp.ClientSession, number: int) -> None:
        """One WebTorrent peer: announces with one offer, answers every offer that it gets."""
        info_hash, me = self.hashes[number % SWARMS], os.urandom(20)
        async with http.ws_connect(f"{self.plan.url}/announce") as socket:

            async def announce() -> None:
                offers = (Offer(os.urandom(20), SDP),)
                await socket.send_str(Announce(info_hash, me, left=1, offers=offers).encode())
                self.sent += 1

            await announce()
            async for frame in socket:
                self.received += 1
                text: str = frame.data
                if '"interval"' in text:
                    await announce()
                elif '"offer"' in text:
                    offer = parse_from_tracker(text)
                    assert isinstance(offer, RelayedOffer)
                    answer = Answer(info_hash, me, offer.peer_id, offer.offer_id, SDP)
                    await socket.send_str(answer.encode())
                    self.sent += 1
                elif "failure reason" in text:
                    raise RuntimeError(text[:200])

    async def echo(self, http: aiohttp.ClientSession) -> None:
        """One WebSocket to a server that sends everything back."""
        text = Announce(os.urandom(20), os.urandom(20), 1, offers=(Offer(b"o" * 20, SDP),)).encode()
        async with http.ws_connect(f"{self.plan.url}/announce") as socket:
            while True:
                await socket.send_str(text)
                self.sent += 1
                await socket.receive_str()
                self.received += 1


if __name__ == "__main__":
    uvloop.run(Load(Plan(**json.loads(sys.stdin.readline()))).run())
