"""The web seed: blobs whose content is right, within a quota."""

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest

from tracker.blobs import MAX_BLOB, WebSeed
from workunits.errors import LimitError, RefusedError
from workunits.ids import PeerKey
from workunits.metainfo import hash_stream, parse_info

ACCOUNT = PeerKey(b"k" * 32)
DATA = b"content" * 10_000
TORRENT = hash_stream(BytesIO(DATA), len(DATA)).info


async def chunks(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def test_a_kept_blob_is_on_disk_under_its_hash(tmp_path: Path) -> None:
    seed = WebSeed(tmp_path / "blobs", 0)
    row = await seed.keep(TORRENT.ref.v2, len(DATA), chunks(DATA), ACCOUNT)
    assert (row.v2, row.length, row.account) == (TORRENT.ref.v2, len(DATA), ACCOUNT)
    assert parse_info(row.info).ref == TORRENT.ref
    assert seed.path(row.v2).read_bytes() == DATA
    assert seed.held == len(DATA)


@pytest.mark.parametrize("data", [b"", DATA[:-1], b"?" + DATA[1:], DATA + b"?"])
async def test_wrong_content_leaves_no_file_and_takes_no_room(tmp_path: Path, data: bytes) -> None:
    seed = WebSeed(tmp_path / "blobs", 0)
    with pytest.raises((RefusedError, LimitError)) as caught:
        await seed.keep(TORRENT.ref.v2, len(DATA), chunks(data), ACCOUNT)
    assert caught.value.blame == "theirs"
    assert list((tmp_path / "blobs").iterdir()) == []
    assert seed.held == 0


async def test_an_upload_without_end_is_cut_at_the_length_announced(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1000
            yield b"x" * 1000

    seed = WebSeed(tmp_path / "blobs", 0)
    with pytest.raises(LimitError, match="longer than the 5,000 bytes announced"):
        await seed.keep(TORRENT.ref.v2, 5000, endless(), ACCOUNT)
    assert taken == 6000


async def test_the_quota_counts_what_is_held(tmp_path: Path) -> None:
    seed = WebSeed(tmp_path / "blobs", held=1, quota=len(DATA))
    with pytest.raises(LimitError, match="web seed is full") as caught:
        await seed.keep(TORRENT.ref.v2, len(DATA), chunks(DATA), ACCOUNT)
    assert caught.value.hint
    seed.check(len(DATA) - 1)


def test_a_blob_over_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="over the web seed's limit") as caught:
        WebSeed(tmp_path, 0).check(MAX_BLOB + 1)
    assert caught.value.hint


def test_a_full_web_seed_says_so(tmp_path: Path) -> None:
    seed = WebSeed(tmp_path / "blobs", held=90, quota=100)
    seed.check(10)
    with pytest.raises(LimitError, match="web seed is full") as caught:
        seed.check(11)
    assert caught.value.hint
