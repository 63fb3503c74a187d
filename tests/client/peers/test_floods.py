"""What one peer may make another one do, and what it may ask for: much, but not everything."""

import asyncio
from hashlib import sha1
from pathlib import Path
from random import Random

from client.peers import download, events, extensions, protocol
from client.peers.addresses import AddressBook
from client.peers.company import BAN, RELIEF, USELESS, Company
from client.peers.connection import Connection
from client.peers.extensions import Address
from client.peers.layout import BLOCK_SIZE, Block, Layout
from client.peers.member import MAX_CONNECTIONS, MAX_PEERS, RESERVED, Member, Roster
from client.peers.protocol import PeerWire
from client.peers.signalling import Schedule
from client.peers.storage import Halted, Storage, never
from client.peers.tasks import Tasks
from client.peers.throttle import Throttle
from client.peers.torrent import TOLD_PAUSE, Torrent
from client.peers.transport import MemoryChannel
from tests.client.peers.conftest import until
from workunits.canonical import encode
from workunits.errors import LocalError
from workunits.hashtree import HashRequest
from workunits.links import Target
from workunits.torrents import TorrentInfo, parse_torrent_info

OURS, THEIRS = b"o" * 20, b"t" * 20


def info_of(pieces: int) -> TorrentInfo:
    """A torrent of v1 that has content of no importance."""
    fields = {
        "length": pieces * BLOCK_SIZE,
        "name": "large",
        "piece length": BLOCK_SIZE,
        "pieces": Random(1).randbytes(20 * pieces),
    }
    return parse_torrent_info(encode(fields))


class Zeros:
    """A place of zeros: complete, or of some ``verified`` pieces, or one that takes nothing."""

    digests = b""

    def __init__(
        self, info: TorrentInfo | None = None, *, complete: bool = False, verified: int = 0
    ) -> None:
        self.info = info
        self.complete = complete
        self.verified = frozenset(range(verified))

    def begin(self, info: TorrentInfo, halted: Halted = never) -> Storage:
        if not self.verified:
            raise LocalError("this takes nothing", hint="None.")
        return self

    def open(self) -> Storage:
        return self

    def read(self, offset: int, size: int) -> bytes:
        return bytes(size)

    def write(self, offset: int, data: bytes | memoryview) -> None: ...
    def keep(self, piece: int, digest: bytes) -> None: ...
    def close(self) -> None: ...
    def discard(self) -> None: ...
    def commit(self) -> Path:
        raise AssertionError("nothing is ever complete here")


class Pair:
    """Two torrents of ours that are connected, on one clock."""

    def __init__(self, group: asyncio.TaskGroup, target: Target, one: Zeros, other: Zeros) -> None:
        self.now = 1000.0
        self.told: list[tuple[Address, ...]] = []
        self.one, self.other = self._torrent(target, one), self._torrent(target, other)
        near, far = MemoryChannel.pair()
        self.tasks = [
            group.create_task(self.one.attach(near, THEIRS)),
            group.create_task(self.other.attach(far, OURS)),
        ]

    def _torrent(self, target: Target, shelf: Zeros) -> Torrent:
        return Torrent(
            *(target, shelf, OURS),
            rng=Random(1),
            clock=lambda: self.now,
            acquaint=lambda _, added: self.told.append(added),
        )

    def end(self) -> None:
        for task in self.tasks:
            task.cancel()


async def test_an_info_dictionary_of_megabytes_comes_whole() -> None:
    info = info_of(200_000)
    async with asyncio.TaskGroup() as group:
        at = Pair(group, Target(info.v1, None), Zeros(info, complete=True), Zeros())
        await until(lambda: at.other.info == info)
        assert len(at.one.company) == len(at.other.company) == 1
        at.end()


async def test_a_download_that_goes_on_tells_of_many_pieces_at_once() -> None:
    info = info_of(50_000)
    async with asyncio.TaskGroup() as group:
        target = Target(info.v1, None)
        at = Pair(group, target, Zeros(info, verified=49_000), Zeros())
        await until(lambda: at.one.company.joined and at.other.company.joined)
        at.tasks.append(group.create_task(at.one.receive()))
        (peer,) = at.other.company.joined
        await until(lambda: peer.wire._early._field)
        (has,) = peer.wire.learn(Layout.of_torrent(info), len(info.raw))
        assert has == events.Has(tuple(range(49_000)))
        at.end()


async def test_peers_that_are_told_of_too_often_are_not_heard() -> None:
    info = info_of(2)
    async with asyncio.TaskGroup() as group:
        at = Pair(group, Target(info.v1, None), Zeros(info, complete=True), Zeros())
        await until(lambda: at.one.company.joined)
        (peer,) = at.one.company.joined
        for seconds, heard in ((0.0, 1), (TOLD_PAUSE - 1, 1), (TOLD_PAUSE, 2), (TOLD_PAUSE, 2)):
            at.one.handle(peer, extensions.PeersTold((), ()), at.now + seconds)
            assert len(at.told) == heard
        at.end()


def connection(remote: bytes, useful: float) -> Connection:
    wire = PeerWire((sha1(b"").digest(), None), OURS, None, None, 0.0)
    return Connection(MemoryChannel(), wire, remote, heard=useful, useful=useful)


def test_who_has_been_useless_longest_makes_room_and_no_two_at_once() -> None:
    now = 1000.0
    company = Company(lambda: now)
    peers = [connection(bytes([at]), now - at) for at in range(3)]
    for peer in peers:
        company.add(peer)
    now += USELESS - 3
    assert not company.relieve() and company.idle == 0
    now += 100
    assert company.idle == 3
    assert company.relieve() and [peer.ended.is_set() for peer in peers] == [False, False, True]
    assert len(company) == 2 and not company.relieve()
    peers[1].useful = now
    now += RELIEF
    assert company.relieve() and peers[0].ended.is_set()
    now += RELIEF
    assert not company.relieve(), "the one that is left was of use"


def test_a_ban_is_over_some_time_later() -> None:
    now = 0.0
    company = Company(lambda: now)
    company.ban(b"one")
    now += BAN - 1
    company.ban(b"two")
    assert company.banned == {b"one", b"two"}
    now += 2
    assert company.banned == {b"two"}
    for at in range(5000):
        company.ban(at.to_bytes(2, "big"))
    assert len(company.banned) == 1000


def test_hash_requests_that_make_us_read_end_the_connection() -> None:
    info = info_of(2)
    torrent = Torrent(
        *(Target(info.v1, None), Zeros(info, complete=True), OURS),
        rng=Random(1),
        clock=lambda: 0.0,
    )

    class Dear:
        def cost(self, request: HashRequest) -> int:
            return 256

        def answer(self, request: HashRequest) -> bytes:
            return b""

    torrent._trees = Dear()  # type: ignore[assignment]
    peer = connection(b"asks", 0.0)
    request = events.HashesRequested(HashRequest(bytes(32), 0, 0, 2, 0))
    answered = 0
    while peer.wire._allowance >= 256:
        torrent.handle(peer, request, 0.0)
        answered += 1
    assert answered == protocol.ALLOWANCE // 256


def test_who_crowds_what_we_seed_leaves_room_for_downloads() -> None:
    now = 0.0
    roster = Roster(
        OURS, Random(1), lambda: now, spawn=Tasks().spawn, throttle=Throttle(clock=lambda: now)
    )

    def join(number: int, *, seeds: bool) -> Member:
        info = info_of(number + 1)
        shelf = Zeros(info, complete=seeds)
        torrent = Torrent(*(Target(info.v1, None), shelf, OURS), rng=Random(1), clock=lambda: now)
        member = Member(torrent, Schedule(Random(1)), AddressBook(Random(1)))
        roster.members[member.info_hash] = member
        return member

    seeds = [join(number, seeds=True) for number in range(10)]
    fetched = join(10, seeds=False)
    for member in seeds:
        while roster.welcome(member):
            member.torrent.company.add(connection(b"idle", now))
    assert len(seeds[0].torrent.company) == MAX_PEERS
    assert roster.open == MAX_CONNECTIONS - RESERVED
    assert not roster.room(seeds[-1]) and roster.room(fetched)
    while roster.room(fetched):
        fetched.torrent.company.add(connection(b"chokes", now))
    assert len(fetched.torrent.company) == MAX_PEERS and not roster.welcome(fetched)
    now += USELESS + 1
    assert roster.welcome(fetched) and len(fetched.torrent.company) == MAX_PEERS - 1


async def test_who_asks_for_metainfo_and_cannot_take_it_is_served_nothing() -> None:
    info = info_of(2)
    near, far = MemoryChannel.pair()
    torrent = Torrent(
        *(Target(info.v1, None), Zeros(info, complete=True), OURS),
        rng=Random(1),
        clock=lambda: 0.0,
    )
    wire = PeerWire((info.v1, None), THEIRS, Layout.of_torrent(info), len(info.raw), 0.0)
    asks = protocol.message(protocol.EXTENDED, b"\1" + encode({"msg_type": 0, "piece": 0}))
    choice = protocol.message(protocol.INTERESTED)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(torrent.attach(near, THEIRS))
        await far.send(wire.handshake() + asks + choice)
        heard: list[object] = []
        async with asyncio.timeout(10):
            while events.Choking(on=False) not in heard:
                data = await far.receive()
                assert data
                heard += wire.receive(data, 0.0)
        assert not any(isinstance(each, extensions.MetadataReceived) for each in heard)
        task.cancel()


def test_a_web_seed_that_was_slow_is_still_trusted() -> None:
    info = info_of(2)
    torrent = Torrent(*(Target(info.v1, None), Zeros(info), OURS), rng=Random(1), clock=lambda: 0.0)
    for ban in (False, True):
        torrent._tell(download.Drop("seed", "it sends nothing", ban=ban))
        assert torrent.lending.supply("seed", Block(0, 0, BLOCK_SIZE), b"") is not ban
