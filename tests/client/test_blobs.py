"""The blob store keeps what it was given, within its quota, through crashes and meddling."""

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from client.blobs import BlobStore
from client.disk import SpaceError
from client.incoming import LAYER
from workunits.errors import LimitError, LocalError, MalformedError, UnavailableError
from workunits.ids import BlobRef
from workunits.metainfo import Hasher, Metainfo, build_info, hash_stream

QUOTA = 100_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore(tmp_path / "store", quota=QUOTA) as opened:
        yield opened


def info_of(data: bytes) -> Metainfo:
    hasher = Hasher(len(data))
    hasher.update(data)
    return hasher.finish().info


def kept(store: BlobStore, ref: BlobRef) -> bytes:
    with store.open(ref) as stream:
        return stream.read()


def test_bytes_come_back_under_their_reference(store: BlobStore) -> None:
    for data in (b"", b"x", os.urandom(50_000)):
        ref = store.add(data)
        assert ref == info_of(data).ref
        assert kept(store, ref) == data
        info = store.info_of(ref)
        assert info is not None and info.ref == ref


def test_a_file_is_copied_and_a_later_change_of_it_does_no_harm(
    store: BlobStore, tmp_path: Path
) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"before")
    ref = store.adopt(path)
    path.write_bytes(b"after!")
    assert kept(store, ref) == b"before"


def test_the_same_content_is_kept_once(store: BlobStore) -> None:
    assert store.add(b"twice") == store.add(b"twice")
    assert store.used == 5


def test_an_unknown_blob_is_none(store: BlobStore) -> None:
    ref = info_of(b"elsewhere").ref
    assert store.path_of(ref) is None and store.info_of(ref) is None
    with pytest.raises(UnavailableError):
        store.open(ref)


def test_links_folders_and_pipes_are_refused_with_a_hint(store: BlobStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    link = tmp_path / "link"
    link.symlink_to(target)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(LocalError) as caught:
            store.adopt(path)
        assert caught.value.hint
    assert store.used == 0


def test_content_replaced_by_a_link_or_cut_is_no_longer_the_blob(
    store: BlobStore, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 7)
    linked, cut = store.add(b"linked!"), store.add(b"to be cut")
    path = store.path_of(linked)
    assert path is not None
    path.unlink()
    path.symlink_to(secret)
    assert store.path_of(linked) is None
    path = store.path_of(cut)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(b"cut")
    assert store.path_of(cut) is None
    assert store.refs() == () and store.used == 0


def test_the_store_survives_a_restart_in_order_of_use(tmp_path: Path) -> None:
    with BlobStore(tmp_path, quota=QUOTA) as store:
        first, second, third = (store.add(bytes([n]) * 10) for n in range(3))
        for at, ref in enumerate((first, second, third)):
            os.utime(tmp_path / str(ref) / "info", (at, at))
        assert store.path_of(first)
    with BlobStore(tmp_path, quota=QUOTA) as store:
        assert store.refs() == (second, third, first)
        assert kept(store, second) == b"\x01" * 10


def test_half_written_files_are_gone_after_a_restart(tmp_path: Path) -> None:
    with BlobStore(tmp_path, quota=QUOTA) as store:
        good, no_info, bad_info, short = (store.add(bytes([n]) * 10) for n in range(4))
        crashed = store.begin(info_of(b"half"))
    (tmp_path / str(no_info) / "info").unlink()
    (tmp_path / str(bad_info) / "info").write_bytes(b"de")
    (tmp_path / str(short) / "content").chmod(0o600)
    (tmp_path / str(short) / "content").write_bytes(b"")
    (tmp_path / ("f" * 64)).symlink_to(tmp_path / str(good))
    with BlobStore(tmp_path, quota=QUOTA) as store:
        assert store.refs() == (good,)
        assert store.used == 10
        assert list((tmp_path / "incoming").iterdir()) == []
    crashed.close()


def test_two_processes_do_not_share_a_store(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="another process") as caught:
        BlobStore(tmp_path / "store", quota=QUOTA)
    assert caught.value.hint


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalError) as caught:
        BlobStore(tmp_path / "file" / "store", quota=QUOTA)
    assert caught.value.hint


def test_the_least_recently_used_blob_makes_room(store: BlobStore) -> None:
    first, second, third = (store.add(bytes([n]) * 30_000) for n in range(3))
    store.path_of(first)
    fourth = store.add(b"\xff" * 30_000)
    assert store.refs() == (third, first, fourth)
    assert store.path_of(second) is None


def test_held_blobs_stay_until_their_last_reason_ends(store: BlobStore) -> None:
    ref = store.add(b"a" * 60_000)
    store.hold(ref, "job 1")
    store.hold(ref, "job 2")
    store.release(ref, "job 1")
    store.release(ref, "never held")
    assert store.holds(ref) == {"job 2"}
    with pytest.raises(SpaceError) as caught:
        store.add(b"b" * 60_000)
    assert caught.value.hint and store.path_of(ref)
    store.release(ref, "job 2")
    store.add(b"b" * 60_000)
    assert store.path_of(ref) is None


def test_nothing_is_evicted_for_a_blob_that_does_not_fit_anyway(store: BlobStore) -> None:
    held, free = store.add(b"a" * 60_000), store.add(b"b" * 30_000)
    store.hold(held, "job")
    with pytest.raises(SpaceError):
        store.add(b"c" * 60_000)
    with pytest.raises(LimitError) as caught:
        store.add(b"c" * (QUOTA + 1))
    assert caught.value.hint
    assert store.refs() == (held, free)


def test_a_download_counts_from_its_start_and_gives_room_back(store: BlobStore) -> None:
    incoming = store.begin(info_of(b"a" * 60_000))
    assert store.used == 60_000
    with pytest.raises(SpaceError):
        store.add(b"b" * 60_000)
    incoming.close()
    incoming.close()
    assert store.used == 0
    assert store.add(b"b" * 60_000)


def test_a_download_written_in_pieces_becomes_the_blob(store: BlobStore) -> None:
    data = os.urandom(40_000)
    info = info_of(data)
    incoming = store.begin(info)
    for at in reversed(range(0, len(data), 16_384)):
        incoming.write(at, data[at : at + 16_384])
        assert incoming.read(at, 10) == data[at : at + 10]
    assert incoming.commit().read_bytes() == data
    assert kept(store, info.ref) == data and store.used == len(data)
    assert incoming.read(5, 10) == data[5:15]
    incoming.close()
    with pytest.raises(UnavailableError):
        incoming.write(0, b"late")
    assert kept(store, info.ref) == data


def test_two_downloads_of_one_blob_end_well(store: BlobStore) -> None:
    data = b"same" * 100
    one, two = store.begin(info_of(data)), store.begin(info_of(data))
    for incoming in (one, two):
        incoming.write(0, data)
        assert incoming.commit().read_bytes() == data
        incoming.close()
    assert store.used == len(data)


def test_pieces_that_fit_their_sha1_but_not_the_v2_root_are_rejected(store: BlobStore) -> None:
    data = b"content" * 1000
    honest = info_of(data)
    forged = build_info(len(data), bytes(32), honest.pieces)
    incoming = store.begin(forged)
    incoming.write(0, data)
    with pytest.raises(MalformedError, match="v2"):
        incoming.commit()
    incoming.close()
    assert store.path_of(forged.ref) is None and store.used == 0


@pytest.mark.parametrize("broken", ["missing", "short", "wrong"])
def test_digests_that_do_not_lead_to_the_root_are_not_passed_on(
    store: BlobStore, broken: str
) -> None:
    data = os.urandom(40_000)
    hashed = hash_stream(BytesIO(data), len(data))
    ref = store.add(data)
    assert store.digests_of(ref) == hashed.layer
    path = store.path_of(ref)
    assert path is not None
    layer = path.with_name(LAYER)
    layer.chmod(0o600)
    if broken == "missing":
        layer.unlink()
    else:
        layer.write_bytes({"short": hashed.layer[32:], "wrong": bytes(len(hashed.layer))}[broken])
    assert store.digests_of(ref) == b""


def test_the_digest_of_a_blob_of_one_piece_is_its_root(store: BlobStore) -> None:
    ref = store.add(b"x")
    assert store.digests_of(ref) == info_of(b"x").root
    assert store.digests_of(info_of(b"y").ref) == b""


def test_a_removed_blob_is_gone(store: BlobStore) -> None:
    ref = store.add(b"gone")
    store.remove(ref)
    store.remove(ref)
    assert store.path_of(ref) is None and store.used == 0


def test_stored_files_are_read_only(store: BlobStore) -> None:
    path = store.path_of(store.add(b"fixed"))
    assert path is not None and path.stat().st_mode & 0o777 == 0o444


def test_what_is_kept_elsewhere_counts_too(tmp_path: Path) -> None:
    with BlobStore(tmp_path, quota=1000) as store:
        old, held = store.add(b"a" * 300), store.add(b"b" * 300)
        store.hold(held, "use")
        store.claim(400)
        assert (store.used, store.room()) == (1000, 300)
        store.claim(500)
        assert store.path_of(old) is None
        assert (store.used, store.room()) == (800, 200)
        with pytest.raises(SpaceError):
            store.claim(701)
        assert store.used == 800
        store.claim(0)
        assert store.room() == 700
