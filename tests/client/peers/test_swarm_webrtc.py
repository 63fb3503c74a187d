"""Real aiortc peers exchange blobs through a real tracker, and survive what goes wrong."""

import asyncio
import gc
import os

from client.blobs import BlobStore
from client.peers.swarm import BlobSwarm
from tests.client.peers.conftest import Peers, Tracker, until
from workunits.ids import BlobRef

SIZE = 1_000_000


async def seeding(peers: Peers, data: bytes) -> tuple[BlobSwarm, BlobStore, BlobRef]:
    swarm, store = await peers.add()
    ref = store.add(data)
    swarm.seed(ref)
    return swarm, store, ref


async def test_a_peer_fetches_a_blob_from_a_seed(peers: Peers) -> None:
    data = os.urandom(SIZE)
    async with peers:
        seeder, _, ref = await seeding(peers, data)
        leecher, _ = await peers.add()
        path = await leecher.fetch(ref)
        assert path.read_bytes() == data
        assert leecher.stats.from_peers >= SIZE and leecher.stats.from_webseed == 0
        assert seeder.stats.sent >= SIZE
    gc.collect()  # aiortc's leftovers would warn here


async def test_a_seed_that_comes_later_finds_who_waits(peers: Peers) -> None:
    data = os.urandom(100_000)
    async with peers:
        leecher, store = await peers.add()
        ref = store.add(data)
        store.remove(ref)
        waiting = asyncio.get_running_loop().create_task(leecher.fetch(ref))
        await until(lambda: leecher.stats.tracker_online)
        await seeding(peers, data)
        assert (await waiting).read_bytes() == data


async def test_several_seeds_serve_at_once(peers: Peers) -> None:
    data = os.urandom(SIZE)
    async with peers:
        seeds = [await seeding(peers, data) for _ in range(3)]
        ref = seeds[0][2]
        await until(lambda: all(swarm.stats.tracker_online for swarm, _, _ in seeds))
        leecher, _ = await peers.add()
        path = await leecher.fetch(ref)
        assert path.read_bytes() == data
        assert sum(swarm.stats.sent > 0 for swarm, _, _ in seeds) >= 2


async def test_a_seed_with_wrong_bytes_is_closed_and_the_blob_comes_from_another(
    peers: Peers,
) -> None:
    data = os.urandom(SIZE)
    async with peers:
        bad, store, ref = await seeding(peers, data)
        path = store.path_of(ref)
        assert path is not None
        path.chmod(0o600)
        path.write_bytes(bytes(SIZE))
        leecher, _ = await peers.add()
        fetching = asyncio.get_running_loop().create_task(leecher.fetch(ref))
        await until(lambda: bad.stats.sent > 0)
        await until(lambda: bad.stats.peers == 0)
        await seeding(peers, data)
        assert (await fetching).read_bytes() == data


async def test_a_seed_that_vanishes_in_mid_download_is_replaced(
    peers: Peers, tracker: Tracker, make_store: object
) -> None:
    data = os.urandom(2 * SIZE)
    async with peers:
        _, store, ref = await seeding(peers, data)
        leecher, _ = await peers.add()
        async with Peers(tracker, lambda: store) as leaving_peers:
            first, _ = await leaving_peers.add()
            first.seed(ref)
            fetching = asyncio.get_running_loop().create_task(leecher.fetch(ref))
            await until(lambda: first.stats.sent > 0)
        assert (await fetching).read_bytes() == data


async def test_a_download_goes_on_while_the_tracker_restarts(
    peers: Peers, tracker: Tracker
) -> None:
    data = os.urandom(2 * SIZE)
    async with peers:
        seeder, _, ref = await seeding(peers, data)
        leecher, _ = await peers.add()
        fetching = asyncio.get_running_loop().create_task(leecher.fetch(ref))
        await until(lambda: leecher.stats.from_peers > 0)
        await tracker.stop()
        await until(lambda: not leecher.stats.tracker_online)
        late, _ = await peers.add()
        waiting = asyncio.get_running_loop().create_task(late.fetch(ref))
        assert (await fetching).read_bytes() == data
        assert not waiting.done()
        await tracker.start()
        assert (await waiting).read_bytes() == data
        await until(lambda: seeder.stats.tracker_online)
