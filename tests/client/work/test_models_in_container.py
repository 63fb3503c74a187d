"""A volunteer that runs the real model in a real container."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.scheduling.pace import Tuning
from client.work import notices
from client.work.notices import Notice
from client.work.volunteer import Capacity, Volunteer
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.engine import Engine
from tests.client.work.models import ModelTracker, model_job
from tests.client.work.tracker import peer_key, rng, tracking
from tests.client.work.volunteering import MemoryBlobs
from tests.models import STORY
from workunits.ids import LeaseToken
from workunits.models.answer import Finish
from workunits.models.request import Request

pytestmark = pytest.mark.engine
REQUEST = Request(STORY, 48, 5, bytes(16))
OTHER = Request(STORY[:-4], 8, 5, bytes(16))


@dataclass
class Place:
    """A volunteer at work."""

    tracker: ModelTracker
    told: list[Notice]

    async def settle(self, token: LeaseToken) -> None:
        """Wait until a result is revealed."""
        await self.tracker.until(lambda: token in self.tracker.revealed, patience=60)


@asynccontextmanager
async def place_of(tmp_path: Path, docker: Engine, image: str, model: Path) -> AsyncIterator[Place]:
    blobs = MemoryBlobs(tmp_path / "blobs")
    blobs.folder.mkdir()
    job = model_job(model=blobs.add(model.read_bytes()), memory=512 << 20, image=image)
    tracker, told = ModelTracker(job), list[Notice]()
    sandbox = DockerSandbox(DockerSettings(docker.url, tmp_path / "work"))
    async with tracking(tracker), asyncio.timeout(200), asyncio.TaskGroup() as group:
        volunteer = Volunteer(
            tracker.url,
            peer_key(),
            sandbox,
            blobs,
            capacity=Capacity(1, 1 << 30),
            state=tmp_path / "state",
            scratch=tmp_path / "scratch",
            notify=told.append,
            tuning=Tuning(linger=0.5),
            rng=rng(),
        )
        run = group.create_task(volunteer.run())
        await tracker.until(lambda: bool(tracker.wants))
        yield Place(tracker, told)
        volunteer.drain()
        await run
    await sandbox.close()
    assert list((tmp_path / "scratch").rglob("*")) == list((tmp_path / "work").iterdir()) == []


async def test_a_real_model_streams_is_checked_halted_and_stays_warm(
    tmp_path: Path, docker_engine: Engine, llama_image: str, smollm: Path
) -> None:
    async with place_of(tmp_path, docker_engine, llama_image, smollm) as place:
        tracker = place.tracker
        first = await tracker.inquire(1, request=REQUEST, stream=True)
        await place.settle(first)
        own = tracker.answer(first).tokens
        assert tracker.spoken(first) == own
        assert len(own) == 48
        assert len(tracker.said(first)) > 5
        assert tracker.said(first)[-1].rate > 1000

        wrong = (*own[:10], own[10] + 1, *own[11:])
        for claim in (own, wrong, own[:20]):
            finish = Finish.LENGTH if len(claim) == len(own) else None
            check = await tracker.inquire(1, request=REQUEST, given=claim, finish=finish)
            await place.settle(check)
            assert tracker.revealed[check].result == tracker.revealed[first].result

        halted = await tracker.inquire(2, request=REQUEST, stream=True)
        await tracker.until(lambda: len(tracker.spoken(halted)) >= 2, patience=60)
        await tracker.halt(halted, 24)
        await place.settle(halted)
        assert tracker.answer(halted).tokens == own[:24]
        assert tracker.answer(halted).finish is Finish.HALTED

        revoked = await tracker.inquire(3, request=REQUEST, stream=True)
        await tracker.until(lambda: len(tracker.spoken(revoked)) >= 2, patience=60)
        await tracker.revoke(revoked)
        after = await tracker.inquire(4, request=OTHER)
        await place.settle(after)
        answers = [each for each in place.told if isinstance(each, notices.Answered)]
        assert [each.checked for each in answers] == [False, True, True, True, False, False]
        warned = [each.message for each in place.told if isinstance(each, notices.Warned)]
        assert [each for each in warned if "clocks" not in each] == []


async def test_a_real_engine_refuses_what_does_not_fit(
    tmp_path: Path, docker_engine: Engine, llama_image: str, smollm: Path
) -> None:
    async with place_of(tmp_path, docker_engine, llama_image, smollm) as place:
        tracker = place.tracker
        for index, request in enumerate((Request((1,) * 2048, 8, 5, bytes(16)), OTHER)):
            token = await tracker.inquire(index, request=request)
            await place.settle(token)
        assert [tracker.results[index].exit_status for index in (0, 1)] == [2, 0]
