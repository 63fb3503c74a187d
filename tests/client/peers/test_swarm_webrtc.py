"""Real aiortc peers exchange blobs through a real tracker."""

import os

from tests.client.peers.conftest import Peers

SIZE = 1_500_000


async def test_a_peer_fetches_a_blob_from_a_seed(peers: Peers) -> None:
    data = os.urandom(SIZE)
    async with peers:
        seeder, theirs = await peers.add()
        ref = theirs.add(data)
        seeder.seed(ref)
        leecher, _ = await peers.add()
        path = await leecher.fetch(ref)
        assert path.read_bytes() == data
        assert leecher.stats.from_webrtc >= SIZE and leecher.stats.from_webseed == 0
        assert seeder.stats.sent >= SIZE
