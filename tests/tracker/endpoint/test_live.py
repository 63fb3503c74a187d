"""A whole tracker: a model is published, a key opened, peers connect, and HTTP clients ask."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.tracker.api.test_models import KEY, SECRET, audit, publish
from tests.tracker.endpoint.live import Speaker, parrot
from tests.tracker.serving import SECONDS, Served, served
from tests.tracker.work.world import SUBMITTER
from tracker.settings import Settings, Waiting
from workunits.statements import OpenKey
from workunits.verification import Policy

HEADERS = {"Authorization": f"Bearer {SECRET}"}
SAID = "hello\nassistant\n"
"""What parrots answer to it."""

BODY = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 40}


@asynccontextmanager
async def open_salon(folder: Path, settings: Settings | None = None) -> AsyncIterator[Served]:
    """A tracker with a model, and an account with a key."""
    async with served(folder, settings=settings) as tracker:
        await tracker.grant(amount=100_000)
        await publish(tracker)
        await tracker.say(tracker.sign(OpenKey(KEY, "key", 50_000, 100), SUBMITTER))
        yield tracker


@asynccontextmanager
async def speaking(*speakers: Speaker) -> AsyncIterator[None]:
    """Peers that answer while the block lasts."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in speakers]
        yield
        for task in tasks:
            task.cancel()


async def chat(tracker: Served, status: int = 200, **more: Any) -> Any:
    return await tracker.ask(
        "/v1/chat/completions", "POST", status, json=BODY | more, headers=HEADERS
    )


async def key_of(tracker: Served) -> Any:
    return await tracker.ask(f"/api/v1/keys/{KEY.hex()}")


async def test_an_answer_comes_over_http_checked_and_charged(tmp_path: Path) -> None:
    async with open_salon(tmp_path) as tracker:
        one = await Speaker.join(tracker, "one")
        other = await Speaker.join(tracker, "other")
        (model,) = (await tracker.ask("/api/v1/models"))["models"]
        assert model["holders"] == 2
        async with speaking(one, other):
            answer = await chat(tracker)
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["choices"][0]["message"]["content"] == SAID
        key = await key_of(tracker)
        assert (key["reserved"], key["requests"]) == (0, 1)
        paid = 0
        for speaker in (one, other):
            account = speaker.remote.identity.key.hex()
            paid += (await tracker.ask(f"/api/v1/accounts/{account}"))["balance"]
        assert paid == key["spent"] == answer["swarm"]["cost"] > 0
        assert (answer["swarm"]["verified"], answer["swarm"]["same"]) == (True, True)
        numbers = (await tracker.ask("/stats.json"))["models"]["tiny"]
        assert (numbers["requests"], numbers["verified"]) == (1, 1.0)
        await audit(tracker)


async def test_a_stream_flows_before_the_answer_is_complete(tmp_path: Path) -> None:
    async with open_salon(tmp_path) as tracker:
        one = await Speaker.join(tracker, "one", first=4)
        other = await Speaker.join(tracker, "other", first=4)
        request = tracker.http.post(
            f"{tracker.url}/v1/chat/completions", json=BODY | {"stream": True}, headers=HEADERS
        )
        async with speaking(one, other), asyncio.timeout(SECONDS), request as response:
            assert response.status == 200
            body = b""
            while b'"content":' not in body.replace(b'"content":""', b""):
                body += await response.content.readany()
            assert not (one.go.is_set() or other.go.is_set())
            for each in (one, other):
                each.go.set()
            body += await response.read()
        assert b'"verified":true' in body.replace(b" ", b"")
        assert body.rstrip().endswith(b"data: [DONE]")


async def test_a_client_that_goes_away_halts_the_peer(tmp_path: Path) -> None:
    async with open_salon(tmp_path) as tracker:
        one = await Speaker.join(tracker, "one", first=4)
        request = tracker.http.post(
            f"{tracker.url}/v1/chat/completions", json=BODY | {"stream": True}, headers=HEADERS
        )
        async with speaking(one), asyncio.timeout(SECONDS):
            async with request as response:
                await response.content.readany()
                response.close()
            await one.halted.wait()


async def test_without_peers_there_is_a_503_that_says_when_to_come_again(tmp_path: Path) -> None:
    async with open_salon(tmp_path) as tracker:
        request = tracker.http.post(
            f"{tracker.url}/v1/chat/completions", json=BODY, headers=HEADERS
        )
        async with request as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
        assert (await key_of(tracker))["reserved"] == 0


async def test_a_swarm_of_ones_own_machines_answers_with_one_peer(tmp_path: Path) -> None:
    async with open_salon(tmp_path, Settings(answers=Policy.TRUSTED)) as tracker:
        one = await Speaker.join(tracker, "one")
        async with speaking(one):
            answer = await chat(tracker)
        assert answer["choices"][0]["message"]["content"] == SAID


async def test_an_answer_that_nobody_checks_comes_after_a_while(tmp_path: Path) -> None:
    async with open_salon(tmp_path, Settings(waiting=Waiting(verdict=0.0))) as tracker:
        one = await Speaker.join(tracker, "one")
        async with speaking(one):
            answer = await chat(tracker)
        assert answer["choices"][0]["message"]["content"] == SAID
        assert (await key_of(tracker))["reserved"] > 0, "it is charged once it is settled"


async def test_a_lie_is_not_told_and_its_teller_banned(tmp_path: Path) -> None:
    async with open_salon(tmp_path) as tracker:
        liar = await Speaker.join(
            tracker, "liar", speech=lambda request: parrot(request)[::-1][1:] + parrot(request)[-1:]
        )
        async with speaking(liar), asyncio.TaskGroup() as group:
            asking = group.create_task(chat(tracker))
            await asyncio.wait_for(liar.answered.wait(), SECONDS)
            honest = [await Speaker.join(tracker, name) for name in ("one", "other")]
            async with speaking(*honest):
                answer = await asking
        assert answer["choices"][0]["message"]["content"] == SAID
        peers = {each["key"]: each for each in (await tracker.ask("/api/v1/peers"))["peers"]}
        assert peers[liar.remote.identity.key.hex()]["wrong"] == 1
