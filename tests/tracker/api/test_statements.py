"""Signed statements over REST: carried out once, and only for who may say them."""

import asyncio
from pathlib import Path

import pytest

from tests.tracker.api.uploading import DATA, upload, v2
from tests.tracker.serving import served
from tests.tracker.work.world import SUBMITTER
from workunits.ids import PeerKey
from workunits.statements import MAX_AGE, MAX_STATEMENT, Grant, Pay, Upload


async def test_whoever_has_the_credits_pays_them_to_another(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.say(tracker.sign(Grant(SUBMITTER.key, 100)))
        other = PeerKey(b"o" * 32)
        answer = await tracker.say(tracker.sign(Pay(other, 30), SUBMITTER))
        assert answer["result"] == {"balance": 70}
        assert (await tracker.ask(f"/api/v1/accounts/{other.hex()}"))["balance"] == 30
        answer = await tracker.say(tracker.sign(Pay(other, 71), SUBMITTER), 403)
        assert "has 70 credits" in answer["error"]["message"]


async def test_a_grant_mints_and_says_the_balance(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.say(tracker.sign(Grant(SUBMITTER.key, 5)))
        assert answer["result"] == {"balance": 5}


async def test_a_statement_that_is_said_twice_is_carried_out_once(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        statement = tracker.sign(Grant(SUBMITTER.key, 5))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(tracker.say(statement)) for _ in range(5)]
        assert sorted(task.result()["repeated"] for task in tasks) == [False] + [True] * 4
        assert {task.result()["id"] for task in tasks} == {statement.id.hex()}
        assert (await tracker.ask("/api/v1/status"))["ledger"]["minted"] == 5


async def test_only_the_operator_mints(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.say(tracker.sign(Grant(SUBMITTER.key, 5), SUBMITTER), 403)
        assert "only the operator" in answer["error"]["message"]
        assert answer["error"]["hint"]
        assert (await tracker.ask("/api/v1/status"))["ledger"]["entries"] == 0


@pytest.mark.parametrize(("ago", "side"), [(MAX_AGE + 60, "behind"), (-MAX_AGE - 60, "ahead")])
async def test_a_statement_of_another_time_is_refused_with_a_hint_about_the_clock(
    tmp_path: Path, ago: float, side: str
) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.say(tracker.sign(Grant(SUBMITTER.key, 5), ago=ago), 403)
        assert side in answer["error"]["message"]
        assert "clock" in answer["error"]["hint"]
        old = tracker.sign(Upload(v2(), len(DATA)), SUBMITTER, ago)
        assert side in (await upload(tracker, statement=old, status=403))["error"]["message"]


async def test_what_is_no_statement_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        for body, status in ((b"", 400), (b"x", 400), (b"x" * (MAX_STATEMENT + 1), 413)):
            await tracker.ask("/api/v1/statements", "POST", status, data=body)
        answer = await tracker.say(tracker.sign(Upload(b"b" * 32, 1), SUBMITTER), 403)
        assert "goes with its upload" in answer["error"]["message"]
