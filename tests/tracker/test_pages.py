"""The status page: for people, without scripts, and safe to look at."""

import dataclasses
from html import escape
from pathlib import Path

from tests.tracker.serving import served
from tests.tracker.work.world import manifest
from tracker.announce.admission import Mode
from tracker.settings import Settings
from tracker.stats import WORDS

HOSTILE = "<script>alert(1)</script>&\"'{connected}"


async def test_the_page_shows_jobs_peers_and_the_books(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        empty = (await tracker.fetch("/")).decode()
        assert "No job is active." in empty
        assert "No peer has come yet." in empty
        await tracker.grant(amount=12_345)
        job = await tracker.submit(manifest(2000, price=1))
        await tracker.join("worker")
        page = (await tracker.fetch("/")).decode()
        assert job["id"][:12] in page
        assert "12,345" in page
        assert "connected" in page


async def test_a_hostile_job_name_is_only_text(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.submit(dataclasses.replace(manifest(), name=HOSTILE))
        page = (await tracker.fetch("/")).decode()
        assert "<script" not in page
        assert escape(HOSTILE) in page


async def test_a_browser_is_told_to_run_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker, tracker.http.get(tracker.url + "/") as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.content_type == "text/html"


async def test_the_stats_are_for_people_and_for_scripts(tmp_path: Path) -> None:
    async with served(tmp_path, settings=Settings(Mode.OPEN)) as tracker:
        query = f"peer_id={'p' * 20}&port=1&left=0"
        await tracker.fetch(f"/announce?info_hash={'h' * 20}&{query}")
        await tracker.fetch(f"/announce?info_hash=short&{query}")
        numbers = await tracker.ask("/stats.json")
        assert numbers["peers"]["all"] == numbers["peers"]["seeders"] == numbers["swarms"] == 1
        assert numbers["announces"]["http"] == 2
        assert (numbers["errors"], numbers["mode"]) == (1, "open")
        page = (await tracker.fetch("/stats")).decode()
        assert "Limits that were hit" in page
        assert "<script" not in page
        assert "h" * 20 not in page + str(numbers)
        assert 'href="/stats"' in (await tracker.fetch("/")).decode()
        words = {name for group in numbers.values() if isinstance(group, dict) for name in group}
        assert words - WORDS.keys() == {"all", "seeders", "leechers"}
