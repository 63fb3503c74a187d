"""Whole volunteers behind a whole tracker: somebody chats over HTTP, and they answer."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client.scheduling.pace import Tuning
from client.work import notices
from client.work.notices import Notice
from client.work.volunteer import Capacity, Volunteer
from sandbox.fake import FakeSandbox
from sandbox.models.fake import FakeModels
from tests.client.work.tracker import peer_key, rng
from tests.client.work.volunteering import MemoryBlobs, square
from tests.tracker.api.test_models import KEY, SECRET, audit, publish
from tests.tracker.endpoint.tiny import END, card
from tests.tracker.serving import SECONDS, Served, served
from tests.tracker.work.world import SUBMITTER
from tests.workunits.models.ggufs import model
from workunits.errors import RefusedError
from workunits.models.request import Request
from workunits.statements import OpenKey

TEXT = b"Once upon a time there was a fox who lived by a river."


def storyteller(_: bytes, request: Request, place: int) -> int:
    """Tells the story to everybody."""
    return TEXT[place] if place < len(TEXT) else END


def forgetful(_: bytes, request: Request, place: int) -> int:
    """Gets one letter wrong."""
    return ord("x") if place == 7 else storyteller(_, request, place)


async def work(volunteer: Volunteer) -> None:
    """Be a volunteer, until it is banned."""
    with suppress(RefusedError):
        await volunteer.run()


@dataclass
class Worker:
    """A volunteer with the model on its disk."""

    volunteer: Volunteer
    task: asyncio.Task[None]
    models: FakeModels
    told: list[Notice] = field(default_factory=list)

    @property
    def banned(self) -> bool:
        """Whether the tracker will have no more of it."""
        return self.task.done() and not self.task.cancelled()

    @property
    def answered(self) -> list[notices.Answered]:
        """What it answered."""
        return [each for each in self.told if isinstance(each, notices.Answered)]


@dataclass
class Salon:
    """A tracker with a model, and volunteers."""

    tracker: Served
    folder: Path
    group: asyncio.TaskGroup
    workers: list[Worker] = field(default_factory=list)

    async def join(self, **about: Any) -> Worker:
        """One more volunteer."""
        number = len(self.workers) + 1
        folder = self.folder / f"worker-{number}"
        blobs = MemoryBlobs(folder)
        folder.mkdir()
        made = card()
        blobs.paths[made.file] = folder / "model"
        blobs.paths[made.file].write_bytes(model())
        about = {"oracle": storyteller} | about
        models = FakeModels(vocabulary=END + 2, ends=frozenset({END}), **about)
        told: list[Notice] = []
        volunteer = Volunteer(
            self.tracker.url,
            peer_key(100 + number),
            FakeSandbox(square, frozenset({made.image.name}), models=models),
            blobs,
            capacity=Capacity(1, 1 << 30),
            state=folder / "state",
            scratch=folder / "scratch",
            notify=told.append,
            tuning=Tuning(backoff=0.01, linger=0.5),
            rng=rng(),
        )
        worker = Worker(volunteer, self.group.create_task(work(volunteer)), models, told)
        self.workers.append(worker)
        async with asyncio.timeout(SECONDS):
            while await self._holders() < sum(not each.task.done() for each in self.workers):
                pass  # every look is a request, which takes its time
        return worker

    async def chat(self, **more: Any) -> Any:
        """Ask for the story."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]} | more
        headers = {"Authorization": f"Bearer {SECRET}"}
        async with asyncio.timeout(SECONDS):
            return await self.tracker.ask(
                "/v1/chat/completions", "POST", 200, json=body, headers=headers
            )

    async def stream(self) -> AsyncGenerator[dict[str, Any], None]:
        """Ask for the story, and hear it as it comes."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"Authorization": f"Bearer {SECRET}"}
        url = f"{self.tracker.url}/v1/chat/completions"
        asked = self.tracker.http.post(url, json=body | {"stream": True}, headers=headers)
        async with asyncio.timeout(SECONDS), asked as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])

    async def _holders(self) -> int:
        (found,) = (await self.tracker.ask("/api/v1/models"))["models"]
        return int(found["holders"])


@asynccontextmanager
async def salon_of(folder: Path) -> AsyncIterator[Salon]:
    async with served(folder / "tracker") as tracker:
        await tracker.grant(amount=100_000)
        await publish(tracker)
        await tracker.say(tracker.sign(OpenKey(KEY, "key", 50_000, 100), SUBMITTER))
        async with asyncio.TaskGroup() as group:
            salon = Salon(tracker, folder, group)
            yield salon
            for worker in salon.workers:
                worker.task.cancel()
        await audit(tracker)


def said(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


async def test_two_volunteers_answer_and_check_each_other(tmp_path: Path) -> None:
    async with salon_of(tmp_path) as salon:
        workers = [await salon.join(), await salon.join()]
        for _ in range(3):
            answer = await salon.chat(seed=1)
            assert said(answer).encode() == TEXT
            assert answer["swarm"]["verified"] is True
        done = [each for worker in workers for each in worker.answered]
        assert sorted(each.checked for each in done) == [False] * 3 + [True] * 3
        assert [worker.models.loads for worker in workers] == [1, 1]


async def test_a_stream_survives_the_volunteer_that_began_it(tmp_path: Path) -> None:
    async with salon_of(tmp_path) as salon:
        first = await salon.join(token_seconds=0.02)
        heard, events = "", salon.stream()
        async for event in events:
            for choice in event["choices"]:
                heard += choice["delta"].get("content") or ""
            if len(heard) > 5 and len(salon.workers) == 1:
                first.task.cancel()
                await asyncio.wait([first.task])
                for _ in range(2):
                    await salon.join(token_seconds=0.002)
        assert heard.encode() == TEXT
        assert not first.answered


async def test_a_stream_survives_a_break_of_its_volunteers_session(tmp_path: Path) -> None:
    async with salon_of(tmp_path) as salon:
        workers = [await salon.join(token_seconds=0.02), await salon.join(token_seconds=0.02)]
        heard, broken = "", False
        async for event in salon.stream():
            for choice in event["choices"]:
                heard += choice["delta"].get("content") or ""
            if len(heard) > 5 and not broken:
                broken = True
                for worker in workers:
                    await worker.volunteer._session.renew()
        assert heard.encode() == TEXT
        for worker in workers:
            assert not [each for each in worker.told if isinstance(each, notices.Warned)]
            assert worker.models.loads <= 1


async def test_a_client_that_goes_away_ends_the_answer_and_the_model_stays_warm(
    tmp_path: Path,
) -> None:
    async with salon_of(tmp_path) as salon:
        workers = [await salon.join(token_seconds=0.03), await salon.join(token_seconds=0.03)]
        async with aclosing(salon.stream()) as events:
            async for event in events:
                if event["choices"] and event["choices"][0]["delta"].get("content"):
                    break
        assert said(await salon.chat()).encode() == TEXT
        tokens = [each.tokens for worker in workers for each in worker.answered]
        assert min(tokens) < len(TEXT)
        assert [worker.models.loads for worker in workers] == [1, 1]


async def test_who_answers_wrong_is_found_out_by_the_others_and_banned(tmp_path: Path) -> None:
    async with salon_of(tmp_path) as salon:
        workers = [await salon.join(oracle=each) for each in (forgetful, *2 * [storyteller])]
        async with asyncio.timeout(SECONDS):
            while not workers[0].banned:
                assert said(await salon.chat()).encode() == TEXT
        assert not any(worker.banned for worker in workers[1:])
