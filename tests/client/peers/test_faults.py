"""Whatever one peer does costs it its connection, and costs the others nothing.

Every fault is tried over streams in memory and over TCP, alone and beside an honest peer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from client.peers import events, protocol
from client.peers.company import SILENCE_TIMEOUT
from client.peers.layout import BLOCK_SIZE, Block
from client.peers.picker import DROP_TIMEOUT
from client.peers.tcp import TcpChannel
from client.peers.torrent import Torrent
from client.peers.transport import Channel, MemoryChannel
from client.shelf import BlobShelf
from tests.client.peers.conftest import MakeStore, until
from tests.client.peers.rogue import Rogue
from tests.client.receiving import info_of
from workunits.links import Target
from workunits.torrents import of_blob

DATA = Random(4).randbytes(1_000_000)
"""pieces of one block each."""

INFO = info_of(DATA)
MILLION = 1_000_000
HONEST, BAD = b"honest" + bytes(14), b"bad" + bytes(17)

Pair = tuple[Channel, Channel]
Carrier = Callable[[], Awaitable[Pair]]


async def in_memory() -> Pair:
    return MemoryChannel.pair()


async def over_tcp() -> Pair:
    came: asyncio.Future[TcpChannel] = asyncio.get_running_loop().create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set_result(TcpChannel(reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    server.close()
    return await came, TcpChannel(reader, writer)


class Arena:
    """A download, a bad peer, and an honest one: another of our torrents, which seeds."""

    def __init__(
        self, make_store: MakeStore, carrier: Carrier, group: asyncio.TaskGroup, data: bytes
    ) -> None:
        self.now = 1000.0
        self.carrier = carrier
        self.group = group
        self.data = data
        self.info = info_of(data)
        self.channels: list[Channel] = []
        store = make_store()
        store.add(data)
        self.honest = self.torrent(BlobShelf(store, self.info.ref), HONEST)
        self.ours = self.torrent(BlobShelf(make_store(), self.info.ref), b"us" * 10)
        self.tasks = [group.create_task(self.ours.receive())]

    def torrent(self, shelf: BlobShelf, name: bytes) -> Torrent:
        target = Target.of(self.info.ref)
        return Torrent(target, shelf, name, rng=Random(3), clock=lambda: self.now)

    async def connect(self, torrent: Torrent, name: bytes) -> Channel:
        near, far = await self.carrier()
        self.channels += [near, far]
        self.tasks.append(self.group.create_task(torrent.attach(near, name)))
        return far

    async def meet_honest(self) -> None:
        far = await self.connect(self.ours, HONEST)
        self.tasks.append(self.group.create_task(self.honest.attach(far, b"us" * 10)))

    async def meet_bad(self, torrent: Torrent | None = None, **manners: bool) -> Rogue:
        rogue = Rogue(self.info, self.data, await self.connect(torrent or self.ours, BAD))
        for manner, value in manners.items():
            setattr(rogue, manner, value)
        self.tasks.append(self.group.create_task(rogue.run()))
        return rogue

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.ours.tick()
            self.honest.tick()

    async def completed(self) -> bytes:
        """The content, while seconds pass."""
        async with asyncio.timeout(60):
            while not self.ours.complete.is_set():
                await asyncio.sleep(0.02)
                self.advance(1)
            return (await self.ours.finish()).read_bytes()


@asynccontextmanager
async def arena(
    make_store: MakeStore, carrier: Carrier, data: bytes = DATA
) -> AsyncIterator[Arena]:
    async with asyncio.TaskGroup() as group:
        made = Arena(make_store, carrier, group, data)
        try:
            yield made
        finally:
            for task in made.tasks:
                task.cancel()
            for channel in made.channels:
                await channel.close()
            made.ours.close()
            made.honest.close()


def flipped(data: bytes | None) -> bytes:
    assert data
    return bytes([data[0] ^ 1]) + data[1:]


# -- what a bad peer does; each returns when the harm is under way ------------------------------


async def corrupt(at: Arena) -> Rogue:
    bad = await at.meet_bad()
    bad.respond = lambda block: flipped(bad.honest(block))
    await until(lambda: bad.ended)
    return bad


async def corrupt_a_little(at: Arena) -> Rogue:
    """One piece in ten is wrong."""
    bad = await at.meet_bad()
    bad.respond = lambda b: flipped(bad.honest(b)) if b.piece % 10 == 0 else bad.honest(b)
    await until(lambda: bad.ended)
    return bad


async def forge_hashes(at: Arena) -> Rogue:
    """What it says of the SHA-256 tree is noise."""
    bad = await at.meet_bad(forges=True)
    await until(lambda: bad.ended)
    return bad


async def reject(at: Arena) -> Rogue:
    """It says that it has everything and rejects every request."""
    bad = await at.meet_bad(rejects=True)
    bad.respond = lambda _: None
    await until(lambda: len(bad.asked) >= INFO.count)
    return bad


async def send_nothing(at: Arena) -> Rogue:
    bad = await at.meet_bad()
    bad.respond = lambda _: None
    await until(lambda: bad.asked)
    return bad


async def stall_in_the_middle(at: Arena) -> Rogue:
    bad = await at.meet_bad()
    bad.respond = lambda block: bad.honest(block) if len(bad.asked) < 20 else None
    await until(lambda: len(bad.asked) > 20)
    return bad


async def go_silent_at_99_percent(at: Arena) -> Rogue:
    bad = await at.meet_bad()
    bad.respond = lambda block: bad.honest(block) if len(bad.asked) < INFO.count else None
    await until(lambda: len(bad.asked) >= INFO.count)
    await until(lambda: at.ours.done >= len(DATA) - BLOCK_SIZE)
    return bad


async def vanish_at_99_percent(at: Arena) -> Rogue:
    bad = await go_silent_at_99_percent(at)
    await bad.channel.close()
    return bad


async def send_what_nobody_asked_for(at: Arena) -> Rogue:
    bad = await at.meet_bad(unchokes=False)
    await until(lambda: bad.events)
    block = protocol.serve(Block(1, 0, BLOCK_SIZE), bytes(BLOCK_SIZE))
    with suppress(ConnectionError):
        for _ in range(400):
            await bad.channel.send(block * 16)
    return bad


async def claim_four_gigabytes(at: Arena) -> Rogue:
    bad = await at.meet_bad(unchokes=False)
    await until(lambda: bad.events)
    await bad.channel.send(b"\xff\xff\xff\xff\x07")
    return bad


def flood(message: bytes, count: int = MILLION) -> Callable[[Arena], Awaitable[Rogue]]:
    """The message again and again, until the connection ends."""

    async def flooding(at: Arena) -> Rogue:
        bad = await at.meet_bad(unchokes=False)
        await until(lambda: bad.events)
        burst = message * 1000
        with suppress(ConnectionError):
            for _ in range(count // 1000):
                await bad.channel.send(burst)
        await until(lambda: bad.ended)
        return bad

    return flooding


async def flood_requests_while_served(at: Arena) -> Rogue:
    """It is given a slot, and asks for one thing without end."""
    bad = await at.meet_bad()
    bad.respond = lambda block: bad.honest(block) if len(bad.asked) < 20 else None
    await until(lambda: len(bad.asked) > 20)
    await bad.channel.send(protocol.message(protocol.INTERESTED))
    await until(lambda: events.Choking(on=False) in bad.events)
    piece = bad.asked[0].piece
    request = protocol.request(Block(piece, 0, BLOCK_SIZE)) * 1000
    with suppress(ConnectionError):
        for _ in range(1000):
            await bad.channel.send(request)
    await until(lambda: bad.ended)
    return bad


FAULTS: dict[str, Callable[[Arena], Awaitable[Rogue]]] = {
    "corrupt": corrupt,
    "corrupt a little": corrupt_a_little,
    "forge hashes": forge_hashes,
    "reject": reject,
    "send nothing": send_nothing,
    "stall": stall_in_the_middle,
    "silent at 99 %": go_silent_at_99_percent,
    "vanish at 99 %": vanish_at_99_percent,
    "unasked": send_what_nobody_asked_for,
    "4 GB": claim_four_gigabytes,
    "keepalives": flood(bytes(4)),
    "haves": flood(protocol.have(1)),
    "chokes": flood(protocol.message(protocol.UNCHOKE)),
    "requests": flood(protocol.request(Block(0, 0, BLOCK_SIZE))),
    "requests while served": flood_requests_while_served,
}
LIES = {"corrupt", "corrupt a little", "forge hashes"}
"""Faults after which the peer is not let in again."""

carriers = pytest.mark.parametrize("carrier", [in_memory, over_tcp])
faults = pytest.mark.parametrize("fault", FAULTS)


@carriers
@faults
async def test_a_fault_costs_the_peer_its_connection(
    make_store: MakeStore, carrier: Carrier, fault: str
) -> None:
    async with arena(make_store, carrier) as at:
        bad = await FAULTS[fault](at)
        if not bad.ended:
            await asyncio.sleep(0)
            at.advance(DROP_TIMEOUT + 2)
        await until(lambda: at.ours.peers == 0)
        if fault in LIES:
            assert BAD in at.ours.company.banned
        assert at.ours.failure is None
        await at.meet_honest()
        assert await at.completed() == DATA


@carriers
@faults
async def test_a_fault_costs_the_download_nothing(
    make_store: MakeStore, carrier: Carrier, fault: str
) -> None:
    async with arena(make_store, carrier) as at:
        await FAULTS[fault](at)
        before = at.ours.done
        await at.meet_honest()
        assert await at.completed() == DATA
        assert at.ours.company.banned <= {BAD}
        # What came is not fetched again, but for what was under way twice, or wrong.
        assert at.honest.traffic.sent <= len(DATA) - before + 16 * BLOCK_SIZE


@carriers
async def test_a_download_whose_only_source_vanishes_at_99_percent_needs_only_the_rest(
    make_store: MakeStore, carrier: Carrier
) -> None:
    async with arena(make_store, carrier) as at:
        await vanish_at_99_percent(at)
        await until(lambda: at.ours.peers == 0)
        at.advance(600)
        assert not at.ours.complete.is_set() and at.ours.failure is None
        await at.meet_honest()
        assert await at.completed() == DATA
        assert at.honest.traffic.sent <= 2 * BLOCK_SIZE


@carriers
async def test_many_liars_at_once_do_not_hide_the_honest_peer(
    make_store: MakeStore, carrier: Carrier
) -> None:
    async with arena(make_store, carrier) as at:
        for number in range(9):
            bad = await at.meet_bad(rejects=number % 2 == 0)
            bad.respond = lambda _: None
        await until(lambda: at.ours.peers == 9)
        await at.meet_honest()
        assert await at.completed() == DATA


async def test_who_connects_before_the_metainfo_is_known_and_speaks_after_it_is_understood(
    make_store: MakeStore,
) -> None:
    async with arena(make_store, in_memory) as at:
        far = await at.connect(at.ours, HONEST)
        await until(lambda: at.ours.peers == 1)
        at.ours.know(of_blob(INFO))
        await until(lambda: at.ours._storage is not None)
        at.tasks.append(at.group.create_task(at.honest.attach(far, b"us" * 10)))
        assert await at.completed() == DATA


async def test_a_peer_that_asks_and_never_reads_holds_nobody_up(make_store: MakeStore) -> None:
    data = Random(6).randbytes(8_000_000)
    async with arena(make_store, over_tcp, data) as at:
        channel = await at.connect(at.honest, BAD)
        wire = Rogue(at.info, data, channel).wire
        await channel.send(wire.handshake())
        await channel.send(protocol.message(protocol.INTERESTED))
        seen = b""
        while not seen.endswith(protocol.message(protocol.UNCHOKE)):
            seen += await channel.receive()
        for piece in range(at.info.count - 1):
            await channel.send(protocol.request(Block(piece, 0, BLOCK_SIZE)))
        # From here on it does not read. The kernel takes some of what we send, we keep the rest.
        await at.meet_honest()
        async with asyncio.timeout(60):
            await at.ours.complete.wait()
        assert (await at.ours.finish()).read_bytes() == data
        stuck = [c for c in at.honest.company if c.remote == BAD]
        assert len(stuck) == 1 and stuck[0].waiting < 100_000
        at.now += SILENCE_TIMEOUT + 2
        at.honest.tick()
        await until(lambda: not any(c.remote == BAD for c in at.honest.company))
