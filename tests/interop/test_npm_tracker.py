"""The client of npm's bittorrent-tracker at a tracker that is a process, over all three wires."""

from pathlib import Path

import pytest

from tests.interop.members import announce_url
from tests.tracker.announce.test_interop import ALICE, BOB, HASH, bittorrent_tracker, running

__all__ = ["bittorrent_tracker"]


@pytest.mark.parametrize("scheme", ["http", "udp", "ws"])
async def test_the_client_announces_scrapes_and_stops(
    tracker: str, bittorrent_tracker: Path, scheme: str
) -> None:
    url = announce_url(tracker, scheme)
    async with (
        running(bittorrent_tracker, url, ALICE) as alice,
        running(bittorrent_tracker, url, BOB) as bob,
    ):
        # Without offers of their own, because the client takes 5 seconds to make any.
        await alice.do("start", left=100, numwant=0)
        update = await alice.wait("update")
        assert (update["complete"], update["incomplete"]) == (0, 1)
        await bob.do("start", left=0, numwant=0)
        update = await bob.wait("update")
        assert (update["complete"], update["incomplete"]) == (1, 1)
        await alice.do("complete", left=0)
        assert (await alice.wait("update"))["complete"] == 2
        await alice.do("scrape")
        scrape = await alice.wait("scrape")
        assert scrape["hash"] == HASH.hex()
        assert (scrape["complete"], scrape["downloaded"]) == (2, 1)
        await alice.do("stop")
        assert (await alice.wait("update"))["complete"] == 1
