"""A peer that speaks the protocol and can be told to misbehave."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from client.peers import events, extensions, protocol
from client.peers.layout import Block, Layout
from client.peers.protocol import PeerWire
from client.peers.transport import Channel
from workunits.ids import HASH_SIZE
from workunits.metainfo import Metainfo

Respond = Callable[[Block], bytes | None]


class Rogue:
    """A seed of ``data`` unless ``respond`` says otherwise (None answers nothing)."""

    def __init__(
        self,
        info: Metainfo,
        data: bytes,
        channel: Channel,
        *,
        respond: Respond | None = None,
        raw_info: bytes | None = None,
        pieces: set[int] | None = None,
        unchokes: bool = True,
        gives_info: bool = True,
    ) -> None:
        self.info = info
        self.data = data
        self.channel = channel
        self.layout = Layout.of(info.length)
        self.respond = respond or self.honest
        self.raw_info = raw_info or info.raw
        self.pieces = pieces
        self.unchokes = unchokes
        self.gives_info = gives_info
        self.asked: list[Block] = []
        self.events: list[events.Event] = []
        self.ended = False
        self.rejects = False
        self.forges = False
        """Whether it answers hash requests, with noise."""

        names = (info.ref.v1, info.ref.v2)
        self.wire = PeerWire(names, b"rogue" * 4, self.layout, len(info.raw), 0.0)

    def honest(self, block: Block) -> bytes | None:
        start = self.layout.offset_of(block)
        return self.data[start : start + block.length]

    async def run(self) -> None:
        """Serve until the other side hangs up."""
        with suppress(ConnectionError):
            await self.channel.send(self.wire.handshake())
            while raw := await self.channel.receive():
                for event in self.wire.receive(raw, asyncio.get_running_loop().time()):
                    self.events.append(event)
                    await self.react(event)
        self.ended = True

    async def react(self, event: events.Event) -> None:
        send = self.channel.send
        match event:
            case events.Handshaken():
                every = self.pieces is None
                field = protocol.bitfield_of(self.pieces or set(), self.layout.count)
                await send(self.wire.possess(field, every=every))
                await send(self.wire.introduce(metadata=True))
            case events.Interested(on=True) if self.unchokes:
                await send(protocol.message(protocol.UNCHOKE))
            case extensions.MetadataRequested(part) if self.gives_info:
                await send(self.wire.give_metadata(part, self.raw_info))
            case events.HashesRequested(request) if self.forges:
                noise = b"\x5a" * HASH_SIZE * (request.length + request.proof)
                await send(protocol.give_hashes(request, noise))
            case events.Requested(block):
                self.asked.append(block)
                data = self.respond(block)
                if data is not None:
                    await send(protocol.serve(block, data))
                elif self.rejects:
                    await send(self.wire.reject(block))
