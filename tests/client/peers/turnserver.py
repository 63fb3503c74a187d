"""A TURN server (RFC 8656) over UDP, small and for one machine: enough to relay between tests."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aioice import stun
from aioice.turn import make_integrity_key

REALM = "test"
USERNAME, CREDENTIAL = "1700000000:peer", "secret"
LIFETIME = 600
_CHANNEL_DATA = struct.Struct("!HH")


@dataclass(eq=False)
class Allocation(asyncio.DatagramProtocol):
    """A relayed address of one client."""

    server: "TurnServer"
    client: tuple[str, int]
    channels: dict[int, tuple[str, int]] = field(default_factory=dict)
    transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for channel, peer in self.channels.items():
            if peer == addr:
                self.server.relayed += len(data)
                head = _CHANNEL_DATA.pack(channel, len(data))
                self.server.transport.sendto(head + data, self.client)


class TurnServer(asyncio.DatagramProtocol):
    """``relayed`` counts the bytes that went to clients."""

    def __init__(self) -> None:
        self.relayed = 0
        self.silent = False
        self.transport: Any = None
        self.allocations: dict[tuple[str, int], Allocation] = {}
        self._key = make_integrity_key(USERNAME, REALM, CREDENTIAL)
        self._group: asyncio.TaskGroup | None = None

    @property
    def url(self) -> str:
        host, port = self.transport.get_extra_info("sockname")
        return f"turn:{host}:{port}?transport=udp"

    def reach(self, *urls: str) -> dict[str, object]:
        """What a tracker says of it."""
        turn = {"username": USERNAME, "credential": CREDENTIAL, "seconds": 3600}
        return {"turn": turn | {"urls": [*urls, self.url]}}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.silent:
            return
        if data[0] & 0xC0 == 0x40:
            channel, size = _CHANNEL_DATA.unpack_from(data)
            allocation = self.allocations.get(addr)
            if allocation is not None and channel in allocation.channels:
                allocation.transport.sendto(data[4 : 4 + size], allocation.channels[channel])
            return
        assert self._group is not None
        self._group.create_task(self._answer(stun.parse_message(data), addr))

    async def _answer(self, request: stun.Message, addr: tuple[str, int]) -> None:
        response = stun.Message(
            message_method=request.message_method,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        if request.attributes.get("USERNAME") != USERNAME:
            response.message_class = stun.Class.ERROR
            response.attributes |= {
                "ERROR-CODE": (401, "Unauthorized"),
                "NONCE": b"nonce",
                "REALM": REALM,
            }
            self.transport.sendto(bytes(response), addr)
            return
        match request.message_method:
            case stun.Method.ALLOCATE:
                allocation = Allocation(self, addr)
                loop = asyncio.get_running_loop()
                await loop.create_datagram_endpoint(lambda: allocation, ("127.0.0.1", 0))
                self.allocations[addr] = allocation
                response.attributes["XOR-RELAYED-ADDRESS"] = allocation.transport.get_extra_info(
                    "sockname"
                )
                response.attributes["XOR-MAPPED-ADDRESS"] = addr
                response.attributes["LIFETIME"] = LIFETIME
            case stun.Method.REFRESH:
                response.attributes["LIFETIME"] = request.attributes["LIFETIME"]
                if not request.attributes["LIFETIME"] and addr in self.allocations:
                    self.allocations.pop(addr).transport.close()
            case stun.Method.CHANNEL_BIND:
                number = request.attributes["CHANNEL-NUMBER"]
                peer = request.attributes["XOR-PEER-ADDRESS"]
                self.allocations[addr].channels[number] = peer
        response.add_message_integrity(self._key)
        self.transport.sendto(bytes(response), addr)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["TurnServer"]:
        """Answer on a port of this machine."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as self._group:
            await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
            try:
                yield self
            finally:
                self.transport.close()
                for allocation in self.allocations.values():
                    allocation.transport.close()
