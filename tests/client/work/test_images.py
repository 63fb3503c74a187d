"""Images out of the swarm: fetched once, within the quota, and gone when others need the room."""

import asyncio
import json
from pathlib import Path

import pytest

from client.disk import SpaceError
from client.work import notices
from client.work.images import Images
from sandbox.fake import FakeSandbox, sleeping
from tests.client.work.tracker import TrackerDouble, job_of
from tests.client.work.volunteering import MemoryBlobs, drained, world_of
from tests.sandbox.shared import make_layer
from workunits.errors import MalformedError, UnavailableError
from workunits.images import Image, Layer, chain_id
from workunits.wire.holds import name_of


class Shop:
    """Blobs, a sandbox, and images of one family."""

    def __init__(self, folder: Path) -> None:
        (folder / "blobs").mkdir()
        self.folder = folder
        self.blobs = MemoryBlobs(folder / "blobs")
        self.sandbox = FakeSandbox(sleeping(0))
        self.changes = 0
        self.images = self.start()

    def start(self) -> Images:
        return Images(self.sandbox, self.blobs, self.folder / "images.json", self.changed)

    def changed(self) -> None:
        self.changes += 1

    def layer(self, text: bytes) -> Layer:
        diff, path = make_layer(self.folder, {"file": text})
        return Layer(diff, self.blobs.add(path.read_bytes()))

    def image(self, *texts: bytes) -> Image:
        layers = tuple(map(self.layer, texts))
        return Image(chain_id([layer.diff for layer in layers]), layers)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def test_an_image_is_fetched_once_and_counts_once_as_what_the_engine_keeps(
    shop: Shop,
) -> None:
    one, two = shop.image(b"base", b"one"), shop.image(b"base", b"two")
    for image in (one, one, two):
        await shop.images.fetch(image)
    assert {one.name, two.name} <= await shop.sandbox.images()
    assert shop.blobs.claimed == 3 * 10240
    assert shop.blobs.holds == set()
    assert shop.changes == 2
    assert shop.images.spare == 0
    for image in (one, one, two):
        shop.images.release(image)
    assert shop.images.spare == 3 * 10240


async def test_an_image_that_nothing_uses_goes_when_another_one_needs_the_room(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryBlobs, "quota", 25_000)
    one, two, three = (shop.image(text) for text in (b"one", b"two", b"three"))
    for image in (one, two, one):
        await shop.images.fetch(image)
        shop.images.release(image)
    await shop.images.fetch(three)
    assert await shop.sandbox.images() >= {one.name, three.name}
    assert two.name not in await shop.sandbox.images()
    assert shop.blobs.claimed == 2 * 10240


async def test_an_image_in_use_stays_and_the_other_one_is_not_fetched(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryBlobs, "quota", 15_000)
    one, two = shop.image(b"one"), shop.image(b"two")
    await shop.images.fetch(one)
    with pytest.raises(SpaceError):
        await shop.images.fetch(two)
    assert shop.blobs.claimed == 10240
    assert shop.blobs.holds == set()


async def test_an_image_that_the_engine_has_is_not_fetched_or_counted(shop: Shop) -> None:
    image = shop.image(b"one")
    shop.sandbox.available |= {image.name}
    shop.blobs.broken = True
    await shop.images.fetch(image)
    assert (shop.blobs.claimed, shop.changes) == (0, 0)


async def test_a_layer_that_nobody_has_and_one_that_is_wrong_leave_nothing_behind(
    shop: Shop,
) -> None:
    image = shop.image(b"base", b"top")
    shop.blobs.paths[image.layers[1].ref].write_bytes(
        shop.blobs.paths[image.layers[0].ref].read_bytes()
    )
    with pytest.raises(MalformedError):
        await shop.images.fetch(image)
    shop.blobs.broken = True
    with pytest.raises(UnavailableError):
        await shop.images.fetch(image)
    assert shop.blobs.holds == set()
    assert shop.blobs.claimed == 0
    assert image.name not in await shop.sandbox.images()
    shop.sandbox.engine_stops()
    with pytest.raises(UnavailableError):
        await shop.images.fetch(image)


async def test_a_fetch_that_is_cancelled_leaves_nothing_behind(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def never(*_: object) -> Path:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(shop.blobs, "fetch", never)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(shop.images.fetch(shop.image(b"one")))
        await began.wait()
        assert shop.blobs.claimed == 10240
        task.cancel()
    assert shop.blobs.claimed == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"b": "c"}}'])
async def test_a_record_that_cannot_be_read_is_no_record(shop: Shop, text: str) -> None:
    (shop.folder / "images.json").write_text(text)
    await shop.images.start()
    assert shop.blobs.claimed == 0


async def test_what_was_brought_is_known_after_a_restart_unless_it_is_gone(shop: Shop) -> None:
    one, two = shop.image(b"one"), shop.image(b"two")
    for image in (one, two):
        await shop.images.fetch(image)
    assert await shop.sandbox.forget(one.name)
    shop.blobs.claimed = 0
    shop.images = shop.start()
    await shop.images.start()
    assert shop.blobs.claimed == shop.images.spare == 10240
    assert set(json.loads((shop.folder / "images.json").read_text())) == {one.name, two.name}


async def test_a_volunteer_fetches_the_image_computes_in_it_and_offers_it(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(3))
    async with world_of(tmp_path, tracker) as world:
        diff, path = make_layer(tmp_path, {"bin/square": b"#!"})
        layer = Layer(diff, world.blobs.add(path.read_bytes()))
        name = chain_id([diff])
        tracker.job = job_of(3, image=name, layers=(layer,))
        await drained(
            world.volunteer(),
            lambda: (
                len(tracker.revealed) == 3
                and any(name in each.hello.offerings.images for each in tracker.connections)
            ),
            world,
        )
        assert world.blobs.claimed == layer.ref.length
        assert name_of(layer.ref) in tracker.holds[0].added
        assert tracker.holds[0].disk_bytes <= world.blobs.quota


async def test_an_image_that_is_wrong_is_refused_with_a_reason(tmp_path: Path) -> None:
    tracker = TrackerDouble(job_of(3))
    async with world_of(tmp_path, tracker) as world:
        diff, path = make_layer(tmp_path, {"bin/square": b"#!"})
        _, other = make_layer(tmp_path, {"bin/square": b"other"})
        layer = Layer(diff, world.blobs.add(other.read_bytes()))
        tracker.job = job_of(3, image=chain_id([diff]), layers=(layer,))
        await drained(world.volunteer(), lambda: bool(tracker.released), world)
        assert {reason for _, reason in tracker.released} <= {"image", "shutdown"}
        said = [each for each in world.heard(notices.Warned) if "cannot be had" in str(each)]
        assert "not those of the image" in str(said[0])
        assert not path.samefile(other)
