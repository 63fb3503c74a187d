"""Inputs and outputs through the real store and the real swarm object, with nobody to talk to."""

from pathlib import Path

import pytest

from client.blobs import BlobStore
from client.peers.swarm import BlobSwarm
from client.work.supply import SwarmBlobs
from tests.client.work.tracker import ref_of
from workunits.errors import SwarmError, UnavailableError

NOBODY = "http://127.0.0.1:1"


async def test_what_is_shared_is_served_and_held_until_it_is_released(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"result" * 1000)
    with BlobStore(tmp_path / "store", quota=1 << 20) as store:
        async with BlobSwarm(store, NOBODY) as swarm:
            blobs = SwarmBlobs(store, swarm)
            ref = await blobs.share(tmp_path / "out", "lease 1")
            assert store.holds(ref) == {"lease 1"}
            assert [each.ref for each in swarm.stats.blobs if each.seeding] == [ref]
            assert (await blobs.fetch(ref, "input")).read_bytes() == b"result" * 1000
            blobs.release(ref, "lease 1")
            assert store.holds(ref) == {"input"}
            blobs.release(ref, "input")
            assert store.holds(ref) == frozenset()
            assert swarm.stats.blobs[0].seeding


async def test_what_was_shared_before_a_restart_is_shared_again_if_it_is_there(
    tmp_path: Path,
) -> None:
    with BlobStore(tmp_path / "store", quota=1 << 20) as store:
        ref = store.add(b"kept")
        async with BlobSwarm(store, NOBODY) as swarm:
            blobs = SwarmBlobs(store, swarm)
            assert blobs.reshare(ref, "lease 1")
            assert not blobs.reshare(ref_of(9), "lease 2")
            assert store.holds(ref) == {"lease 1"}
            assert store.holds(ref_of(9)) == frozenset()


async def test_models_of_earlier_runs_are_served_again_and_may_go_when_room_is_needed(
    tmp_path: Path,
) -> None:
    with BlobStore(tmp_path / "store", quota=4 << 20) as store:
        model = store.add(b"GGUF" + bytes(1 << 20))
        store.add(b"ELF." + bytes(1 << 20))
        store.add(b"GGUF, but too small to matter")
        async with BlobSwarm(store, NOBODY) as swarm:
            blobs = SwarmBlobs(store, swarm)
            await blobs.serve_models()
            assert [each.ref for each in swarm.stats.blobs if each.seeding] == [model]
            assert store.holds(model) == frozenset()
            store.add(bytes(4 << 20))
            assert model not in blobs.held()


async def test_a_model_that_no_job_reads_any_more_stays_and_is_served(tmp_path: Path) -> None:
    with BlobStore(tmp_path / "store", quota=1 << 24) as store:
        model = store.add(b"GGUF" + bytes(1 << 20))
        async with BlobSwarm(store, NOBODY) as swarm:
            blobs = SwarmBlobs(store, swarm)
            await blobs.fetch(model, "input")
            blobs.release(model, "input")
            assert model in blobs.held()
            assert [each.ref for each in swarm.stats.blobs if each.seeding] == [model]


async def test_a_fetch_that_fails_holds_nothing(tmp_path: Path) -> None:
    with BlobStore(tmp_path / "store", quota=1 << 20) as store:
        async with BlobSwarm(store, NOBODY, grace=0.01, patience=0.01) as swarm:
            blobs = SwarmBlobs(store, swarm)
            with pytest.raises(UnavailableError):
                await blobs.fetch(ref_of(9), "input")
            with pytest.raises(SwarmError):
                await blobs.share(tmp_path / "none", "lease 1")
            assert store.holds(ref_of(9)) == frozenset()
