"""Images through the real swarm into a real engine: saved, removed, fetched, computed in."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from client.blobs import BlobStore
from client.peers.network import Network, TcpPolicy
from client.peers.swarm import BlobSwarm
from client.scheduling.pace import Tuning
from client.work.supply import SwarmBlobs
from client.work.volunteer import Capacity, Volunteer
from sandbox import image, layers
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.engine import Engine
from tests.client.peers.conftest import until
from tests.client.work.tracker import peer_key, rng
from tests.sandbox.shared import make_layer
from tests.tracker.serving import Served, served
from tests.tracker.work.world import manifest
from workunits.images import Layer, chain_id
from workunits.manifest import Limits, Manifest, Program
from workunits.verification import Policy

pytestmark = pytest.mark.engine
WEBRTC = Network(tcp=TcpPolicy.NEVER)
QUOTA = 1 << 30


@asynccontextmanager
async def swarming(folder: Path, tracker: Served) -> AsyncIterator[tuple[BlobStore, BlobSwarm]]:
    """A store, and a peer that speaks only WebRTC."""
    with BlobStore(folder, quota=QUOTA) as store:
        async with BlobSwarm(store, tracker.url, network=WEBRTC, grace=1000) as swarm:
            yield store, swarm


class Family:
    """Images of the runtime's layer, one of the family, and one of its own each, taken out of the
    engine by saving."""

    def __init__(self, engine: Engine, runtime: str, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        _, [self.runtime] = image.save(engine.url, runtime, folder / "saved", print)
        self.common = make_layer(folder, {"usr/share/common": os.urandom(300_000)})

    async def save(self, sandbox: DockerSandbox, text: str) -> list[tuple[bytes, Path]]:
        """Put an image into the engine, save it from there, and remove it."""
        top = make_layer(self.folder, {"usr/share/greeting": text.encode()})
        name = chain_id([diff for diff, _ in (self.runtime, self.common, top)])
        await sandbox.load(name, [self.runtime, self.common, top])
        found, saved = image.save(self.engine.url, layers.tag(name), self.folder / "saved", print)
        assert found == name
        assert await sandbox.forget(name)
        assert name not in await sandbox.images()
        return saved


def job(saved: list[tuple[bytes, Path]], store: BlobStore, number: int) -> Manifest:
    """A job of two units in a shared image."""
    shared = tuple(Layer(diff, store.adopt(path)) for diff, path in saved)
    command = ("python3", "-c", "print(open('/usr/share/greeting').read(), {p})")
    return replace(
        manifest(2, policy=Policy.TRUSTED, nonce=number),
        program=Program(chain_id([d for d, _ in saved]), command, (), "out.txt", shared),
        limits=Limits(10, 60, 64 << 20, 1000),
    )


def is_done(volunteer: Volunteer, units: int) -> bool:
    return volunteer.status.done == units


async def test_a_job_runs_in_an_image_that_came_from_a_peer_and_its_family_shares_layers(
    tmp_path: Path, docker_engine: Engine, runtime_image: str
) -> None:
    sandbox = DockerSandbox(DockerSettings(docker_engine.url, tmp_path / "cells"))
    family = Family(docker_engine, runtime_image, tmp_path)
    images: list[str] = []
    async with (
        asyncio.timeout(100),
        served(tmp_path / "tracker") as tracker,
        swarming(tmp_path / "seed", tracker) as (seeds, seeding),
        swarming(tmp_path / "store", tracker) as (store, swarm),
    ):
        await tracker.grant()
        volunteer = Volunteer(
            *(tracker.url, peer_key(), sandbox, SwarmBlobs(store, swarm)),
            capacity=Capacity(1, 1 << 30),
            state=tmp_path / "state",
            scratch=tmp_path / "scratch",
            tuning=Tuning(linger=0.5),
            rng=rng(),
        )
        store.adopt(family.runtime[1])  # it is large, and WebRTC slow while tests look on
        fetched = []
        async with asyncio.TaskGroup() as group:
            running = group.create_task(volunteer.run())
            for number, text in enumerate(("one", "two")):
                work = job(await family.save(sandbox, text), seeds, number)
                images.append(work.program.image)
                before = swarm.stats.from_peers
                await tracker.submit(work)
                for ref in work.refs:
                    seeding.seed(ref)
                await until(partial(is_done, volunteer, 2 * number + 2))
                fetched.append(swarm.stats.from_peers - before)
            volunteer.drain()
            await running
        assert swarm.stats.from_webseed == 0
        runtime, common, own = (ref.length for ref in work.refs)
        assert common + own <= fetched[0] < 2 * common
        assert own <= fetched[1] < common
        peer = tracker.running.sessions.desk.peers[peer_key().key]
        assert peer.offerings is not None
        assert set(images) <= set(peer.offerings.images)
        assert store.used == 2 * (runtime + common + 2 * own)
    for name in images:
        assert await sandbox.forget(name)
    await sandbox.close()
