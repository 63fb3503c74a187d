"""A large output and a tracker that tracks results only once they are revealed."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from client.blobs import BlobStore
from client.peers import announcing, native_tracker, signalling
from client.peers.engine import AIORTC, LIBTORRENT, Engine, choose
from client.peers.network import Network, TcpPolicy
from client.work import notices
from client.work.notices import Notice
from client.work.supply import SwarmBlobs
from client.work.volunteer import Capacity, Volunteer
from sandbox.fake import FakeSandbox, Played, Stage
from tests.client.peers.conftest import WITHOUT_TCP, until
from tests.client.peers.test_swarm_tcp import NoWebRtc
from tests.tracker.serving import Served, identity, served
from tests.tracker.work.world import IMAGE, manifest
from workunits.ids import BlobRef
from workunits.results import INLINE_LIMIT

OUTPUT = os.urandom(50 * INLINE_LIMIT)
LONG = (1000, 1000)
"""Seconds until somebody who was refused asks again by himself."""


async def play(stage: Stage) -> Played:
    (stage.out / "out.txt").write_bytes(OUTPUT)
    return Played()


@dataclass
class Peer:
    """Somebody with a store and an engine, and perhaps a volunteer."""

    engine: Engine
    store: BlobStore
    worker: Volunteer
    said: list[Notice] = field(default_factory=list)

    def heard(self, kind: type[Notice]) -> bool:
        return any(isinstance(each, kind) for each in self.said)


@asynccontextmanager
async def peer(
    name: str, folder: Path, tracker: Served, engine: str, options: dict[str, Any]
) -> AsyncIterator[Peer]:
    home, me, said = folder / name, identity(name), list[Notice]()
    async with AsyncExitStack() as stack:
        store = stack.enter_context(BlobStore(home / "blobs", quota=1 << 30))
        make = choose(engine)(store, tracker.url, identity=me, **options)
        swarm = await stack.enter_async_context(make)
        worker = Volunteer(
            *(tracker.url, me, FakeSandbox(play, frozenset({IMAGE})), SwarmBlobs(store, swarm)),
            capacity=Capacity(1, 1 << 30),
            state=home / "state",
            scratch=home / "scratch",
            validator=name == "checker",
            notify=said.append,
        )
        yield Peer(swarm, store, worker, said)


@pytest.mark.parametrize(
    ("engine", "network"),
    [
        (AIORTC, WITHOUT_TCP),
        (AIORTC, Network(tcp=TcpPolicy.LAN)),
        (LIBTORRENT, WITHOUT_TCP),
        (LIBTORRENT, Network(tcp=TcpPolicy.LAN)),
    ],
)
async def test_a_large_output_that_was_refused_is_announced_at_once_when_it_is_revealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, network: Network
) -> None:
    monkeypatch.setattr(signalling, "REFUSED_INTERVALS", LONG)
    monkeypatch.setattr(announcing, "RETRY", LONG)
    monkeypatch.setattr(native_tracker, "INTERVALS", LONG)
    options: dict[str, Any] = {"network": network}
    if network.dials and engine == AIORTC:
        options["connector"] = NoWebRtc()
    job = replace(manifest(), limits=replace(manifest().limits, output_bytes=1 << 20))
    async with (
        served(tmp_path / "tracker") as tracker,
        peer("worker", tmp_path, tracker, engine, options) as worker,
        peer("checker", tmp_path, tracker, AIORTC, {"network": network}) as checker,
        peer("fetcher", tmp_path, tracker, AIORTC, {"network": network}) as fetcher,
        asyncio.timeout(50),
        asyncio.TaskGroup() as group,
    ):
        await tracker.grant()
        running = [group.create_task(worker.worker.run())]
        view = await tracker.submit(job)
        announce = tracker.running.announce
        await until(lambda: worker.heard(notices.Committed) and announce.counters().refused)
        running.append(group.create_task(checker.worker.run()))
        await until(lambda: worker.heard(notices.Revealed))
        running.pop().cancel()
        (unit,) = (await tracker.ask(f"/api/v1/jobs/{view['id']}/units"))["units"]
        (output,) = unit["result"]["outputs"]
        ref = BlobRef(
            bytes.fromhex(output["v2"]), bytes.fromhex(output["v1"]), int(output["length"])
        )
        checker.engine.unseed(ref)
        assert (await fetcher.engine.fetch(ref)).read_bytes() == OUTPUT
        assert worker.engine.stats.sent >= len(OUTPUT)
        for task in running:
            task.cancel()
