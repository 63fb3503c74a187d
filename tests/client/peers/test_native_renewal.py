"""libtorrent gives up a torrent over wrong bytes of a peer, and is given it again."""

import asyncio
import os
from io import BytesIO
from pathlib import Path

from client.blobs import BlobStore
from client.peers.engine import AIORTC, LIBTORRENT
from tests.client.peers.conftest import Peers, Tracker, until
from workunits.metainfo import hash_stream


async def test_a_wrong_piece_does_not_pass_for_a_bad_torrent(
    peers: Peers, tracker: Tracker, tmp_path: Path
) -> None:
    data = os.urandom(300_000)
    hashed = hash_stream(BytesIO(data), len(data))
    info = hashed.info
    rest = len(data) - info.piece_length
    tracker.blobs[info.ref.v2.hex()] = (info.raw, bytes(info.piece_length) + data[-rest:])
    with BlobStore(tmp_path / "rest", quota=10**7) as store:
        part = store.begin(info)
        part.write(info.piece_length, data[-rest:])
        for piece in range(1, info.count):
            part.keep(piece, hashed.layer[32 * piece :][:32])
        part.close()
        async with peers, Peers(tracker, lambda: store) as others:
            fetcher, _ = await peers.add(engine=LIBTORRENT, grace=0.0)
            fetching = asyncio.get_running_loop().create_task(fetcher.fetch(info.ref))
            await until(lambda: tracker.blob_requests == 1)
            partial, _ = await others.add(engine=AIORTC)
            helping = asyncio.get_running_loop().create_task(partial.fetch(info.ref))
            # All pieces, with the wrong one for the first, do not lead to the root.
            await until(lambda: partial.stats.sent >= rest)
            seeder, full = await peers.add(engine=LIBTORRENT)
            seeder.seed(full.add(data))
            assert (await fetching).read_bytes() == data
            assert (await helping).read_bytes() == data
            assert fetcher.stats.from_webseed == 0
