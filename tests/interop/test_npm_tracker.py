"""The client of npm's bittorrent-tracker at a tracker that is a process, over all three wires."""

from pathlib import Path

import pytest

from tests.interop.members import announce_url
from tests.tracker.announce.test_interop import ALICE, HASH, bittorrent_tracker, running

__all__ = ["bittorrent_tracker"]


@pytest.mark.parametrize("scheme", ["http", "udp", "ws"])
async def test_the_client_announces_scrapes_and_stops(
    tracker: str, bittorrent_tracker: Path, scheme: str
) -> None:
    url = announce_url(tracker, scheme)
    async with running(bittorrent_tracker, url, ALICE) as client:
        # Without offers of its own, because the client takes 5 seconds to make any.
        await client.do("start", left=100, numwant=0)
        update = await client.wait("update")
        assert (update["complete"], update["incomplete"]) == (0, 1)
        await client.do("complete", left=0, numwant=0)
        assert (await client.wait("update"))["complete"] == 1
        await client.do("scrape")
        scrape = await client.wait("scrape")
        assert scrape["hash"] == HASH.hex()
        assert (scrape["complete"], scrape["downloaded"]) == (1, 1)
        await client.do("stop")
        assert (await client.wait("update"))["complete"] == 0
