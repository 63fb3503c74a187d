"""Torrents in people's folders: fetched, gone on with, taken over, and never written over."""

import asyncio
import os
import resource
import shutil
import stat
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from random import Random
from threading import Event

import pytest

from client import folders
from client.disk import InUseError, SpaceError
from client.folder_storage import MAX_OPEN, FolderStorage
from client.folders import FolderShelf, journal_of, places_of
from client.peers.storage import begin
from client.syncer import Syncer
from tests.workunits.test_torrents import stream_of
from tests.workunits.torrent_cases import FOLDER, KIB, KINDS, content, make, write
from workunits.canonical import encode
from workunits.errors import LocalError, MalformedError, UnavailableError
from workunits.metainfo import hash_stream
from workunits.torrent_files import TorrentDocument, parse_torrent_file
from workunits.torrents import TorrentInfo, of_blob, piece_root

JOURNAL = ".D.swarm"


@pytest.fixture
def syncer() -> Iterator[Syncer]:
    made = Syncer(pause=0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TorrentDocument]:
    root = tmp_path_factory.mktemp("torrents")
    write(root, "D", FOLDER)
    return {kind: parse_torrent_file(encode(make(root, "D", kind))) for kind in KINDS}


def digest_of(info: TorrentInfo, piece: int) -> bytes:
    at = piece * info.piece_length
    data = stream_of(info)[at : at + info.size_of(piece)]
    return piece_root(data, info, piece) if info.v2 else b""


def digests_of(document: TorrentDocument) -> bytes:
    layers = document.layers
    return b"".join(layers.get(file.root, file.root) for file in document.info.files)


def put(storage: FolderStorage, *pieces: int, keep: bool = True) -> None:
    """Write pieces as they would come from peers."""
    info = storage.info
    for piece in pieces:
        at = piece * info.piece_length
        data = stream_of(info)[at : at + info.size_of(piece)]
        for start in range(0, len(data), 10_000):
            storage.write(at + start, data[start : start + 10_000])
        if keep:
            storage.keep(piece, digest_of(info, piece))


def check_tree(folder: Path) -> None:
    found = {
        str(path.relative_to(folder / "D")): path.read_bytes()
        for path in (folder / "D").rglob("*")
        if path.is_file()
    }
    assert found == {path: content(path, size) for path, size in FOLDER.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_fetched_in_any_order(
    kind: str, documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents[kind].info
    shelf = FolderShelf(tmp_path / "new", syncer=syncer)
    storage = shelf.begin(info)
    assert storage.verified == frozenset()
    assert storage.digests == b""
    order = list(range(info.count))
    Random(1).shuffle(order)
    put(storage, *order)
    assert storage.read(0, info.length) == stream_of(info)
    assert (tmp_path / "new" / JOURNAL).exists()
    assert storage.commit() == tmp_path / "new" / "D"
    assert storage.read(5, 100) == stream_of(info)[5:105]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["D"]
    check_tree(tmp_path / "new")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new/D/a").stat().st_mode) == 0o644 & ~mask
    storage.close()
    storage.close()
    with pytest.raises(UnavailableError):
        storage.read(0, 1)
    reader = shelf.open()
    assert reader.read(0, info.length) == stream_of(info)
    assert reader.digests == digests_of(documents[kind])
    reader.close()
    shared = FolderShelf(tmp_path / "new", info, layers=documents[kind].layers, complete=True)
    assert shared.open().digests == digests_of(documents[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_download_goes_on_where_it_ended_without_reading_what_it_has(
    kind: str, documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents[kind].info
    storage = FolderShelf(tmp_path, syncer=syncer).begin(info)
    put(storage, 0, 2)
    put(storage, 1, keep=False)
    storage.close()
    storage.wait()

    def never(done: int, total: int) -> None:
        raise AssertionError("nothing needs to be read")

    again = FolderShelf(tmp_path, syncer=syncer, watch=never).begin(info)
    assert again.verified == {0, 2}
    put(again, *(set(range(info.count)) - {0, 2}))
    again.commit()
    again.close()
    check_tree(tmp_path)


def test_power_loss_loses_only_what_was_not_kept_yet(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["hybrid"].info
    storage = FolderShelf(tmp_path / "here", syncer=syncer).begin(info)
    put(storage, 3, 1)
    storage.flush()
    put(storage, 0, keep=False)
    journal = tmp_path / "here" / JOURNAL
    shutil.copytree(tmp_path / "here", tmp_path / "after")  # what the disk has at this moment
    with journal.open("ab") as stream:
        stream.write(b"torn")
    again = FolderShelf(tmp_path / "after", syncer=syncer).begin(info)
    assert again.verified == {1, 3}
    again.close()
    storage.discard()


def test_a_file_that_is_there_is_taken_over(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    write(tmp_path, "D", FOLDER)
    for kind, document in documents.items():
        seen: list[tuple[int, int]] = []
        shelf = FolderShelf(
            tmp_path,
            syncer=syncer,
            layers=document.layers,
            watch=lambda *at, seen=seen: seen.append(at),
        )
        storage = shelf.begin(document.info)
        assert storage.verified == set(range(document.info.count)), kind
        assert seen[-1][0] == seen[-1][1] == document.info.length
        storage.commit()
        storage.close()
        assert not (tmp_path / JOURNAL).exists()


def test_without_piece_layers_a_v2_file_is_taken_over_when_all_of_it_is_right(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["v2"].info
    write(tmp_path, "D", FOLDER)
    storage = FolderShelf(tmp_path, syncer=syncer).begin(info)
    assert storage.verified == set(range(info.count))
    storage.discard()
    check_tree(tmp_path)  # they were not ours to delete


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_partly_right_is_gone_on_with(
    kind: str, documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    document = documents[kind]
    info = document.info
    write(tmp_path, "D", FOLDER)
    with (tmp_path / "D/z").open("r+b") as stream:
        stream.write(b"wrong")
    alone = kind != "v1"  # there a short file has no piece of its own to be known by
    if alone:
        os.truncate(tmp_path / "D/a", 17 * KIB)
    shelf = FolderShelf(tmp_path, syncer=syncer, layers=document.layers)
    storage = shelf.begin(info)
    wrong = {info.files[-1].offset // info.piece_length, *([1] if alone else [])}
    assert storage.verified == set(range(info.count)) - wrong
    put(storage, *(set(range(info.count)) - storage.verified))
    storage.commit()
    storage.close()
    check_tree(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [100, 40_000, 50_000])
def test_a_file_that_is_something_else_is_not_touched(
    kind: str, size: int, documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    (tmp_path / "D").mkdir()
    (tmp_path / "D/z").write_bytes(b"x" * size)
    shelf = FolderShelf(tmp_path, syncer=syncer, layers=documents[kind].layers)
    with pytest.raises(LocalError, match="something else") as caught:
        shelf.begin(documents[kind].info)
    assert caught.value.hint
    assert (tmp_path / "D/z").read_bytes() == b"x" * size
    assert [path.name for path in tmp_path.iterdir()] == ["D"]


def test_an_unfinished_file_that_was_replaced_is_not_touched(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["hybrid"].info
    storage = FolderShelf(tmp_path, syncer=syncer).begin(info)
    put(storage, 0, 1)
    storage.close()
    storage.wait()
    later = time.time() + 3600
    for size in (20_000, 30_000):
        (tmp_path / "D/a").write_bytes(b"x" * size)
        os.utime(tmp_path / "D/a", (later, later))
        with pytest.raises(LocalError, match="something else"):
            FolderShelf(tmp_path, syncer=syncer).begin(info)
        assert (tmp_path / "D/a").read_bytes() == b"x" * size


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_changed_meanwhile_are_checked_again(
    kind: str, documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents[kind].info
    storage = FolderShelf(tmp_path, syncer=syncer).begin(info)
    put(storage, *range(info.count))
    storage.close()
    storage.wait()
    with (tmp_path / "D/z").open("r+b") as stream:
        stream.write(b"wrong")
    later = time.time() + 3600
    os.utime(tmp_path / "D/z", (later, later))
    (tmp_path / "D/sub/deeper/c").unlink()
    again = FolderShelf(tmp_path, syncer=syncer).begin(info)
    lost = set(info.pieces_of(info.files[3])) | {info.files[-1].offset // info.piece_length}
    assert again.verified == set(range(info.count)) - lost
    put(again, *lost)
    again.commit()
    again.close()
    check_tree(tmp_path)


@pytest.mark.parametrize("trap", ["D", "D/sub", "D/a", JOURNAL])
def test_no_link_leads_out_of_the_folder(
    trap: str, documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    inside = tmp_path / "inside"
    (inside / trap).parent.mkdir(parents=True, exist_ok=True)
    (inside / trap).symlink_to(outside / "file" if trap in ("D/a", JOURNAL) else outside)
    with pytest.raises(LocalError) as caught:
        FolderShelf(inside, syncer=syncer).begin(documents["v1"].info)
    assert caught.value.hint
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == b"precious"


def test_a_link_that_appears_later_is_not_followed(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["v1"].info
    storage = FolderShelf(tmp_path / "in", syncer=syncer).begin(info)
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "in/D/z").unlink()
    (tmp_path / "in/D/z").symlink_to(tmp_path / "precious")
    with pytest.raises(LocalError):
        put(storage, info.count - 1)
    storage.close()
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_the_folder_itself_may_be_a_link(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    info = documents["v2"].info
    storage = FolderShelf(tmp_path / "link", syncer=syncer).begin(info)
    put(storage, *range(info.count))
    storage.commit()
    storage.close()
    check_tree(tmp_path / "real")


def test_two_downloads_do_not_write_into_one_folder(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    storage = FolderShelf(tmp_path, syncer=syncer).begin(documents["v1"].info)
    put(storage, 0)
    with pytest.raises(InUseError):
        FolderShelf(tmp_path, syncer=syncer).begin(documents["v1"].info)
    storage.close()
    storage.wait()
    with pytest.raises(LocalError, match="another download"):
        FolderShelf(tmp_path, syncer=syncer).begin(documents["v2"].info)
    again = FolderShelf(tmp_path, syncer=syncer).begin(documents["v1"].info)
    assert again.verified == {0}
    again.close()


def test_files_can_be_checked_without_a_change(
    documents: dict[str, TorrentDocument], tmp_path: Path
) -> None:
    info = documents["hybrid"].info
    write(tmp_path, "D", FOLDER)
    assert FolderShelf(tmp_path).check(info) == set(range(info.count))
    (tmp_path / "D/sub/b").unlink()
    lost = set(info.pieces_of(info.files[2]))
    assert FolderShelf(tmp_path).check(info) == set(range(info.count)) - lost
    assert not (tmp_path / "D/sub/b").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["D"]


async def test_a_check_that_nobody_waits_for_ends_and_leaves_nothing_open(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["hybrid"].info
    write(tmp_path, "D", FOLDER)
    reading, goes_on = Event(), Event()

    def watch(done: int, total: int) -> None:
        reading.set()
        assert goes_on.wait(30)

    shelf = FolderShelf(tmp_path, syncer=syncer, watch=watch)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(begin(shelf, info))
        await asyncio.to_thread(reading.wait, 30)
        task.cancel()
    goes_on.set()
    again = FolderShelf(tmp_path, syncer=syncer)
    storage = await begin(again, info)
    assert storage.verified == set(range(info.count))
    storage.close()


def test_digests_that_lead_elsewhere_are_refused(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["hybrid"].info
    storage = FolderShelf(tmp_path, syncer=syncer).begin(info)
    put(storage, *range(info.count - 1))
    with pytest.raises(UnavailableError):
        storage.commit()
    put(storage, info.count - 1, keep=False)
    storage.keep(info.count - 1, bytes([1]) * 32)
    with pytest.raises(MalformedError, match="v2 hash"):
        storage.commit()
    storage.discard()
    storage.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_piece_kept_without_a_digest_is_read_once_more(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["hybrid"].info
    storage = FolderShelf(tmp_path, syncer=syncer).begin(info)
    put(storage, *range(info.count), keep=False)
    for piece in range(info.count):
        storage.keep(piece, b"")
    storage.commit()
    storage.close()


def test_what_was_taken_over_is_not_lost_when_the_download_is_cut_off(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["hybrid"].info
    write(tmp_path, "D", {"a": FOLDER["a"]})
    storage = FolderShelf(tmp_path, syncer=syncer).begin(info)
    assert storage.verified == {0, 1}
    storage.close()
    storage.wait()
    again = FolderShelf(tmp_path, syncer=syncer).begin(info)
    assert again.verified == {0, 1}
    again.close()


def test_a_full_disk_is_said_before_anything_is_written(
    documents: dict[str, TorrentDocument],
    tmp_path: Path,
    syncer: Syncer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folders, "RESERVE", 2**60)
    with pytest.raises(SpaceError) as caught:
        FolderShelf(tmp_path / "new", syncer=syncer).begin(documents["v1"].info)
    assert "folder" in caught.value.hint
    assert list((tmp_path / "new").iterdir()) == []


def test_a_disk_that_takes_no_more_ends_the_download_and_keeps_the_rest(
    documents: dict[str, TorrentDocument], tmp_path: Path, syncer: Syncer
) -> None:
    info = documents["v1"].info
    storage = FolderShelf(tmp_path, syncer=syncer).begin(info)
    put(storage, 0)
    storage.flush()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(LocalError):
            put(storage, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    storage.close()
    storage.wait()
    again = FolderShelf(tmp_path, syncer=syncer).begin(info)
    assert again.verified == {0}
    again.close()


def test_a_blob_is_called_what_its_link_says(tmp_path: Path, syncer: Syncer) -> None:
    data = content("x", 100_000)
    info = of_blob(hash_stream(BytesIO(data), len(data)).info)
    for name, expected in (("model.bin", "model.bin"), ("../evil", info.name), ("", info.name)):
        assert places_of(info, name) == ((expected,),)
        storage = FolderShelf(tmp_path, name=name, syncer=syncer).begin(info)
        for at in range(0, len(data), 50_000):
            storage.write(at, data[at : at + 50_000])
        for piece in range(info.count):
            at = piece * info.piece_length
            part = data[at : at + info.size_of(piece)]
            storage.keep(piece, piece_root(part, info, piece))
        assert storage.commit() == tmp_path / expected
        assert (tmp_path / expected).read_bytes() == data
        storage.close()
        (tmp_path / expected).unlink()


def test_the_name_of_a_journal_is_never_too_long() -> None:
    assert journal_of([("a" * 255, "b")]) != journal_of([("a" * 254 + "b", "b")])
    assert len(journal_of([("é" * 127,)]).encode()) <= 255


def test_more_files_than_may_be_open(tmp_path: Path, syncer: Syncer) -> None:
    shape = {f"{at:03}": at for at in range(3 * MAX_OPEN)}
    write(tmp_path / "source", "D", shape)
    info = parse_torrent_file(encode(make(tmp_path / "source", "D", "v1"))).info
    storage = FolderShelf(tmp_path / "to", syncer=syncer).begin(info)
    put(storage, *range(info.count))
    assert storage.read(0, info.length) == stream_of(info)
    assert len(list(Path("/proc/self/fd").iterdir())) < 2 * MAX_OPEN
    storage.commit()
    storage.close()


def test_what_is_served_must_still_be_there(
    documents: dict[str, TorrentDocument], tmp_path: Path
) -> None:
    info = documents["hybrid"].info
    write(tmp_path, "D", FOLDER)
    shelf = FolderShelf(tmp_path, info, complete=True)
    assert shelf.info is info
    reader = shelf.open()
    assert reader.verified == set(range(info.count))
    assert reader.read(0, info.length) == stream_of(info)
    assert reader.commit() == tmp_path / "D"
    reader.keep(0, b"")
    with pytest.raises(LocalError):
        reader.write(0, b"x")
    os.truncate(tmp_path / "D/z", 10)
    with pytest.raises(LocalError, match="shorter"):
        reader.read(info.length - 30_000, 100)
    reader.discard()
    assert (tmp_path / "D/a").exists()
    with pytest.raises(UnavailableError, match="changed"):
        shelf.open()
    with pytest.raises(UnavailableError):
        FolderShelf(tmp_path, info).open()
