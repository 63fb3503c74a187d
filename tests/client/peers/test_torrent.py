"""One blob among well- and ill-behaved peers, over in-memory channels and with a false clock."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from client.blobs import BlobStore
from client.peers import events, extensions, protocol
from client.peers.company import HANDSHAKE_TIMEOUT, KEEPALIVE, SILENCE_TIMEOUT
from client.peers.extensions import QUEUE_LIMIT
from client.peers.layout import BLOCK_SIZE, Block, Layout
from client.peers.picker import DROP_TIMEOUT, STALL_TIMEOUT
from client.peers.torrent import Torrent
from client.peers.transport import MemoryChannel
from client.shelf import BlobShelf
from tests.client.peers.conftest import MakeStore, until
from tests.client.peers.rogue import Respond, Rogue
from workunits.errors import LimitError, LocalError, MalformedError, SwarmError
from workunits.ids import BlobRef
from workunits.links import Target
from workunits.metainfo import Hasher, Metainfo, build_info

DATA = Random(1).randbytes(700_000)
"""43 pieces of one block each."""

BIG = Random(2).randbytes(20 * 1024 * 1024)
"""640 pieces of two blocks each."""


def info_of(data: bytes) -> Metainfo:
    hasher = Hasher(len(data))
    hasher.update(data)
    return hasher.finish().info


def flipped(data: bytes | None) -> bytes:
    assert data
    return bytes([data[0] ^ 1]) + data[1:]


class Bench:
    """A torrent under test and the peers that the test connects to it."""

    def __init__(self, store: BlobStore, ref: BlobRef, group: asyncio.TaskGroup) -> None:
        self.now = 1000.0
        self.store = store
        self.torrent = Torrent(
            *(Target.of(ref), BlobShelf(store, ref), b"t" * 20),
            rng=Random(3),
            clock=lambda: self.now,
        )
        self.group = group
        self.tasks = [group.create_task(self.torrent.receive())]

    def connect(
        self,
        info: Metainfo,
        data: bytes,
        *,
        name: bytes = b"",
        respond: Respond | None = None,
        raw_info: bytes | None = None,
        pieces: set[int] | None = None,
        unchokes: bool = True,
        gives_info: bool = True,
    ) -> Rogue:
        channel = self.raw(name)
        rogue = Rogue(
            info,
            data,
            channel,
            respond=respond,
            raw_info=raw_info,
            pieces=pieces,
            unchokes=unchokes,
            gives_info=gives_info,
        )
        self.tasks.append(self.group.create_task(rogue.run()))
        return rogue

    def raw(self, name: bytes = b"") -> MemoryChannel:
        ours, theirs = MemoryChannel.pair()
        remote = name or os.urandom(20)
        self.tasks.append(self.group.create_task(self.torrent.attach(ours, remote)))
        return theirs

    async def completed(self, seconds: float = 30.0) -> bytes:
        async with asyncio.timeout(seconds):
            await self.torrent.complete.wait()
            return (await self.torrent.finish()).read_bytes()

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.torrent.tick()


@asynccontextmanager
async def bench(make_store: MakeStore, ref: BlobRef) -> AsyncIterator[Bench]:
    async with asyncio.TaskGroup() as group:
        made = Bench(make_store(), ref, group)
        try:
            yield made
        finally:
            for task in made.tasks:
                task.cancel()
            made.torrent.close()


async def test_a_blob_comes_from_several_peers(make_store: MakeStore) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        count = Layout.of(len(DATA)).count
        half = set(range(count // 2))
        sources = [
            at.connect(info, DATA, pieces=half),
            at.connect(info, DATA, pieces=set(range(count)) - half),
        ]
        assert await at.completed() == DATA
        assert all(source.asked for source in sources)
        assert at.torrent.traffic.peers == len(DATA)


async def test_a_peer_that_sends_wrong_pieces_is_closed_and_the_blob_still_comes(
    make_store: MakeStore,
) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        bad = at.connect(info, DATA, name=b"bad" + bytes(17))
        bad.respond = lambda block: flipped(bad.honest(block))
        await until(lambda: bad.ended)
        assert b"bad" + bytes(17) in at.torrent.company.banned
        at.connect(info, DATA)
        assert await at.completed() == DATA


async def test_one_liar_among_several_senders_of_a_piece_is_found(make_store: MakeStore) -> None:
    info = info_of(BIG)
    async with bench(make_store, info.ref) as at:
        # It lies about the second block of a piece only, so that pieces are mixed.
        bad = at.connect(info, BIG, name=b"bad" + bytes(17))
        good = [at.connect(info, BIG, name=b"good%d" % n + bytes(15)) for n in range(3)]
        bad.respond = lambda b: flipped(bad.honest(b)) if b.begin else bad.honest(b)
        assert await at.completed() == BIG
        assert at.torrent.company.banned == {b"bad" + bytes(17)}
        assert bad.ended and any(source.asked for source in good)


async def test_a_peer_that_vanishes_in_mid_download_is_replaced(make_store: MakeStore) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        leaving = at.connect(info, DATA)
        leaving.respond = lambda b: leaving.honest(b) if len(leaving.asked) < 10 else None
        await until(lambda: len(leaving.asked) > 10)
        at.connect(info, DATA)
        await leaving.channel.close()
        assert await at.completed() == DATA
        assert not at.torrent.company.banned


async def test_a_peer_that_stalls_costs_little_and_is_dropped(make_store: MakeStore) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        stalling = at.connect(info, DATA, respond=lambda _: None)
        await until(lambda: stalling.asked)
        at.advance(STALL_TIMEOUT + 2)
        at.connect(info, DATA)
        assert await at.completed() == DATA
    async with bench(make_store, info.ref) as at:
        stalling = at.connect(info, DATA, respond=lambda _: None)
        await until(lambda: stalling.asked)
        at.advance(DROP_TIMEOUT + 2)
        await until(lambda: stalling.ended)


async def test_a_peer_without_the_blob_s_metainfo_is_closed_when_it_forges_it(
    make_store: MakeStore,
) -> None:
    info = info_of(DATA)
    forged = bytes(len(info.raw))
    async with bench(make_store, info.ref) as at:
        liar = at.connect(info, DATA, raw_info=forged)
        await until(lambda: liar.ended)
        at.connect(info, DATA)
        assert await at.completed() == DATA


async def test_a_peer_that_never_answers_for_metainfo_is_passed_over(
    make_store: MakeStore,
) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        mute = at.connect(info, DATA, gives_info=False)
        await until(lambda: extensions.MetadataRequested(0) in mute.events)
        at.connect(info, DATA)
        download = at.torrent._download
        await until(lambda: download is not None and len(download._sources) == 2)
        at.advance(12)
        assert await at.completed() == DATA


async def test_a_peer_that_chokes_in_the_middle_is_waited_for(make_store: MakeStore) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        moody = at.connect(info, DATA, unchokes=False)
        await until(lambda: events.Interested(on=True) in moody.events)
        assert moody.asked == []
        await moody.channel.send(protocol.message(protocol.UNCHOKE))
        assert await at.completed() == DATA


async def test_rejected_blocks_are_asked_of_others(make_store: MakeStore) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        refusing = at.connect(info, DATA, pieces={0, 1, 2}, respond=lambda _: None)
        refusing.rejects = True
        await until(lambda: refusing.asked)
        at.connect(info, DATA)
        assert await at.completed() == DATA


async def test_pieces_with_right_sha1_and_wrong_v2_root_are_all_rejected(
    make_store: MakeStore,
) -> None:
    forged = build_info(len(DATA), bytes(32), info_of(DATA).pieces)
    async with bench(make_store, forged.ref) as at:
        at.connect(forged, DATA)
        with pytest.raises(MalformedError, match="v2"):
            await at.completed()
        assert at.store.refs() == ()
        await until(lambda: at.torrent.peers == 0)


async def test_a_blob_that_does_not_fit_fails_with_a_hint(
    make_store: MakeStore, tmp_path: Path
) -> None:
    info = info_of(DATA)
    with BlobStore(tmp_path / "small", quota=1000) as small:
        async with bench(lambda: small, info.ref) as at:
            at.connect(info, DATA)
            with pytest.raises(LimitError) as caught:
                await at.completed()
            assert caught.value.hint


async def test_a_disk_that_fails_ends_the_download_with_a_hint(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        monkeypatch.setattr("client.blobs.os.pwrite", full)
        at.connect(info, DATA)
        with pytest.raises(LocalError) as caught:
            await at.completed()
        assert caught.value.hint


@pytest.mark.parametrize(
    "flood",
    [
        protocol.have(1) * 10_000,
        bytes(4 * 10_000),
        protocol.serve(Block(1, 0, 1), b"x") * 10_000,
        b"\xff\xff\xff\xff",
        protocol.request(Block(0, 0, BLOCK_SIZE)) * 10_000,
        protocol.cancel(Block(0, 0, BLOCK_SIZE)) * 10_000,
        protocol.message(protocol.INTERESTED) * 10_000,
        protocol.message(protocol.EXTENDED, b"\x01d8:msg_typei0e5:piecei0ee") * 10_000,
    ],
    ids=["have", "keepalive", "unasked", "length", "request", "cancel", "interest", "metadata"],
)
async def test_a_flood_closes_the_connection_and_the_blob_still_comes(
    make_store: MakeStore, flood: bytes
) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        flooding = at.connect(info, DATA, unchokes=False)
        await until(lambda: flooding.events)
        await flooding.channel.send(flood)
        await until(lambda: flooding.ended)
        at.connect(info, DATA)
        assert await at.completed() == DATA


async def test_a_peer_that_never_says_who_it_is_is_closed(make_store: MakeStore) -> None:
    async with bench(make_store, info_of(DATA).ref) as at:
        channel = at.raw()
        assert len(await channel.receive()) == 68
        at.advance(HANDSHAKE_TIMEOUT + 2)
        assert await channel.receive() == b""


async def test_an_idle_peer_hears_from_us_and_a_dead_one_is_closed(make_store: MakeStore) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        channel = at.raw()
        wire = Rogue(info, DATA, channel).wire
        await channel.send(wire.handshake())
        await until(lambda: at.torrent.company.joined)
        await until(lambda: not at.torrent.company.joined[0].outbox)
        before = at.now
        at.advance(KEEPALIVE + 2)
        seen = b""
        while not seen.endswith(bytes(4)):
            seen += await channel.receive()
        at.advance(SILENCE_TIMEOUT - (at.now - before) + 2)
        while await channel.receive():
            pass


# -- serving ------------------------------------------------------------------------------------


class Customer:
    """The far end of a connection to a torrent that seeds."""

    def __init__(self, at: Bench, info: Metainfo) -> None:
        self.channel = at.raw()
        self.rogue = Rogue(info, DATA, self.channel, pieces=set())
        at.tasks.append(at.group.create_task(self.rogue.run()))

    @property
    def events(self) -> list[events.Event]:
        return self.rogue.events


async def test_a_seed_serves_the_metainfo_and_blocks(make_store: MakeStore) -> None:
    store = make_store()
    ref = store.add(DATA)
    info = info_of(DATA)
    async with bench(lambda: store, ref) as at:
        assert at.torrent.seeding
        customer = Customer(at, info)
        block = Block(3, 0, 1000)
        await until(lambda: any(isinstance(e, extensions.Introduced) for e in customer.events))
        assert events.HasAll() in customer.events
        assert extensions.Introduced(len(info.raw), QUEUE_LIMIT, ours=True) in customer.events
        await customer.channel.send(customer.rogue.wire.ask_metadata(0))
        await customer.channel.send(protocol.request(block))
        await until(lambda: events.Rejected(block) in customer.events)  # choked
        await customer.channel.send(protocol.message(protocol.INTERESTED))
        await until(lambda: events.Choking(on=False) in customer.events)
        await customer.channel.send(protocol.request(block))
        await until(lambda: any(isinstance(e, events.Received) for e in customer.events))
        start = 3 * info.piece_length
        assert events.Received(block, DATA[start : start + 1000]) in customer.events
        assert extensions.MetadataReceived(0, info.raw) in customer.events
        assert at.torrent.traffic.sent == 1000


async def test_two_seeds_part(make_store: MakeStore) -> None:
    store = make_store()
    ref = store.add(DATA)
    async with bench(lambda: store, ref) as at:
        other = at.connect(info_of(DATA), DATA)
        await until(lambda: other.ended)
        assert not at.torrent.company.banned


async def test_a_downloader_serves_what_it_has_and_says_so(make_store: MakeStore) -> None:
    info = info_of(DATA)
    async with bench(make_store, info.ref) as at:
        customer = Customer(at, info)
        await until(lambda: customer.events)
        await customer.channel.send(protocol.message(protocol.INTERESTED))
        source = at.connect(info, DATA, pieces={5})
        await until(lambda: events.Has((5,)) in customer.events)
        for piece in (4, 5):
            await customer.channel.send(protocol.request(Block(piece, 0, 500)))
        await until(lambda: any(isinstance(e, events.Received) for e in customer.events))
        assert events.Rejected(Block(4, 0, 500)) in customer.events
        assert source.asked == [Block(5, 0, BLOCK_SIZE)]
        late = Customer(at, info)
        await until(lambda: events.Has((5,)) in late.events)


async def test_a_download_that_was_closed_goes_on_where_it_was(make_store: MakeStore) -> None:
    info = info_of(DATA)
    store = make_store()
    async with bench(lambda: store, info.ref) as at:
        source = at.connect(info, DATA, pieces={1, 2, 3})
        await until(lambda: at.torrent.done > 2 * info.piece_length)
        assert len(source.asked) == 3
    async with bench(lambda: store, info.ref) as at:
        await until(lambda: at.torrent.done == 3 * info.piece_length)
        source = at.connect(info, DATA)
        assert await at.completed() == DATA
        assert {block.piece for block in source.asked}.isdisjoint({1, 2, 3})


async def test_closing_before_anything_came_leaves_nothing_in_the_store(
    make_store: MakeStore,
) -> None:
    info = info_of(DATA)
    store = make_store()
    async with bench(lambda: store, info.ref) as at:
        at.connect(info, DATA, pieces=set())
        await until(lambda: at.torrent.info)
    assert store.used == 0


def test_the_error_of_a_failed_download_is_the_first_one(make_store: MakeStore) -> None:
    ref = info_of(DATA).ref
    place = (Target.of(ref), BlobShelf(make_store(), ref), b"t" * 20)
    made = Torrent(*place, rng=Random(1), clock=lambda: 0.0)
    first = SwarmError("first")
    made.fail(first)
    made.fail(SwarmError("second"))
    assert made.failure is first
