"""Forks from a user's side: compare what was seen, check evidence, and volunteers that stop."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path
from unittest.mock import patch

import pytest

from client.commands.invocation import Invocation
from client.commands.volunteer import Offer, serve
from client.config import Config
from client.forks import parse
from client.ledger import SEEN, Seen
from sandbox.fake import FakeSandbox, Played, Stage
from tests.client.commands.shell import Said, Shell
from tests.client.forking import forking, more
from tests.tracker.serving import Served, served
from validators.witness import Fork, ForkError, cosigned
from workunits.checkpoints import SignedCheckpoint
from workunits.errors import RemoteError

OFFER = Offer(cpus=1, memory_bytes=1 << 30, disk_bytes=1 << 30, validator=True)


@asynccontextmanager
async def people(folder: Path) -> AsyncIterator[tuple[Shell, Shell, Served, Served]]:
    """Two users of a tracker that shows 4 entries to one and other 5 to the other."""
    async with forking(folder / "trackers") as (one, other):
        yield Shell(folder / "a", one.url), Shell(folder / "b", other.url), one, other


async def good(shell: Shell, *words: str | Path) -> Said:
    said = await shell.arun(*words)
    assert said.status == 0, said
    return said


async def note(shell: Shell, file: Path, *options: str) -> Path:
    file.write_text((await good(shell, "ledger", "checkpoint", *options)).out)
    return file


async def test_a_checkpoint_is_handed_over_and_compared(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        first, second = Shell(tmp_path / "a", tracker.url), Shell(tmp_path / "b", tracker.url)
        await more(tracker, 2)
        mine = await note(first, tmp_path / "mine", "--cosign")
        signed = SignedCheckpoint.parse(mine.read_bytes())
        assert signed.checkpoint.size == 2
        assert [key.hex() for key in cosigned(signed)] == [
            (await good(first, "key", "show")).out.strip()
        ]
        await more(tracker, 3)
        said = await good(second, "ledger", "compare", mine)
        assert said.out == "one history: you saw 5 entries of it, they saw 2\n"
        report = (await good(second, "ledger", "compare", mine, "--json")).json
        assert report == {
            "tracker": tracker.running.identity.key.hex(),
            "yours": 5,
            "theirs": 2,
        }
        await good(first, "ledger", "compare", tracker.url)
        shown = (await good(first, "ledger", "checkpoint", "--json")).json
        assert shown["entries"] == 5
        exported = tmp_path / "books.swl"
        await good(first, "ledger", "export", exported)
        assert "5 entries" in (await good(second, "ledger", "compare", exported)).out
        standard_input = TextIOWrapper(BytesIO(mine.read_bytes()))
        with patch("sys.stdin", standard_input):
            assert "they saw 2" in (await good(second, "ledger", "compare", "-")).out


async def test_a_fork_is_caught_by_comparing_files(tmp_path: Path) -> None:
    async with people(tmp_path) as (first, second, one, _):
        mine = await note(first, tmp_path / "mine")
        await note(second, tmp_path / "other")
        said = await second.arun("ledger", "compare", mine)
        assert said.status == 1
        assert "a fork" in said.err
        (evidence,) = (second.home / SEEN / "forks").iterdir()
        assert f"give {evidence} to others: it is proof" in said.err
        fork = parse(evidence.read_bytes())
        assert isinstance(fork, Fork)
        assert fork.check()
    # Offline, by somebody who never saw either tracker.
    stranger = Shell(tmp_path / "c", one.url)
    said = await stranger.arun("ledger", "compare", evidence, "--json")
    assert said.status == 1
    error = json.loads(said.err)["error"]
    assert (error["code"], error["blame"]) == ("fork", "theirs")
    assert [each.read_bytes() for each in (stranger.home / SEEN / "forks").iterdir()] == [
        evidence.read_bytes()
    ]


async def test_a_fork_is_caught_by_comparing_servers(tmp_path: Path) -> None:
    async with people(tmp_path) as (first, second, one, other):
        await note(first, tmp_path / "mine")
        said = await first.arun("ledger", "compare", other.url)
        assert said.status == 1
        assert "a fork" in said.err
        said = await second.arun("ledger", "compare", one.url)
        assert "it is proof" in said.err
        assert (await first.arun("ledger", "checkpoint", "--tracker", other.url)).status == 1


async def test_evidence_without_proof_is_settled_with_the_tracker(tmp_path: Path) -> None:
    async with people(tmp_path) as (first, second, one, other):
        signed = [
            SignedCheckpoint.parse(await each.fetch("/api/v1/ledger/checkpoint"))
            for each in (one, other)
        ]
        file = tmp_path / "evidence"
        file.write_bytes(Fork.between(*signed).encode())
        assert "did not show" in (await first.arun("ledger", "compare", file)).err
        assert "it is proof" in (await second.arun("ledger", "compare", file)).err
        await more(one, 2)
        later = SignedCheckpoint.parse(await one.fetch("/api/v1/ledger/checkpoint"))
        file.write_bytes(Fork.between(signed[0], later).encode())
        assert (
            "one history"
            in (await good(Shell(tmp_path / "c", one.url), "ledger", "compare", file)).out
        )


async def test_what_cannot_be_compared_says_so(tmp_path: Path) -> None:
    async with people(tmp_path) as (first, *_):
        mine = await note(first, tmp_path / "mine")
        said = await first.arun("ledger", "compare", tmp_path / "none")
        assert "cannot read" in said.err
        (tmp_path / "x").write_text("hello")
        assert (await first.arun("ledger", "compare", tmp_path / "x")).status == 1
        changed = mine.read_text().replace("\n4\n", "\n5\n")
        (tmp_path / "x").write_text(changed)
        assert "signature" in (await first.arun("ledger", "compare", tmp_path / "x")).err
        async with served(tmp_path / "elsewhere") as elsewhere:
            stranger = Shell(tmp_path / "c", elsewhere.url)
            said = await stranger.arun("ledger", "compare", mine)
            assert "never looked at" in said.err
            assert "--tracker" in said.err


@pytest.mark.parametrize("raw", [b"", b"d", b"de", b"5:hello", b"99", b"9999999999", b"x", b"\n\n"])
def test_what_is_neither_note_nor_evidence_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        parse(raw)


async def nothing(_: Stage) -> Played:
    return Played()


async def test_a_validator_cosigns_what_it_sees(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        await more(tracker, 2)
        config = Config.make(
            home=tmp_path / "validator", tracker=tracker.url, environment={"HOME": str(tmp_path)}
        )
        sandbox = FakeSandbox(nothing)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            validator = group.create_task(serve(Invocation(config, json=True), OFFER, sandbox))
            while not (notes := (await tracker.ask("/api/v1/ledger/witnessed"))["notes"]):
                pass
            validator.cancel()
            with suppress(asyncio.CancelledError):
                await validator
        await sandbox.close()
        signed = SignedCheckpoint.parse(notes[0].encode())
        assert signed.checkpoint.size >= 2  # that peers come and go may be written down too
        own = Seen(tmp_path / "validator").latest(tracker.running.identity.key)
        assert own is not None
        assert own.checkpoint == signed.checkpoint
        peers = (await tracker.ask("/api/v1/peers"))["peers"]
        assert {key.hex() for key in cosigned(signed)} == {peer["key"] for peer in peers}


async def test_a_validator_stops_at_a_fork_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with people(tmp_path) as (first, _, _, other):
        await note(first, tmp_path / "mine")
        home = tmp_path / "validator"
        shutil.copytree(first.home / SEEN, home / SEEN)
        config = Config.make(home=home, tracker=other.url, environment={"HOME": str(home)})
        async with asyncio.timeout(30):
            sandbox = FakeSandbox(nothing)
            with pytest.raises(BaseExceptionGroup) as caught:
                await serve(Invocation(config, json=True), OFFER, sandbox)
            await sandbox.close()
        forked, rest = caught.value.split(ForkError)
        assert forked is not None
        assert rest is None
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (told,) = [each for each in events if each["event"] == "Forked"]
        assert "a fork" in told["message"]
        (evidence,) = (home / SEEN / "forks").iterdir()
        assert str(evidence) in told["hint"]
