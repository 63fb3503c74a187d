"""The tracker as a whole: how it starts, how it ends, and what happens when it cannot go on."""

import asyncio
import os
import signal
import socket
import stat
import sys
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from tests.tracker.serving import SECONDS, Served, served
from tests.tracker.work.world import SUBMITTER, manifest
from tracker import commands
from tracker.address import ADDRESS_FILE, KEY_FILE, Address, operator_identity
from tracker.rows import ContentRow
from tracker.service import DATABASE, Running, serve
from tracker.settings import NO_UDP, Settings
from tracker.store.schema import connect
from workunits.errors import LocalError
from workunits.signing import Identity
from workunits.statements import Grant, Statement
from workunits.wire.work import Leases


async def test_the_address_is_written_while_the_tracker_serves(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        assert tracker.running.address.port > 0
        assert (tmp_path / ADDRESS_FILE).read_text() == tracker.url + "\n"
    assert not (tmp_path / ADDRESS_FILE).exists()


def test_an_ipv6_host_stands_in_brackets() -> None:
    assert Address("::1", 80).url == "http://[::1]:80"
    assert Address("127.0.0.1", 80).url == "http://127.0.0.1:80"


async def test_the_operators_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        key = tracker.running.identity.key
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert operator_identity(tmp_path).key == key


@pytest.mark.parametrize("content", ["", "xyz", "ab" * 31, "g" * 64, "é" * 64])
def test_a_broken_key_file_is_refused_and_not_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(LocalError, match="is not a key") as caught:
        operator_identity(tmp_path)
    assert "backup" in caught.value.hint
    assert (tmp_path / KEY_FILE).read_text() == content


async def test_an_address_that_is_taken_says_how_to_choose_another(tmp_path: Path) -> None:
    async with served(tmp_path / "one") as tracker:
        with pytest.raises(LocalError, match="cannot listen") as caught:
            async with serve(tmp_path / "two", tracker.running.address):
                raise AssertionError("it serves")
        assert "--listen" in caught.value.hint


async def test_two_trackers_do_not_share_a_directory(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        with pytest.raises(LocalError, match="another tracker") as caught:
            async with serve(tmp_path, Address("127.0.0.1", 0)):
                raise AssertionError("it serves")
        assert caught.value.hint
        assert (tmp_path / ADDRESS_FILE).read_text() == tracker.url + "\n"
    async with served(tmp_path):
        pass


async def test_a_tracker_that_cannot_write_says_so_and_acknowledges_nothing(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as tracker:
        writer = tracker.running.sessions._writer
        pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
        writer._connection.execute(f"PRAGMA max_page_count={pages}")
        rows = tracker.running.sessions.desk.floor.outbox.rows
        rows.append(ContentRow(b"v" * 32, b"x" * 100_000))
        statement = tracker.sign(Grant(SUBMITTER.key, 5))
        with pytest.raises(TimeoutError):
            await tracker.http.post(
                f"{tracker.url}/api/v1/statements",
                data=statement.encode(),
                timeout=aiohttp.ClientTimeout(total=1),
            )
        failure = await asyncio.wait_for(tracker.running.failure, SECONDS)
        assert "Free space" in failure.hint
    async with served(tmp_path) as tracker:
        status = await tracker.ask("/api/v1/status")
        assert status["ledger"]["minted"] == 0


PROGRAM = "import sys; from tracker.commands import tracker; tracker(sys.argv[1:])"


class Child:
    """A tracker in a process of its own, as its operator runs it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> "Child":
        command = (sys.executable, "-c", PROGRAM, "serve", "--listen", "127.0.0.1:0")
        self.process = await asyncio.create_subprocess_exec(
            *command, "--data", str(self.data), stderr=asyncio.subprocess.PIPE
        )
        assert self.process.stderr is not None
        async with asyncio.timeout(SECONDS):
            while b"Listening" not in (line := await self.process.stderr.readline()):
                assert line, "the tracker ended at once"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        assert self.process.stderr is not None
        await self.process.stderr.read()
        await self.process.wait()

    def served(self, http: aiohttp.ClientSession) -> Served:
        """It, as the tests talk to it."""
        url = (self.data / ADDRESS_FILE).read_text().strip()
        address = Address("127.0.0.1", int(url.rpartition(":")[2]))
        running = Running.__new__(Running)
        running.address, running.identity = address, operator_identity(self.data)
        return Served(running, http)

    def kill(self) -> None:
        """End it without a word."""
        os.kill(self.process.pid, signal.SIGKILL)


async def test_a_tracker_that_is_killed_in_mid_job_has_everything_that_it_acknowledged(
    tmp_path: Path,
) -> None:
    async with aiohttp.ClientSession() as http:
        async with Child(tmp_path) as child:
            tracker = child.served(http)
            await tracker.grant(amount=1000)
            job = await tracker.submit(manifest(4, price=5))
            worker = await tracker.join("worker")
            await worker.expect(Leases)
            tokens = sorted(worker.leases)
            await worker.commit(tokens[:3])
            held, results = dict(worker.leases), dict(worker.results)
            child.kill()
            await child.process.wait()
            await worker.closed()
        async with Child(tmp_path) as child:
            tracker = child.served(http)
            status = await tracker.ask("/api/v1/status")
            assert (status["ledger"]["minted"], status["ledger"]["total"]) == (1000, 0)
            view = await tracker.ask(f"/api/v1/jobs/{job['id']}")
            assert (view["state"], view["escrow"]["held"]) == ("active", 40)
            worker = await tracker.join("worker")
            assert worker.welcome is not None
            assert list(worker.welcome.committed) == tokens[:3]
            assert list(worker.welcome.held) == tokens[3:]
            worker.leases, worker.results = held, results
            await worker.commit()
            await worker.socket.close()
    with closing(connect(tmp_path / DATABASE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_ctrl_c_ends_a_tracker_in_order(tmp_path: Path) -> None:
    async with Child(tmp_path) as child, aiohttp.ClientSession() as http:
        worker = await child.served(http).join("worker")
        child.process.send_signal(signal.SIGINT)
        assert await worker.closed() == 1001
        async with asyncio.timeout(SECONDS):
            assert await child.process.wait() == 0
        assert not (tmp_path / ADDRESS_FILE).exists()


async def test_a_grant_that_was_carried_out_is_not_repeated_after_a_restart(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as tracker:
        statement: Statement = tracker.sign(Grant(SUBMITTER.key, 5))
        assert not (await tracker.say(statement))["repeated"]
    async with served(tmp_path) as tracker:
        assert (await tracker.say(statement))["repeated"]
        assert (await tracker.ask("/api/v1/status"))["ledger"]["minted"] == 5


async def test_another_operators_tracker_has_another_key(tmp_path: Path) -> None:
    async with served(tmp_path / "a") as one, served(tmp_path / "b") as other:
        assert one.running.identity.key != other.running.identity.key
        assert isinstance(one.running.identity, Identity)


def test_the_tracker_runs_on_uvloop() -> None:
    async def loop() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert commands._run(loop()) == "uvloop"


async def test_datagrams_are_answered_on_the_same_number_or_where_it_is_said(
    tmp_path: Path,
) -> None:
    async with served(tmp_path / "one") as tracker:
        assert tracker.running.udp_port in (tracker.running.address.port, None)
    settings = Settings(udp=Address("127.0.0.1", 0))
    async with served(tmp_path / "two", settings=settings) as tracker:
        port = tracker.running.udp_port
        assert port
        with pytest.raises(LocalError, match="for UDP") as caught:
            async with served(
                tmp_path / "three", settings=Settings(udp=Address("127.0.0.1", port))
            ):
                raise AssertionError("it serves")
        assert "--udp off" in caught.value.hint
    async with served(tmp_path / "two", settings=Settings(udp=NO_UDP)) as tracker:
        assert tracker.running.udp_port is None


async def test_a_number_that_is_taken_for_datagrams_is_done_without(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        try:
            async with serve(tmp_path, Address("127.0.0.1", taken.getsockname()[1])) as running:
                assert running.udp_port is None
        except LocalError:  # somebody else has that number for TCP
            pass
