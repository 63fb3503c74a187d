"""What both engines promise, alone and mixed: over WebRTC, with a real tracker between them."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from client.blobs import BlobStore
from client.peers.engine import (
    AIORTC,
    AUTO,
    LIBTORRENT,
    SEED_REASON,
    VARIABLE,
    Engine,
    asked,
    choose,
    installed,
)
from client.peers.native import NativeSwarm
from client.peers.network import Network, TcpPolicy
from client.peers.stats import Progress
from client.peers.swarm import BlobSwarm
from client.peers.throttle import Rates
from tests.client.peers.conftest import Peers, Tracker, until
from workunits.errors import LimitError, LocalError, MalformedError, UnavailableError
from workunits.metainfo import Hasher, Metainfo, build_info

DATA = os.urandom(1_000_000)
BOTH = (AIORTC, LIBTORRENT)


def info_of(data: bytes) -> Metainfo:
    hasher = Hasher(len(data))
    hasher.update(data)
    return hasher.finish().info


INFO = info_of(DATA)
REF = INFO.ref


def start(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(work)


@pytest.fixture(params=BOTH)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def seeding(peers: Peers, engine: str, data: bytes = DATA) -> tuple[Engine, BlobStore]:
    swarm, store = await peers.add(engine=engine)
    swarm.seed(store.add(data))
    return swarm, store


# -- choosing -----------------------------------------------------------------------------------


def test_auto_is_libtorrent_where_it_can_do_what_is_asked_for() -> None:
    assert installed()
    assert choose(AUTO) is NativeSwarm
    assert choose(AUTO, gossip=True) is BlobSwarm
    assert choose(AUTO, relay_only=True) is BlobSwarm
    assert choose(AIORTC) is BlobSwarm
    assert choose(LIBTORRENT, gossip=True) is NativeSwarm


def test_an_engine_that_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.peers.engine.installed", lambda: False)
    assert choose(AUTO) is BlobSwarm
    with pytest.raises(LocalError) as caught:
        choose(LIBTORRENT)
    assert "pip install 'openswarm[fast]'" in caught.value.hint
    with pytest.raises(LocalError, match="no engine called 'steam'"):
        choose("steam")


def test_the_environment_names_the_engine() -> None:
    assert asked({}) == asked({VARIABLE: " "}) == AUTO
    assert asked({VARIABLE: "aiortc"}) == AIORTC


def test_libtorrent_hides_no_address(tmp_path: Path) -> None:
    with BlobStore(tmp_path, quota=0) as store, pytest.raises(LocalError):
        NativeSwarm(store, "http://127.0.0.1:1", network=Network(relay_only=True))


# -- moving blobs -------------------------------------------------------------------------------


@pytest.mark.parametrize("fetcher", BOTH)
@pytest.mark.parametrize("seeder", BOTH)
async def test_a_blob_goes_from_either_engine_to_either(
    peers: Peers, seeder: str, fetcher: str
) -> None:
    async with peers:
        first, _ = await seeding(peers, seeder)
        second, store = await peers.add(engine=fetcher)
        path = await second.fetch(REF)
        assert path.read_bytes() == DATA
        assert path == store.path_of(REF) and store.info_of(REF) == INFO
        assert second.stats.from_peers == len(DATA) and second.stats.from_webseed == 0
        await until(lambda: first.stats.sent >= len(DATA))


async def test_a_fetched_blob_is_seeded_to_the_next_one(peers: Peers, engine: str) -> None:
    async with peers:
        first, _ = await seeding(peers, engine)
        second, _ = await peers.add(engine=engine)
        await second.fetch(REF)
        first.unseed(REF)
        await until(lambda: first.stats.blobs == ())
        third, _ = await peers.add(engine=engine)
        assert (await third.fetch(REF)).read_bytes() == DATA
        await until(lambda: second.stats.sent >= len(DATA))
        assert first.stats.sent >= len(DATA)  # counted after it was left, too


async def test_a_seed_that_comes_later_finds_who_waits(peers: Peers, engine: str) -> None:
    async with peers:
        second, _ = await peers.add(engine=engine)
        fetching = start(second.fetch(REF))
        await until(lambda: second.stats.tracker_online)
        await seeding(peers, engine)
        assert (await fetching).read_bytes() == DATA


async def test_callers_of_one_blob_share_one_download(peers: Peers, engine: str) -> None:
    async with peers:
        await seeding(peers, engine)
        second, _ = await peers.add(engine=engine)
        seen: list[Progress] = []
        paths = await asyncio.gather(
            *(second.fetch(REF, progress=seen.append) for _ in range(5)), second.fetch(REF)
        )
        assert len(set(paths)) == 1
        assert second.stats.from_peers == len(DATA)
        assert seen and seen[-1].done == seen[-1].total == len(DATA)


async def test_a_blob_that_is_here_needs_nobody(
    peers: Peers, tracker: Tracker, engine: str
) -> None:
    async with peers:
        await tracker.stop()
        alone, store = await peers.add(engine=engine)
        assert (await alone.fetch(store.add(DATA))).read_bytes() == DATA
        assert (await alone.fetch(info_of(b"").ref)).read_bytes() == b""


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 40_000])
async def test_blobs_of_a_few_blocks_are_moved(peers: Peers, engine: str, size: int) -> None:
    data = os.urandom(size)
    async with peers:
        await seeding(peers, engine, data)
        second, _ = await peers.add(engine=engine)
        assert (await second.fetch(info_of(data).ref)).read_bytes() == data


# -- when it does not go well -------------------------------------------------------------------


async def test_the_download_ends_with_its_last_caller(peers: Peers, engine: str) -> None:
    async with peers:
        alone, store = await peers.add(engine=engine)
        one, two = start(alone.fetch(REF)), start(alone.fetch(REF))
        await until(lambda: len(alone.stats.blobs) == 1)
        one.cancel()
        await asyncio.wait([one])
        assert len(alone.stats.blobs) == 1
        two.cancel()
        await asyncio.wait([two])
        assert store.used == 0 and not alone.stats.blobs


async def test_a_fetch_that_nobody_serves_fails_with_a_hint(peers: Peers, engine: str) -> None:
    async with peers:
        alone, _ = await peers.add(engine=engine, patience=0.5)
        with pytest.raises(UnavailableError) as caught:
            await alone.fetch(REF)
        assert caught.value.hint
        assert alone.stats.blobs == ()


async def test_a_blob_that_is_too_big_fails(peers: Peers, engine: str) -> None:
    async with peers:
        await seeding(peers, engine)
        second, _ = await peers.add(engine=engine, quota=len(DATA) - 1)
        with pytest.raises(LimitError):
            await second.fetch(REF)


async def test_a_reference_that_contradicts_itself_fails(
    peers: Peers, tracker: Tracker, engine: str
) -> None:
    forged = build_info(len(DATA), bytes(32), INFO.pieces)
    tracker.blobs[forged.ref.v2.hex()] = (forged.raw, DATA)
    async with peers:
        alone, store = await peers.add(engine=engine, grace=0.0)
        with pytest.raises(MalformedError):
            await alone.fetch(forged.ref)
        assert store.refs() == () and alone.stats.blobs == ()


async def test_a_seed_with_wrong_bytes_is_no_harm(peers: Peers, engine: str) -> None:
    async with peers:
        bad, store = await seeding(peers, engine)
        path = store.path_of(REF)
        assert path is not None
        path.chmod(0o600)
        path.write_bytes(bytes(len(DATA)))
        second, _ = await peers.add(engine=engine)
        fetching = start(second.fetch(REF))
        await until(lambda: bad.stats.sent > 0)
        await seeding(peers, engine)
        assert (await fetching).read_bytes() == DATA


async def test_closing_the_engine_ends_a_fetch(peers: Peers, engine: str) -> None:
    async with peers:
        alone, _ = await peers.add(engine=engine)
        fetching = start(alone.fetch(REF))
        await until(lambda: alone.stats.blobs)
    with pytest.raises(UnavailableError):
        await fetching


async def test_an_error_of_the_caller_is_not_wrapped(peers: Peers, engine: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with peers:
            await peers.add(engine=engine)
            raise ZeroDivisionError


async def test_what_came_is_there_after_a_restart(
    peers: Peers, tracker: Tracker, tmp_path: Path, engine: str
) -> None:
    data = os.urandom(2_000_000)
    ref = info_of(data).ref
    async with peers:
        first, _ = await seeding(peers, engine, data)
        first.limits = Rates(up=1_000_000)
        with BlobStore(tmp_path / "again", quota=10**8, pause=0.0) as store:
            async with Peers(tracker, lambda: store) as before:
                second, _ = await before.add(engine=engine)
                fetching = start(second.fetch(ref))
                await until(lambda: sum(store.parts().values()) > 100_000)
            with pytest.raises(UnavailableError):
                await fetching
        with BlobStore(tmp_path / "again", quota=10**8) as store:
            kept = store.parts()[ref]
            assert kept > 100_000
            first.limits = Rates()
            async with Peers(tracker, lambda: store) as after:
                second, _ = await after.add(engine=engine)
                assert (await second.fetch(ref)).read_bytes() == data
                assert second.stats.from_peers <= len(data) - kept


async def test_a_download_survives_a_restart_of_the_tracker(
    peers: Peers, tracker: Tracker, engine: str
) -> None:
    data = os.urandom(2_000_000)
    ref = info_of(data).ref
    async with peers:
        first, _ = await seeding(peers, engine, data)
        first.limits = Rates(up=2_000_000)
        second, _ = await peers.add(engine=engine)
        fetching = start(second.fetch(ref))
        await until(lambda: second.stats.from_peers > 0)
        await tracker.stop()
        await until(lambda: not second.stats.tracker_online)
        third, _ = await peers.add(engine=engine)
        waiting = start(third.fetch(ref))
        assert (await fetching).read_bytes() == data
        assert not waiting.done()
        await tracker.start()
        assert (await waiting).read_bytes() == data


# -- the web seed -------------------------------------------------------------------------------


async def test_the_web_seed_serves_what_no_peer_has(
    peers: Peers, tracker: Tracker, engine: str
) -> None:
    tracker.blobs[REF.v2.hex()] = (INFO.raw, DATA)
    async with peers:
        alone, _ = await peers.add(engine=engine)  # nobody is there to wait for
        assert (await alone.fetch(REF)).read_bytes() == DATA
        assert alone.stats.from_webseed == len(DATA) and alone.stats.from_peers == 0


async def test_peers_that_have_nothing_do_not_keep_each_other_from_the_web_seed(
    peers: Peers, tracker: Tracker, engine: str
) -> None:
    tracker.blobs[REF.v2.hex()] = (INFO.raw, DATA)
    async with peers:
        swarms = [(await peers.add(engine=engine, grace=3.0))[0] for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            found = [group.create_task(swarm.fetch(REF)) for swarm in swarms]
        assert all(task.result().read_bytes() == DATA for task in found)


async def test_the_web_seed_is_not_asked_while_a_peer_delivers(
    peers: Peers, tracker: Tracker, engine: str
) -> None:
    tracker.blobs[REF.v2.hex()] = (INFO.raw, DATA)
    async with peers:
        await seeding(peers, engine)
        await until(lambda: tracker.service and tracker.service.counters().peers == 1)
        second, _ = await peers.add(engine=engine, grace=30.0)
        await second.fetch(REF)
        assert second.stats.from_webseed == 0 and tracker.blob_requests == 0


async def test_a_web_seed_with_wrong_bytes_is_left_and_a_peer_helps(
    peers: Peers, tracker: Tracker, engine: str
) -> None:
    tracker.blobs[REF.v2.hex()] = (INFO.raw, bytes(len(DATA)))
    async with peers:
        second, _ = await peers.add(engine=engine, grace=0.0)
        fetching = start(second.fetch(REF))
        await until(lambda: tracker.blob_requests > 0)
        await seeding(peers, engine)
        assert (await fetching).read_bytes() == DATA


# -- seeding ------------------------------------------------------------------------------------


async def test_only_what_is_there_can_be_seeded(peers: Peers, engine: str) -> None:
    async with peers:
        alone, store = await peers.add(engine=engine)
        with pytest.raises(UnavailableError):
            alone.seed(REF)
        assert store.holds(REF) == frozenset()
        store.add(DATA)
        alone.seed(REF)
        assert store.holds(REF) == {SEED_REASON}
        alone.unseed(REF)
        alone.unseed(REF)
        assert store.holds(REF) == frozenset()


async def test_a_blob_that_is_evicted_or_left_is_no_longer_announced(
    peers: Peers, tracker: Tracker, engine: str
) -> None:
    async with peers:
        alone, store = await peers.add(engine=engine)
        other = store.add(b"other")
        service = tracker.service
        assert service is not None
        await alone.fetch(store.add(DATA))
        alone.seed(other)
        await until(lambda: service.counters().peers == 2)
        alone.unseed(other)
        await until(lambda: service.counters().peers == 1)
        store.remove(REF)
        await until(lambda: alone.stats.blobs == ())
        await until(lambda: service.counters().peers == 0)


async def test_bandwidth_is_limited(peers: Peers, engine: str) -> None:
    async with peers:
        await seeding(peers, engine)
        second, _ = await peers.add(
            engine=engine,
            network=Network(tcp=TcpPolicy.NEVER, limits=Rates(down=400_000)),
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        await second.fetch(REF)
        assert second.limits == Rates(down=400_000)
        assert loop.time() - began > 1.0
