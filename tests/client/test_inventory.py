"""People see what a store holds, why, and how much room is left, while its owner runs."""

from pathlib import Path

from client.blobs import BlobStore
from client.inventory import Inventory
from tests.client.receiving import INFO, receive

QUOTA = 10**7


def test_an_inventory_is_taken_while_the_owner_runs(tmp_path: Path) -> None:
    assert Inventory.take(tmp_path / "none") == Inventory(None, False, (), ())
    with BlobStore(tmp_path, quota=QUOTA, pause=0) as store:
        ref = store.add(b"content" * 1000)
        store.hold(ref, "job 2")
        store.hold(ref, "job 1")
        store.hold(INFO.ref, "input")
        incoming = store.begin(INFO)
        receive(incoming, 1, 2)
        incoming.flush()
        store._syncer.submit(store._holds.write)
        store._syncer.wait(store._holds.write)
        seen = Inventory.take(tmp_path)
        assert seen.running and seen.quota == QUOTA
        assert [(each.ref, each.holds) for each in seen.blobs] == [(ref, ("job 1", "job 2"))]
        (part,) = seen.parts
        assert part.ref == INFO.ref and part.holds == ("input",)
        assert part.kept == 2 * INFO.piece_length and 0 < part.share < 1
        assert seen.used == store.used and seen.free == QUOTA - store.used
        store.release(ref, "job 1")
        store.claim(1000)
    seen = Inventory.take(tmp_path)
    assert not seen.running and seen.blobs[0].holds == ("job 2",)
    assert seen.claimed == 1000 and seen.used == 7000 + INFO.length + 1000


def test_looking_does_not_keep_a_store_from_being_opened(tmp_path: Path) -> None:
    for _ in range(20):
        with BlobStore(tmp_path, quota=QUOTA):
            assert Inventory.take(tmp_path).running
        assert not Inventory.take(tmp_path).running
