"""Other people's clients against our tracker: npm's bittorrent-tracker, and libtorrent.

npm's is installed once into a cache directory, ``$SWARM_TEST_CACHE`` or
``~/.cache/openswarm-test``; libtorrent comes with the tools of the tests.
"""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.interop import programs
from tracker.announce.udp import serve_udp

HERE = Path(__file__).parent
HASH = bytes(range(100, 120))
ALICE, BOB = b"-TS0001-\x00alice\xff&=%+ ", b"-TS0001-bob---------"
PACKAGES = {
    "private": True,
    "dependencies": {"bittorrent-tracker": "11.2.3"},
    # This release carries its native part in the package, so no install script has to run.
    "overrides": {"node-datachannel": "0.33.4"},
}


def install(name: str, marker: object, *command: str) -> Path:
    """Run ``command`` in a cache directory once, however many test processes want it."""
    home = os.environ.get("SWARM_TEST_CACHE") or str(Path.home() / ".cache" / "openswarm-test")
    directory = Path(home) / name
    directory.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(marker)
    done = directory / "package.json.done"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != wanted:
            (directory / "package.json").write_text(wanted)
            subprocess.run(command, cwd=directory, check=True, timeout=300)
            done.write_text(wanted)
    return directory


@pytest.fixture(scope="session")
def bittorrent_tracker() -> Path:
    """Where npm's bittorrent-tracker is installed."""
    programs.need("node", "npm")
    flags = ["--ignore-scripts", "--no-audit", "--no-fund"]
    return install("bittorrent-tracker", PACKAGES, "npm", "install", *flags)


@dataclass
class Client:
    """One process with one bittorrent-tracker client in it."""

    process: Process
    passed: list[dict[str, Any]] = field(default_factory=list)

    async def do(self, command: str, **options: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, options]).encode() + b"\n")
        await self.process.stdin.drain()

    async def wait(self, event: str) -> dict[str, Any]:
        """The next ``event``; others are kept, and a warning fails the test."""
        assert self.process.stdout is not None
        while line := await asyncio.wait_for(self.process.stdout.readline(), 30):
            said: dict[str, Any] = json.loads(line)
            self.passed.append(said)
            if said["event"] == event:
                return said
            assert said["event"] not in ("error", "warning"), said
        raise AssertionError(f"the client ended before {event}: {self.passed}")


@asynccontextmanager
async def running(
    directory: Path, url: str, peer_id: bytes, port: int = 6881
) -> AsyncIterator[Client]:
    script, ids = str(HERE / "third_party.mjs"), (HASH.hex(), peer_id.hex())
    arguments = [script, str(directory), url, *ids, str(port)]
    process = await asyncio.create_subprocess_exec("node", *arguments, stdin=PIPE, stdout=PIPE)
    try:
        client = Client(process)
        await client.wait("ready")
        yield client
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("scheme", ["http", "udp"])
async def test_the_npm_client_announces_scrapes_and_stops(
    serve: Any, bittorrent_tracker: Path, scheme: str
) -> None:
    async with serve() as at, serve_udp(at.service, "127.0.0.1", 0) as udp:
        port = {"http": at.port, "udp": udp}[scheme]
        url = f"{scheme}://127.0.0.1:{port}/announce"
        async with running(bittorrent_tracker, url, ALICE) as client:
            await client.do("start", left=100)
            update = await client.wait("update")
            assert (update["complete"], update["incomplete"]) == (0, 1)
            await client.do("complete", left=0)
            assert (await client.wait("update"))["complete"] == 1
            await client.do("scrape")
            scrape = await client.wait("scrape")
            assert scrape["hash"] == HASH.hex()
            assert (scrape["complete"], scrape["downloaded"]) == (1, 1)
            await client.do("stop")
            assert (await client.wait("update"))["complete"] == 0
        counters = at.service.counters()
        assert (counters.refused, counters.udp_dropped) == (0, 0)
        announces = {"http": counters.http_announces, "udp": counters.udp_announces}
        assert announces.pop(scheme) == 3 and not any(announces.values())


async def test_two_npm_clients_find_each_other_over_udp(
    serve: Any, bittorrent_tracker: Path
) -> None:
    async with serve() as at, serve_udp(at.service, "127.0.0.1", 0) as port:
        url = f"udp://127.0.0.1:{port}/announce"
        async with running(bittorrent_tracker, url, ALICE) as client:
            await client.do("start", left=0)
            await client.wait("update")
        async with running(bittorrent_tracker, url, BOB, port=6882) as client:
            await client.do("start", left=9)
            assert (await client.wait("peer"))["address"] == "127.0.0.1:6881"


async def test_the_npm_client_is_told_where_a_peer_is(serve: Any, bittorrent_tracker: Path) -> None:
    # Only compact: the client spells the addresses of full replies byte by byte.
    addresses = iter(["192.0.2.1", "2001:db8::1", "192.0.2.2"])
    async with serve(source=lambda *_: next(addresses)) as at:
        quoted = "".join(f"%{byte:02x}" for byte in HASH)
        for name in "xy":
            await at.get(f"/announce?info_hash={quoted}&peer_id={name * 20}&port=4242")
        async with running(bittorrent_tracker, at.base + "/announce", ALICE) as client:
            await client.do("start", left=1)
            found = {(await client.wait("peer"))["address"] for _ in range(2)}
            assert found == {"192.0.2.1:4242", "[2001:db8::1]:4242"}


async def test_two_npm_clients_meet_over_webrtc(serve: Any, bittorrent_tracker: Path) -> None:
    async with serve() as at:
        url = at.base.replace("http", "ws") + "/announce"
        async with (
            running(bittorrent_tracker, url, ALICE) as alice,
            running(bittorrent_tracker, url, BOB) as bob,
        ):
            # Without offers of her own, because the client takes 5 seconds to make any.
            await alice.do("start", left=0, numwant=0)
            update = await alice.wait("update")
            assert (update["complete"], update["incomplete"]) == (1, 0)
            await bob.do("start", left=None, numwant=2)
            update = await bob.wait("update")
            assert (update["complete"], update["incomplete"]) == (1, 1)
            assert (await alice.wait("peer"))["id"] == BOB.hex()
            assert (await bob.wait("peer"))["id"] == ALICE.hex()
            assert (await alice.wait("data"))["text"] == f"hello from {BOB.hex()}"
            assert (await bob.wait("data"))["text"] == f"hello from {ALICE.hex()}"
            await bob.do("complete", left=0)
            assert (await bob.wait("update"))["complete"] == 2
            await bob.do("scrape")
            scrape = await bob.wait("scrape")
            assert (scrape["complete"], scrape["downloaded"]) == (2, 1)
            await bob.do("stop", left=0)
            assert (await bob.wait("update"))["complete"] == 1
        counters = at.service.counters()
        assert (counters.relayed_offers, counters.relayed_answers) == (1, 1)
        assert counters.refused == 0


@pytest.mark.parametrize("scheme", ["http", "udp", "ws"])
async def test_libtorrent_finds_and_fetches_through_our_tracker(
    serve: Any, tmp_path: Path, scheme: str
) -> None:
    async with serve() as at, serve_udp(at.service, "127.0.0.1", 0) as udp:
        port = udp if scheme == "udp" else at.port
        url = f"{scheme}://127.0.0.1:{port}/announce"
        arguments = [str(HERE / "third_party.py"), url, str(tmp_path), "60"]
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
        try:
            assert await asyncio.wait_for(process.wait(), 90) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        counters = at.service.counters()
        counts = {
            "ws": counters.relayed_answers,
            "http": counters.http_announces,
            "udp": counters.udp_announces,
        }
        assert counts[scheme] > 0
        assert counters.refused == 0
