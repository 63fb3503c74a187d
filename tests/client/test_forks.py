"""Asking trackers that lie, fail or know nothing how two checkpoints go together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from client.forks import Forks, hold_against, parse, see
from client.ledger import SEEN, Seen
from client.tracker_api import TrackerApi
from tests.validators.logs import TRACKER, TREE, head, leaf, sign, tree_of
from validators.witness import Fork, ForkError, Witness
from workunits.archive import frame
from workunits.errors import (
    LimitError,
    LocalError,
    MalformedError,
    ProofError,
    RemoteError,
    SwarmError,
    UnavailableError,
)
from workunits.merkle import Tree

Answer = Callable[[str, dict[str, str]], Any]


@asynccontextmanager
async def log_of(answer: Answer) -> AsyncIterator[TrackerApi]:
    """A server that answers ``answer(path, query)``; an error becomes its status and code."""

    async def handler(request: web.Request) -> web.Response:
        path = request.path.removeprefix("/api/v1/ledger").strip("/")
        try:
            return web.json_response(answer(path, dict(request.query)))
        except SwarmError as error:
            status = 503 if isinstance(error, UnavailableError) else 400
            body = {"code": error.code, "message": error.message}
            return web.json_response({"error": body}, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with (
        TestServer(app) as server,
        TrackerApi.connect(str(server.make_url("")), attempts=1) as api,
    ):
        yield api


def honest(tree: Tree, branch: Callable[[int], str] = lambda _: "") -> Answer:
    """What a log with ``tree`` answers."""

    def answer(path: str, query: dict[str, str]) -> Any:
        numbers = {key: int(value) for key, value in query.items()}
        if path == "":
            number = numbers["after"]
            return {"entries": [{"leaf": leaf(number, branch(number)).hex()}]}
        proof = tree.inclusion(**numbers) if path == "inclusion" else tree.consistency(**numbers)
        return {"proof": [each.hex() for each in proof]}

    return answer


def away(*_: object) -> Any:
    raise UnavailableError("down")


def refusing(*_: object) -> Any:
    raise ProofError("a log of 0 entries has no proof")


MINE, THEIRS = head(TREE, 5), head(TREE, 9)
SEEN_MINE = Witness(TRACKER.key, MINE)
OTHER = head(tree_of(9, 3))


async def test_any_log_that_shows_it_will_do() -> None:
    async with log_of(away) as one, log_of(refusing) as other, log_of(honest(TREE)) as third:
        for logs in ((one, third), (other, third), (third,)):
            assert (await see(SEEN_MINE, THEIRS, logs)).latest == THEIRS
            older = await see(Witness(TRACKER.key, THEIRS), MINE, logs)
            assert older.latest == THEIRS


async def test_nobody_to_ask_is_no_fork() -> None:
    async with log_of(away) as log:
        with pytest.raises(UnavailableError):
            await see(SEEN_MINE, THEIRS, (log,))
    with pytest.raises(LocalError):
        await see(SEEN_MINE, THEIRS, ())
    assert (await see(SEEN_MINE, MINE, ())).latest == MINE
    assert (await see(Witness(TRACKER.key), THEIRS, ())).latest == THEIRS
    with pytest.raises(ForkError):
        await see(SEEN_MINE, sign(5, bytes(32)), ())


async def test_a_log_that_has_no_proof_is_a_fork_and_who_has_the_entries_proves_it() -> None:
    fork = honest(tree_of(9, 3), lambda number: "fork" if number >= 3 else "")
    async with log_of(refusing) as one, log_of(fork) as other:
        with pytest.raises(ForkError) as caught:
            await see(SEEN_MINE, OTHER, (one,))
        assert not caught.value.fork.check()
        with pytest.raises(ForkError) as caught:
            await see(SEEN_MINE, OTHER, (one, other))
        assert caught.value.fork.check()


async def test_a_path_that_shows_one_history_refutes_a_fork() -> None:
    def wrong(path: str, query: dict[str, str]) -> Any:
        if path == "consistency":
            return {"proof": []}
        return honest(TREE)(path, query)

    async with log_of(wrong) as log:
        assert (await see(SEEN_MINE, THEIRS, (log,))).latest == THEIRS


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({}, MalformedError),
        ({"proof": 5}, MalformedError),
        ({"proof": ["00"]}, MalformedError),
        ({"proof": ["zz" * 32]}, MalformedError),
        ({"proof": [None]}, MalformedError),
        ({"proof": ["00" * 32] * 65}, LimitError),
        ([], MalformedError),
    ],
)
async def test_an_answer_that_is_no_proof_is_no_fork(answer: Any, error: type[SwarmError]) -> None:
    async with log_of(lambda *_: answer) as log:
        with pytest.raises(error):
            await see(SEEN_MINE, THEIRS, (log,))


@pytest.mark.parametrize("entries", [[], [{}], [{"leaf": 5}], [{"leaf": "00"}], 5])
async def test_a_leaf_that_is_none_leaves_a_fork_without_proof(entries: Any) -> None:
    def answer(path: str, _: dict[str, str]) -> Any:
        return {"entries": entries} if path == "" else refusing()

    async with log_of(answer) as log:
        with pytest.raises(ForkError) as caught:
            await see(SEEN_MINE, THEIRS, (log,))
        assert caught.value.fork.path == ()


@pytest.mark.parametrize("notes", [5, [5], ["x"], ["\ud800"], ["x" * 9000], [""] * 401])
async def test_what_witnesses_are_said_to_have_cosigned_is_read_strictly(notes: Any) -> None:
    async with log_of(lambda *_: {"notes": notes}) as log:
        with pytest.raises(RemoteError):
            await log.witnessed()


async def test_evidence_of_others_is_kept_and_found(tmp_path: Path) -> None:
    fork = Fork.between(MINE, sign(5, bytes(32)))
    forks = Forks(tmp_path)
    forks.check(TRACKER.key)
    with pytest.raises(ForkError) as caught:
        await hold_against(tmp_path, fork, ())
    (file,) = (tmp_path / SEEN / "forks").iterdir()
    assert str(file) in caught.value.hint
    assert parse(file.read_bytes()) == fork
    with pytest.raises(ForkError):
        forks.check(TRACKER.key)
    assert Seen(tmp_path).latest(TRACKER.key) is None


async def test_a_larger_checkpoint_of_others_is_remembered(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.keep(TRACKER.key, MINE)
    async with log_of(honest(TREE)) as log:
        met = await hold_against(tmp_path, THEIRS, (log,))
        assert (met.yours, met.theirs) == (5, 9)
        assert seen.latest(TRACKER.key) == THEIRS
        met = await hold_against(tmp_path, Fork(MINE, THEIRS), (log,))
        assert (met.yours, met.theirs) == (9, 9)


def test_an_older_checkpoint_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.keep(TRACKER.key, THEIRS)
    seen.keep(TRACKER.key, MINE)
    assert seen.latest(TRACKER.key) == THEIRS


def test_a_note_is_read_from_all_that_holds_one() -> None:
    fork = Fork.between(MINE, OTHER)
    assert parse(MINE.encode()) == MINE
    assert parse(frame(MINE.encode()) + frame(b"entry") + b"77:cut o") == MINE
    assert parse(fork.encode()) == fork


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_noise_is_neither_note_nor_evidence(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        parse(raw)
