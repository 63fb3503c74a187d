"""A download is gone on with after a pause or a restart, with what is really there and no more."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from client.blobs import EXPIRY, BlobStore
from client.disk import SpaceError
from client.shelf import BlobShelf
from tests.client.receiving import DATA, INFO, info_of, piece_of, receive
from workunits.errors import LimitError, LocalError, MalformedError, UnavailableError
from workunits.ids import BlobRef
from workunits.metainfo import build_info
from workunits.torrents import of_blob

QUOTA = 2_000_000
REF = INFO.ref


class Opened:
    """A store that is opened again and again, by a clock that stands still."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1e9
        self.store = self.open()

    def open(self) -> BlobStore:
        self.store = BlobStore(self.folder, quota=QUOTA, clock=lambda: self.now, pause=0)
        return self.store

    def reopen(self) -> BlobStore:
        self.store.close()
        return self.open()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made = Opened(tmp_path / "store")
    yield made
    made.store.close()


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_kept_is_there_the_next_time(opened: Opened, restarts: bool) -> None:
    incoming = opened.store.begin(INFO)
    assert incoming.verified == frozenset()
    receive(incoming, 0, 7, INFO.count - 1)
    incoming.write(3 * INFO.piece_length, b"written, never verified")
    incoming.close()
    store = opened.reopen() if restarts else opened.store
    assert store.refs() == () and store.used == len(DATA)
    again = store.begin(INFO)
    assert again.verified == {0, 7, INFO.count - 1}
    assert again.read(7 * INFO.piece_length, INFO.piece_length) == piece_of(DATA, INFO, 7)
    receive(again, *(set(range(INFO.count)) - again.verified))
    path = again.commit()
    again.close()
    assert path.read_bytes() == DATA and store.refs() == (REF,)
    assert sorted(each.name for each in path.parent.iterdir()) == ["content", "info", "layer"]
    assert store.parts() == {} and store.used == len(DATA)
    assert list((opened.folder / "incoming").iterdir()) == []


def test_the_commit_reads_nothing_again(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    incoming = opened.store.begin(INFO)
    receive(incoming, *range(INFO.count))
    incoming.flush()
    monkeypatch.setattr(os, "pread", None)
    assert incoming.commit().stat().st_size == len(DATA)


def test_pieces_without_a_digest_are_read_at_the_commit(opened: Opened) -> None:
    incoming = opened.store.begin(INFO)
    incoming.write(0, DATA)
    receive(incoming, 1, 2, 3)
    incoming.keep(5, b"")
    incoming.close()
    again = opened.store.begin(INFO)
    assert again.verified == {1, 2, 3, 5}
    assert again.commit().read_bytes() == DATA


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 40_000])
def test_blobs_of_a_piece_or_two_are_resumed_too(opened: Opened, size: int) -> None:
    data = DATA[:size]
    info = info_of(data)
    incoming = opened.store.begin(info)
    receive(incoming, 0, data=data)
    incoming.close()
    again = opened.reopen().begin(info)
    assert again.verified == {0}
    receive(again, *range(1, info.count), data=data)
    assert again.commit().read_bytes() == data


def test_a_download_that_brought_nothing_leaves_nothing(opened: Opened) -> None:
    opened.store.begin(INFO).close()
    assert opened.store.used == 0 and opened.store.parts() == {}
    assert list((opened.folder / "incoming").iterdir()) == []
    crashed = opened.store.begin(INFO)
    store = opened.reopen()
    assert store.used == 0 and list((opened.folder / "incoming").iterdir()) == []
    crashed.close()


def test_a_discarded_download_is_forgotten(opened: Opened) -> None:
    incoming = opened.store.begin(INFO)
    receive(incoming, 1, 2)
    incoming.discard()
    incoming.discard()
    incoming.close()
    incoming.wait()
    assert opened.store.used == 0
    with pytest.raises(UnavailableError):
        incoming.keep(3, bytes(32))
    assert opened.store.begin(INFO).verified == frozenset()


def test_content_that_is_not_the_blob_is_forgotten(opened: Opened) -> None:
    forged = build_info(len(DATA), bytes(32), INFO.pieces)
    incoming = opened.store.begin(forged)
    receive(incoming, *range(INFO.count))
    with pytest.raises(MalformedError, match="v2"):
        incoming.commit()
    incoming.close()
    assert opened.store.used == 0 and opened.reopen().parts() == {}


def test_a_blob_is_not_received_twice_into_one_folder(opened: Opened) -> None:
    one, two = opened.store.begin(INFO), opened.store.begin(INFO)
    receive(one, 1)
    receive(two, 2)
    assert opened.store.used == 2 * len(DATA)
    two.close()
    one.close()
    assert opened.store.begin(INFO).verified == {1}


def test_unfinished_downloads_go_first_the_oldest_of_them_before_the_others(
    opened: Opened,
) -> None:
    store = opened.store
    blob = store.add(b"b" * 500_000)
    refs: list[BlobRef] = []
    for fill in (b"1", b"2"):
        data = fill * 600_000
        refs.append(info_of(data).ref)
        incoming = store.begin(info_of(data))
        receive(incoming, 0, data=data)
        incoming.close()
        incoming.wait()
        opened.now += 1
    store.add(b"c" * 400_000)
    assert set(store.parts()) == {refs[1]} and blob in store.refs()
    store.hold(refs[1], "wanted")
    store.add(b"d" * 600_000)
    assert set(store.parts()) == {refs[1]} and blob not in store.refs()
    active = store.begin(info_of(b"2" * 600_000))
    assert active.verified == {0}
    store.release(refs[1], "wanted")
    with pytest.raises(SpaceError):
        store.add(b"e" * 1_500_000)
    active.close()
    active.wait()
    store.add(b"e" * 1_500_000)
    assert store.parts() == {}


def test_room_is_what_the_next_blob_may_take(opened: Opened) -> None:
    store = opened.store
    assert store.room() == QUOTA
    blob = store.add(b"b" * 500_000)
    assert store.room() == QUOTA
    store.hold(blob, "job")
    assert store.room() == QUOTA - 500_000
    incoming = store.begin(INFO)
    receive(incoming, 0)
    assert store.room() == QUOTA - 500_000 - len(DATA)
    store.add(bytes(store.room()))
    with pytest.raises(SpaceError):
        store.add(b"x" * (store.room() + 1))
    incoming.close()
    incoming.wait()
    assert store.room() == QUOTA - 500_000


def test_an_unfinished_download_expires(opened: Opened) -> None:
    incoming = opened.store.begin(INFO)
    receive(incoming, 0)
    incoming.close()
    opened.store.close()
    written = (opened.folder / "incoming" / str(REF) / "journal").stat().st_mtime
    opened.now = written + EXPIRY - 60
    assert opened.open().parts() == {REF: INFO.piece_length}
    opened.now = written + EXPIRY + 60
    opened.store.add(b"anything")
    assert opened.store.parts() == {}


def test_a_download_is_removed_by_hand_unless_it_is_under_way(opened: Opened) -> None:
    incoming = opened.store.begin(INFO)
    receive(incoming, 0)
    opened.store.remove(REF)
    incoming.close()
    incoming.wait()
    assert REF in opened.store.parts()
    opened.store.remove(REF)
    assert opened.store.used == 0


def tear(folder: Path) -> None:
    with (folder / "journal").open("r+b") as stream:
        stream.truncate((folder / "journal").stat().st_size - 3)


def extend(folder: Path) -> None:
    with (folder / "journal").open("ab") as stream:
        stream.write(bytes(4096))


def flip(folder: Path) -> None:
    raw = bytearray((folder / "journal").read_bytes())
    raw[-5] ^= 1
    (folder / "journal").write_bytes(raw)


def cut(folder: Path) -> None:
    os.truncate(folder / "content", 100)


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("ab" * 32))


def link(folder: Path) -> None:
    (folder / "content").rename(folder.parent.parent / "elsewhere")
    (folder / "content").symlink_to(folder.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (tear, {4, 5}),
        (flip, {4, 5}),
        (extend, {4, 5, 6}),
        (cut, set()),
        (rename, set()),
        (link, set()),
        (lambda folder: (folder / "journal").write_bytes(b"?"), set()),
        (lambda folder: (folder / "journal").unlink(), set()),
        (lambda folder: (folder / "info").write_bytes(b"de"), set()),
    ],
    ids=["torn", "flipped", "longer", "cut", "renamed", "linked", "foreign", "none", "info"],
)
def test_after_damage_only_what_is_certain_is_gone_on_with(
    opened: Opened, damage: Callable[[Path], object], left: set[int]
) -> None:
    incoming = opened.store.begin(INFO)
    receive(incoming, 4, 5, 6)
    incoming.close()
    opened.store.close()
    damage(opened.folder / "incoming" / str(REF))
    again = opened.open().begin(INFO)
    assert again.verified == left
    receive(again, *(set(range(INFO.count)) - left))
    again.close()
    again = opened.reopen().begin(INFO)
    assert again.commit().read_bytes() == DATA


def test_a_disk_that_does_not_sync_ends_the_download_and_nothing_is_taken_for_kept(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    incoming = opened.store.begin(INFO)
    receive(incoming, 1)
    incoming.flush()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        receive(incoming, 2)
        with pytest.raises(LocalError) as caught:
            incoming.flush()
        assert caught.value.hint
    with pytest.raises(LocalError):
        incoming.keep(3, bytes(32))
    with pytest.raises(LocalError):
        incoming.commit()
    incoming.close()
    assert opened.reopen().begin(INFO).verified == {1}


def test_keeping_does_not_wait_for_the_disk(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, go, asked = os.fdatasync, Event(), Event()

    def slow(number: int) -> None:
        asked.set()
        assert go.wait(30)
        sync(number)

    incoming = opened.store.begin(INFO)
    receive(incoming, 0)
    incoming.flush()
    monkeypatch.setattr(os, "fdatasync", slow)
    receive(incoming, 1)
    assert asked.wait(30)
    receive(incoming, *range(2, 20))  # while the disk is busy
    incoming.close()
    assert not incoming.over.is_set()
    go.set()
    assert opened.store.begin(INFO).verified == set(range(20))


def test_a_shelf_tells_what_is_there(opened: Opened) -> None:
    store, shelf = opened.store, BlobShelf(opened.store, REF)
    assert BlobShelf(store, REF).info is None and not BlobShelf(store, REF).complete
    with pytest.raises(UnavailableError):
        shelf.open()
    with pytest.raises(MalformedError):
        shelf.begin(of_blob(info_of(b"another")))
    incoming = shelf.begin(of_blob(INFO))
    receive(incoming, 3)
    incoming.close()
    assert shelf.info == of_blob(INFO) and not BlobShelf(store, REF).complete
    again = shelf.begin(of_blob(INFO))
    assert again.verified == {3}
    receive(again, *range(INFO.count))
    path = again.commit()
    again.close()
    assert shelf.complete and shelf.info == of_blob(INFO)
    whole = shelf.open()
    assert whole.verified == set(range(INFO.count))
    assert whole.read(100, 50) == DATA[100:150] and whole.commit() == path
    with pytest.raises(LocalError):
        whole.write(0, b"x")
    whole.close()
    whole.discard()
    with pytest.raises(UnavailableError):
        whole.read(0, 1)
    assert store.refs() == (REF,)


def test_a_part_that_is_too_large_for_a_smaller_quota_is_evicted(opened: Opened) -> None:
    incoming = opened.store.begin(INFO)
    receive(incoming, 3)
    incoming.close()
    opened.store.close()
    with BlobStore(opened.folder, quota=100_000) as store:
        assert store.room() == 100_000
        store.add(b"x" * 50_000)
        assert store.parts() == {}
        with pytest.raises(LimitError):
            store.begin(INFO)
