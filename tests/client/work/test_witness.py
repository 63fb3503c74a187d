"""Witnesses against real trackers: an honest one is cosigned, one that forks is caught."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from client.ledger import SEEN, Seen
from client.tracker_api import TrackerApi
from client.work import notices
from client.work.clock import Clock
from client.work.notices import Notice
from client.work.witness import MAX_HEARD, PATIENCE, LedgerWitness
from tests.client.forking import forking, more
from tests.tracker.serving import Served, identity, served
from validators.witness import Fork, ForkError, cosigned, witness_name
from workunits.archive import origin
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.errors import UnavailableError
from workunits.ids import PeerKey


@dataclass
class Person:
    """Somebody with a home who is a witness of one tracker."""

    name: str
    home: Path
    url: str
    said: list[Notice] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.witness = self.start()

    def start(self) -> LedgerWitness:
        """Start anew, with the same home."""
        self.witness = LedgerWitness(
            self.url,
            identity(self.name),
            self.home,
            notify=self.said.append,
            clock=self.clock,
            rng=Random(1),
        )
        return self.witness

    async def look(self, tracker: Served | None = None, url: str = "") -> None:
        async with TrackerApi.connect(
            url or (tracker.url if tracker else self.url), attempts=1
        ) as api:
            await self.witness.look(api)

    def seen(self, tracker: PeerKey) -> SignedCheckpoint | None:
        return Seen(self.home).latest(tracker)

    def evidence(self) -> list[Fork]:
        files = sorted((self.home / SEEN / "forks").glob("*.fork"))
        return [Fork.parse(file.read_bytes()) for file in files]

    def warned(self) -> list[str]:
        return [each.message for each in self.said if isinstance(each, notices.Warned)]


async def test_an_honest_ledger_is_followed_and_cosigned_by_all(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        key = tracker.running.identity.key
        people = [Person(name, tmp_path / name, tracker.url) for name in ("a", "b", "c")]
        for size in (0, 3, 4):
            await more(tracker, size)
            for person in people:
                await person.look()
        for person in people:
            seen = person.seen(key)
            assert seen is not None
            assert seen.checkpoint.size == 7
            assert person.said == []
            head = person.witness.head()
            assert head is not None
            assert set(cosigned(head)) == {identity(person.name).key}
        async with TrackerApi.connect(tracker.url) as api:
            (note,) = await api.witnessed()
        assert set(cosigned(note)) == {identity(each.name).key for each in people}
        assert note.checkpoint.size == 7


@pytest.mark.parametrize(("mine", "theirs"), [(1, 1), (1, 2), (2, 1), (4, 1), (1, 5)])
async def test_a_tracker_that_shows_two_histories_to_one_witness_is_caught(
    tmp_path: Path, mine: int, theirs: int
) -> None:
    async with forking(tmp_path / "t", mine=mine, theirs=theirs) as (one, other):
        person = Person("a", tmp_path / "a", one.url)
        await person.look()
        with pytest.raises(ForkError, match="a fork") as caught:
            await person.look(other)
        (fork,) = person.evidence()
        assert fork == caught.value.fork
        # It went on showing the shorter history: then nothing pins the longer one down.
        assert fork.check() == (theirs >= mine)
        assert str(tmp_path / "a" / SEEN / "forks") in caught.value.hint
        assert any(isinstance(each, notices.Forked) for each in person.said)
        seen = person.seen(one.running.identity.key)
        assert seen is not None
        assert seen.checkpoint.size == 3 + mine


async def test_two_witnesses_of_a_fork_catch_it_when_they_meet_among_peers(tmp_path: Path) -> None:
    async with forking(tmp_path / "t") as (one, other):
        first, second = (
            Person(name, tmp_path / name, tracker.url)
            for name, tracker in (("a", one), ("b", other))
        )
        for person in (first, second):
            await person.look()
            await person.look()
        heads = first.witness.head(), second.witness.head()
        assert heads[0] is not None
        assert heads[1] is not None
        second.witness.hear(heads[0])
        with pytest.raises(ForkError) as caught:
            await second.look()
        assert caught.value.fork.check()
        assert "it is proof" in caught.value.hint
        first.witness.hear(heads[1])
        with pytest.raises(ForkError):
            await first.look()


async def test_two_witnesses_of_a_fork_catch_it_when_the_tracker_shows_one_to_the_other(
    tmp_path: Path,
) -> None:
    async with forking(tmp_path / "t") as (one, other):
        first, second = (
            Person(name, tmp_path / name, tracker.url)
            for name, tracker in (("a", one), ("b", other))
        )
        await first.look()
        head = first.witness.head()
        assert head is not None
        async with TrackerApi.connect(other.url) as api:
            await api.cosign(head)
        with pytest.raises(ForkError) as caught:
            await second.look()
        assert set(cosigned(caught.value.fork.one)) == {identity("a").key}


async def test_who_has_proof_does_not_go_back_until_the_file_is_gone(tmp_path: Path) -> None:
    async with forking(tmp_path / "t") as (one, other):
        person = Person("a", tmp_path / "a", one.url)
        await person.look()
        with pytest.raises(ForkError):
            await person.look(other)
        person.said.clear()
        person.start()
        with pytest.raises(ForkError, match="a fork"):
            await person.look(one)
        assert any(isinstance(each, notices.Forked) for each in person.said)
        (file,) = (tmp_path / "a" / SEEN / "forks").iterdir()
        file.write_bytes(b"not evidence")
        await person.look(one)
        file.unlink()
        await person.look(one)


async def test_a_ledger_that_was_set_back_is_a_fork_without_proof(tmp_path: Path) -> None:
    async with forking(tmp_path / "t", common=0, mine=3, theirs=1) as (one, other):
        person = Person("a", tmp_path / "a", one.url)
        await person.look()
        with pytest.raises(ForkError) as caught:
            await person.look(other)
        assert not caught.value.fork.check()
        assert "did not show" in caught.value.hint
        person.start()
        await person.look(one)  # no proof, no lasting distrust


async def test_an_old_answer_is_no_fork(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        person = Person("a", tmp_path / "a", tracker.url)
        await more(tracker, 2)
        old = await tracker.fetch("/api/v1/ledger/checkpoint")
        await more(tracker, 2)
        await person.look()

        async def stale(_: TrackerApi) -> SignedCheckpoint:
            return SignedCheckpoint.parse(old)

        with patch.object(TrackerApi, "checkpoint", stale):
            person.start()
            await person.look()
        assert person.said == []


async def test_what_peers_make_up_is_passed_over(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        key = tracker.running.identity.key
        person = Person("a", tmp_path / "a", tracker.url)
        person.witness.expect(key)
        liar, name = identity("liar"), origin(key)
        for size in range(MAX_HEARD + 5):
            forged = SignedCheckpoint(Checkpoint(name, size, bytes(32))).sign(liar, name)
            person.witness.hear(forged)
            foreign = origin(liar.key)
            person.witness.hear(
                SignedCheckpoint(Checkpoint(foreign, size, bytes(32))).sign(liar, foreign)
            )
            person.witness.hear(SignedCheckpoint(Checkpoint("example.com/x", size, bytes(32))))
        await person.look()
        assert person.said == []
        assert person.evidence() == []


async def test_a_peer_may_be_ahead(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        await more(tracker, 2)
        first = Person("a", tmp_path / "a", tracker.url)
        second = Person("b", tmp_path / "b", tracker.url)
        await first.look()
        old = first.witness.head()
        await more(tracker, 2)
        await second.look()
        new = second.witness.head()
        assert old is not None
        assert new is not None
        second.witness.hear(old)
        first.witness.hear(new)
        with patch.object(TrackerApi, "checkpoint", answer(old)):
            await first.look()
        await second.look()
        assert first.said == second.said == []
        seen = first.seen(tracker.running.identity.key)
        assert seen is not None
        assert seen.checkpoint.size == 4


def answer(value: Any) -> Any:
    async def say(*_: object, **__: object) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    return say


async def test_a_tracker_that_is_away_is_no_news(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        person = Person("a", tmp_path / "a", tracker.url)
    await person.look()
    assert person.said == []


async def test_a_tracker_that_keeps_back_proofs_is_named_after_a_while(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        person = Person("a", tmp_path / "a", tracker.url)
        await more(tracker, 2)
        await person.look()
        await more(tracker, 2)
        broken = UnavailableError("the tracker failed: oh")
        with patch.object(TrackerApi, "consistency", answer(broken)):
            for _ in range(PATIENCE + 2):
                await person.look()
        assert len(person.warned()) == 1
        assert "does not show how they go together" in person.warned()[0]
        await person.look()
        seen = person.seen(tracker.running.identity.key)
        assert seen is not None
        assert seen.checkpoint.size == 4


async def test_a_ledger_under_another_key_than_the_sessions_is_told_once(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        person = Person("a", tmp_path / "a", tracker.url)
        person.witness.expect(identity("somebody").key)
        await person.look()
        await person.look()
        assert len(person.warned()) == 1
        assert "signed with the key" in person.warned()[0]
        assert person.seen(tracker.running.identity.key) is None


async def test_a_memory_that_is_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        key = tracker.running.identity.key
        person = Person("a", tmp_path / "a", tracker.url)
        await person.look()
        (tmp_path / "a" / SEEN / key.hex()).unlink()
        await person.look()
        assert person.said == []
        assert person.seen(key) is not None


async def test_a_broken_memory_is_told_once(tmp_path: Path) -> None:
    async with served(tmp_path / "t") as tracker:
        person = Person("a", tmp_path / "a", tracker.url)
        place = tmp_path / "a" / SEEN
        place.mkdir(parents=True)
        (place / tracker.running.identity.key.hex()).write_bytes(b"rubbish")
        await person.look()
        await person.look()
        assert len(person.warned()) == 1
        assert "cannot be read" in person.warned()[0]


@asynccontextmanager
async def saying(body: bytes, status: int = 200) -> AsyncIterator[str]:
    """A server that answers everything in one way."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        yield str(server.make_url(""))


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>", 200), (b"", 200), (b"x" * 10_000, 200), (b"{}", 404), (b"\xff" * 100, 403)],
)
async def test_what_is_no_tracker_is_told_and_nothing_else(
    tmp_path: Path, body: bytes, status: int
) -> None:
    async with saying(body, status) as url:
        person = Person("a", tmp_path / "a", url)
        await person.look()
        assert len(person.warned()) == 1
        assert not (tmp_path / "a").exists()


async def test_it_looks_about_once_a_minute_until_it_sees_a_fork(tmp_path: Path) -> None:
    naps: list[float] = []
    async with forking(tmp_path / "t") as (one, other):

        async def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 2:
                head = await other.fetch("/api/v1/ledger/checkpoint")
                person.witness.hear(SignedCheckpoint.parse(head))

        person = Person("a", tmp_path / "a", one.url, clock=Clock(sleep=nap))
        async with asyncio.timeout(20):
            with pytest.raises(ForkError):
                await person.witness.run()
    assert len(naps) == 2
    assert all(45 <= each <= 75 for each in naps)


async def test_evidence_that_cannot_be_written_is_no_excuse(tmp_path: Path) -> None:
    async with forking(tmp_path / "t") as (one, other):
        person = Person("a", tmp_path / "a", one.url)
        await person.look()
        (tmp_path / "a" / SEEN / "forks").write_text("in the way")
        with pytest.raises(ForkError) as caught:
            await person.look(other)
        assert "the evidence is lost" in caught.value.hint.lower()


async def test_a_cosignature_alone_is_not_believed(tmp_path: Path) -> None:
    """Witnesses can cosign what the log never signed; a tracker may show that to frame itself."""
    async with served(tmp_path / "t") as tracker:
        await more(tracker, 2)
        person = Person("a", tmp_path / "a", tracker.url)
        name, liar = origin(tracker.running.identity.key), identity("liar")
        made_up = SignedCheckpoint(Checkpoint(name, 2, bytes(32))).cosign(
            liar, witness_name(liar.key), 5
        )
        with patch.object(TrackerApi, "witnessed", answer((made_up,))):
            await person.look()
        assert person.said == []
