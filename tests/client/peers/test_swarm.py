"""What the swarm promises its callers, over in-memory channels and a real tracker."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

import pytest

from client.peers.engine import SEED_REASON
from client.peers.stats import Progress
from client.peers.swarm import BlobSwarm
from client.peers.transport import MemoryConnector
from client.shelf import BlobShelf
from tests.client.peers.conftest import Peers, Tracker, until
from workunits.errors import MalformedError, UnavailableError
from workunits.metainfo import Hasher, Metainfo, build_info

DATA = os.urandom(300_000)


def info_of(data: bytes) -> Metainfo:
    hasher = Hasher(len(data))
    hasher.update(data)
    return hasher.finish().info


REF = info_of(DATA).ref


def start(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(work)


async def test_a_fetched_blob_is_seeded_to_the_next_one(peers: Peers) -> None:
    network = MemoryConnector()
    async with peers:
        first, store = await peers.add(connector=network)
        first.seed(store.add(DATA))
        second, _ = await peers.add(connector=network)
        assert (await second.fetch(REF)).read_bytes() == DATA
        first.unseed(REF)
        await until(lambda: first.stats.blobs == ())
        third, _ = await peers.add(connector=network)
        assert (await third.fetch(REF)).read_bytes() == DATA
        assert second.stats.sent >= len(DATA)
        assert first.stats.sent >= len(DATA)  # counted after it was left, too


async def test_callers_of_one_blob_share_one_download(peers: Peers) -> None:
    network = MemoryConnector()
    async with peers:
        first, store = await peers.add(connector=network)
        first.seed(store.add(DATA))
        second, _ = await peers.add(connector=network)
        seen: list[Progress] = []
        paths = await asyncio.gather(
            *(second.fetch(REF, progress=seen.append) for _ in range(5)), second.fetch(REF)
        )
        assert len(set(paths)) == 1
        assert second.stats.from_peers == len(DATA)
        assert seen and seen[-1].done == seen[-1].total == len(DATA)


async def test_a_blob_that_is_here_needs_nobody(peers: Peers, tracker: Tracker) -> None:
    async with peers:
        await tracker.stop()
        alone, store = await peers.add(connector=MemoryConnector())
        ref = store.add(DATA)
        assert (await alone.fetch(ref)).read_bytes() == DATA


async def test_an_empty_blob_needs_nobody(peers: Peers) -> None:
    async with peers:
        alone, _ = await peers.add(connector=MemoryConnector())
        assert (await alone.fetch(info_of(b"").ref)).read_bytes() == b""


async def test_the_download_ends_with_its_last_caller(peers: Peers) -> None:
    async with peers:
        alone, store = await peers.add(connector=MemoryConnector())
        one, two = start(alone.fetch(REF)), start(alone.fetch(REF))
        await until(lambda: len(alone.stats.blobs) == 1)
        one.cancel()
        await asyncio.wait([one])
        assert len(alone.stats.blobs) == 1
        two.cancel()
        await asyncio.wait([two])
        assert store.used == 0 and not list(alone.stats.blobs)


async def test_a_fetch_that_nobody_serves_fails_with_a_hint(peers: Peers) -> None:
    async with peers:
        alone, _ = await peers.add(connector=MemoryConnector(), patience=0.5)
        with pytest.raises(UnavailableError) as caught:
            await alone.fetch(REF)
        assert caught.value.hint
        assert alone.stats.blobs == ()


async def test_a_reference_that_contradicts_itself_fails(peers: Peers, tracker: Tracker) -> None:
    forged = build_info(len(DATA), bytes(32), info_of(DATA).pieces)
    tracker.blobs[forged.ref.v2.hex()] = (forged.raw, DATA)
    async with peers:
        alone, store = await peers.add(connector=MemoryConnector(), grace=0.0)
        with pytest.raises(MalformedError):
            await alone.fetch(forged.ref)
        assert store.refs() == () and alone.stats.blobs == ()


async def test_closing_the_swarm_ends_a_fetch(peers: Peers) -> None:
    async with peers:
        alone, _ = await peers.add(connector=MemoryConnector())
        fetching = start(alone.fetch(REF))
        await until(lambda: alone.stats.blobs)
    with pytest.raises(UnavailableError):
        await fetching


async def test_an_error_of_the_caller_is_not_wrapped(peers: Peers) -> None:
    with pytest.raises(ZeroDivisionError):
        async with peers:
            _, store = await peers.add(connector=MemoryConnector())
            async with BlobSwarm(store, "http://127.0.0.1:1", connector=MemoryConnector()):
                raise ZeroDivisionError


# -- the web seed -------------------------------------------------------------------------------


async def test_the_web_seed_serves_what_no_peer_has(peers: Peers, tracker: Tracker) -> None:
    tracker.blobs[REF.v2.hex()] = (info_of(DATA).raw, DATA)
    async with peers:
        alone, _ = await peers.add(connector=MemoryConnector(), grace=0.0)
        assert (await alone.fetch(REF)).read_bytes() == DATA
        assert alone.stats.from_webseed == len(DATA) and alone.stats.from_peers == 0


async def test_the_web_seed_is_asked_at_once_when_there_is_no_peer_to_wait_for(
    peers: Peers, tracker: Tracker
) -> None:
    tracker.blobs[REF.v2.hex()] = (info_of(DATA).raw, DATA)
    async with peers:
        alone, _ = await peers.add(connector=MemoryConnector(), grace=1000.0)
        assert (await alone.fetch(REF)).read_bytes() == DATA


async def test_the_web_seed_is_not_asked_while_a_peer_delivers(
    peers: Peers, tracker: Tracker
) -> None:
    tracker.blobs[REF.v2.hex()] = (info_of(DATA).raw, DATA)
    network = MemoryConnector()
    async with peers:
        first, store = await peers.add(connector=network)
        first.seed(store.add(DATA))
        await until(lambda: tracker.service and tracker.service.counters().peers == 1)
        second, _ = await peers.add(connector=network, grace=5.0)
        await second.fetch(REF)
        assert second.stats.from_webseed == 0 and tracker.blob_requests == 0


async def test_a_web_seed_with_wrong_bytes_is_left_and_a_peer_helps(
    peers: Peers, tracker: Tracker
) -> None:
    tracker.blobs[REF.v2.hex()] = (info_of(DATA).raw, bytes(len(DATA)))
    network = MemoryConnector()
    async with peers:
        second, _ = await peers.add(connector=network, grace=0.0)
        fetching = start(second.fetch(REF))
        await until(lambda: second.stats.from_webseed > 0)
        first, store = await peers.add(connector=network)
        first.seed(store.add(DATA))
        assert (await fetching).read_bytes() == DATA


async def test_a_bug_in_one_download_ends_that_one_and_no_other(
    peers: Peers, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = MemoryConnector()
    other = b"another one" * 1000
    async with peers:
        second, _ = await peers.add(connector=network)

        def broken(progress: Progress) -> None:
            raise BrokenPipeError("nobody looks at it")

        failing = start(second.fetch(REF, progress=broken))
        fetching = start(second.fetch(info_of(other).ref))
        with pytest.raises(UnavailableError, match="broke off"):
            await failing
        monkeypatch.setattr(BlobShelf, "begin", None)
        with pytest.raises(UnavailableError, match="broke off"):
            first, store = await peers.add(connector=network)
            first.seed(store.add(other))
            await fetching


# -- seeding ------------------------------------------------------------------------------------


async def test_only_what_is_there_can_be_seeded(peers: Peers) -> None:
    async with peers:
        alone, store = await peers.add(connector=MemoryConnector())
        with pytest.raises(UnavailableError):
            alone.seed(REF)
        assert store.holds(REF) == frozenset()
        store.add(DATA)
        alone.seed(REF)
        assert store.holds(REF) == {SEED_REASON}
        alone.unseed(REF)
        alone.unseed(REF)
        assert store.holds(REF) == frozenset()


async def test_a_blob_that_is_evicted_is_no_longer_announced(
    peers: Peers, tracker: Tracker
) -> None:
    async with peers:
        alone, store = await peers.add(connector=MemoryConnector())
        ref = store.add(DATA)
        await alone.fetch(ref)
        service = tracker.service
        assert service is not None
        await until(lambda: service.counters().peers == 1)
        store.remove(ref)
        await until(lambda: alone.stats.blobs == ())
        await until(lambda: service.counters().peers == 0)
