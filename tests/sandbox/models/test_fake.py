"""What only the fake model can do: crash when told, take its time, end where tests want it to."""

import asyncio
from pathlib import Path

import pytest

from sandbox.fake import FakeSandbox, scripted
from sandbox.models.fake import FakeModelCell
from sandbox.models.runtime import ModelSpec, Question, Spoken
from sandbox.runner import Limits
from workunits.errors import LocalError, UnavailableError
from workunits.models.answer import Finish
from workunits.models.program import Engine
from workunits.models.request import Request

LIMITS = Limits(cpu_seconds=5, wall_seconds=5, memory_bytes=1 << 20, output_bytes=0)


@pytest.fixture
def fake() -> FakeSandbox:
    return FakeSandbox(scripted(()))


async def serve(fake: FakeSandbox, folder: Path, content: bytes = b"model") -> FakeModelCell:
    path = folder / f"{content.decode()}.gguf"
    path.write_bytes(content)
    image = next(iter(fake.available))
    return await fake.serve(ModelSpec(Engine.LLAMA_CPP, image, path, 512, LIMITS))


def ask(most: int = 20) -> Question:
    return Question(Request((1, 2, 3), most, 7, bytes(16)))


def ignore(spoken: Spoken) -> None:
    """Nobody listens."""


async def test_an_answer_depends_on_the_file_and_not_on_where_it_is_cut(
    fake: FakeSandbox, tmp_path: Path
) -> None:
    fake.models.length = 30
    one, other = await serve(fake, tmp_path), await serve(fake, tmp_path, b"other")
    long = await one.answer(ask(25), ignore)
    assert long.finish is Finish.LENGTH
    assert (await one.answer(ask(5), ignore)).tokens == long.tokens[:5]
    assert (await other.answer(ask(25), ignore)).tokens != long.tokens


async def test_a_scripted_crash_comes_once_and_the_next_call_begins_anew(
    fake: FakeSandbox, tmp_path: Path
) -> None:
    fake.models.length = 10
    fake.models.crashes.append(4)
    heard: list[int] = []
    cell = await serve(fake, tmp_path)
    with pytest.raises(UnavailableError):
        await cell.answer(ask(), lambda spoken: heard.extend(spoken.tokens))
    whole = await cell.answer(ask(), ignore)
    assert heard == list(whole.tokens[:4])
    assert len(whole.tokens) == 10
    assert fake.models.loads == 2


async def test_an_engine_that_stops_ends_the_answer_under_way(
    fake: FakeSandbox, tmp_path: Path
) -> None:
    fake.models.token_seconds = 60
    cell = await serve(fake, tmp_path)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(cell.answer(ask(), ignore))
            await asyncio.sleep(0)
            fake.engine_stops()
    assert caught.group_contains(UnavailableError)
    with pytest.raises(UnavailableError):
        await cell.answer(ask(), ignore)
    fake.engine_returns()
    fake.models.token_seconds = 0
    assert (await cell.answer(ask(), ignore)).tokens


async def test_an_oracle_says_every_token(fake: FakeSandbox, tmp_path: Path) -> None:
    text = b"hello\0"
    fake.models.oracle = lambda model, request, place: text[place]
    answered = await (await serve(fake, tmp_path)).answer(ask(), ignore)
    assert bytes(answered.tokens) == text
    assert answered.finish is Finish.STOP


async def test_a_model_that_is_not_there_cannot_be_served(
    fake: FakeSandbox, tmp_path: Path
) -> None:
    spec = ModelSpec(Engine.LLAMA_CPP, next(iter(fake.available)), tmp_path / "no", 512, LIMITS)
    with pytest.raises(LocalError):
        await fake.serve(spec)


async def test_an_image_in_use_is_not_forgotten(fake: FakeSandbox, tmp_path: Path) -> None:
    cell = await serve(fake, tmp_path)
    image = cell.spec.image
    assert not await fake.forget(image)
    await cell.close()
    assert await fake.forget(image)
