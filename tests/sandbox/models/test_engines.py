"""What the real engines do, beyond what a fake can promise."""

import asyncio
import json
import struct
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.models.runtime import ModelSpec, OutOfMemoryError, Question
from tests.sandbox.conftest import ours
from tests.sandbox.models.conftest import GREETING, LIMITS, Ears, Model, ask, claim
from workunits.errors import LocalError, UnavailableError
from workunits.models.answer import Finish
from workunits.models.gguf import read_header
from workunits.models.request import Request
from workunits.models.tokenizer import Tokenizer
from workunits.models.vocabulary import Vocabulary

pytestmark = pytest.mark.engine
MIB = 1 << 20

both = pytest.mark.parametrize("engine", ["llama_model", "old_model"])


@pytest.fixture
def real(request: pytest.FixtureRequest, engine: str) -> Model:
    """One of the engines, by its fixture."""
    found = request.getfixturevalue(engine)
    assert isinstance(found, Model)
    return found


@both
async def test_threads_and_context_do_not_change_an_answer(real: Model) -> None:
    one = await ask(await real.open(threads=1), real.request(6, temperature=900))
    two = await ask(await real.open(threads=2, context=300), real.request(6, temperature=900))
    assert one.tokens == two.tokens


@both
async def test_an_answer_that_ends_by_itself_ends_with_an_end_of_text(real: Model) -> None:
    cell = await real.open()
    request = Request(GREETING, 60, 1, bytes(16))
    answered = await ask(cell, request)
    assert answered.finish is Finish.STOP
    assert answered.tokens[-1] == 2
    assert 2 not in answered.tokens[:-1]
    cut = replace(claim(answered), tokens=answered.tokens[:-1])
    checked = await ask(cell, request, cut)
    assert (checked.tokens, checked.agreed) == (answered.tokens, len(cut.tokens))


@both
async def test_an_answer_has_the_form_that_was_asked_for(real: Model, smollm: Path) -> None:
    form = {
        "type": "object",
        "properties": {"animal": {"enum": ["fox", "dog"]}},
        "required": ["animal"],
        "additionalProperties": False,
    }
    request = replace(real.request(40), form=json.dumps(form))
    answered = await ask(await real.open(), request)
    assert answered.finish is Finish.STOP
    text = Tokenizer(Vocabulary.of(read_header(smollm))).decode(answered.tokens[:-1])
    assert json.loads(text)["animal"] in ("fox", "dog")


async def test_a_long_prompt_is_fed_in_batches_and_checked_alike(llama_model: Model) -> None:
    cell = await llama_model.open(context=600)
    request = Request(llama_model.prompt * 26, 3, 1, bytes(16))
    answered = await ask(cell, request)
    checked = await ask(cell, request, claim(answered))
    assert (checked.tokens, checked.agreed) == (answered.tokens, 3)


async def test_an_engine_that_dies_is_replaced(
    llama_model: Model, api: docker.APIClient, settings: DockerSettings
) -> None:
    cell = await llama_model.open()
    whole = await ask(cell, llama_model.request())
    (container,) = ours(api, settings.work)
    with pytest.raises(UnavailableError) as caught:
        await cell.answer(Question(llama_model.request(60)), lambda spoken: api.kill(container))
    assert caught.value.hint
    assert (await ask(cell, llama_model.request())).tokens == whole.tokens
    (other,) = ours(api, settings.work)
    assert other != container
    # One that dies while nobody asks is not even noticed.
    api.kill(other)
    await asyncio.to_thread(api.wait, other)
    assert (await ask(cell, llama_model.request())).tokens == whole.tokens


async def test_an_answer_that_takes_too_long_is_given_up(
    llama_model: Model, api: docker.APIClient, settings: DockerSettings
) -> None:
    cell = await llama_model.open(limits=replace(LIMITS, wall_seconds=0.1))
    with pytest.raises(UnavailableError, match="too long"):
        await ask(cell, llama_model.request(450))
    assert not ours(api, settings.work)


async def test_an_old_container_is_retired(
    settings: DockerSettings, llama_model: Model, api: docker.APIClient
) -> None:
    now = [0.0]
    sandbox = DockerSandbox(settings, clock=lambda: now[0])
    try:
        cell = await sandbox.serve(llama_model.spec)
        (first,) = ours(api, settings.work)
        await ask(cell, llama_model.request(1))
        assert ours(api, settings.work) == [first]
        now[0] = settings.lifetime_seconds + 5.0
        await ask(cell, llama_model.request(1))
        assert first not in ours(api, settings.work)
    finally:
        await sandbox.close()
    assert not ours(api, settings.work)
    assert not list(settings.work.glob("*/*"))


async def test_a_model_has_no_more_of_the_machine_than_its_limits(
    llama_model: Model, api: docker.APIClient, settings: DockerSettings
) -> None:
    await llama_model.open(threads=2)
    found = api.inspect_container(ours(api, settings.work)[0])
    host = found["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["NanoCpus"] == 2 * 10**9
    assert LIMITS.memory_bytes <= host["Memory"] < LIMITS.memory_bytes + 64 * MIB
    assert found["Config"]["User"] == "65534:65534"
    assert all(not mount["RW"] for mount in found["Mounts"] if mount["Type"] == "bind")


async def test_a_model_without_room_is_not_served(
    llama_model: Model, api: docker.APIClient, settings: DockerSettings
) -> None:
    small = replace(LIMITS, memory_bytes=90 * MIB)
    with pytest.raises(OutOfMemoryError, match="does not fit"):
        await llama_model.open(limits=small)
    # It fits, and what it needs for a long context does not.
    tight = replace(LIMITS, memory_bytes=100 * MIB)
    with pytest.raises(OutOfMemoryError, match="ran out of memory"):
        await llama_model.open(limits=tight, context=8192)
    assert not ours(api, settings.work)


def broken(source: Path, target: Path, key: bytes, value: int) -> Path:
    """A copy of a GGUF file in which a number of its metadata is another."""
    data = bytearray(source.read_bytes())
    at = data.index(struct.pack("<Q", len(key)) + key) + 8 + len(key)
    assert struct.unpack_from("<I", data, at) == (4,)
    struct.pack_into("<I", data, at + 4, value)
    target.write_bytes(data)
    return target


@both
@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"llama.attention.head_count", 0),
        (b"llama.attention.head_count_kv", 2**31),
        (b"llama.block_count", 2**31 - 1),
        (b"llama.rope.dimension_count", 2**30),
    ],
)
async def test_a_model_that_crashes_its_engine_is_unavailable(
    real: Model, tmp_path: Path, key: bytes, value: int
) -> None:
    path = broken(real.spec.model, tmp_path / "broken.gguf", key, value)
    with pytest.raises(UnavailableError) as caught:
        await ask(await real.open(model=path), real.request(2))
    assert caught.value.hint


@both
async def test_a_model_of_noise_is_unavailable_or_answers_within_bounds(
    real: Model, tmp_path: Path
) -> None:
    whole = real.spec.model.read_bytes()
    short = tmp_path / "short.gguf"
    short.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnavailableError):
        await ask(await real.open(model=short), real.request(2))
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(whole[: len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2))
    ears = Ears()
    with pytest.raises(UnavailableError):
        await ask(await real.open(model=noise), real.request(4), hear=ears)
    assert not ears.tokens


async def test_a_model_that_cannot_be_read_is_our_own_error(llama_model: Model) -> None:
    with pytest.raises(LocalError):
        await llama_model.open(model=llama_model.spec.model / "absent")


async def test_one_engine_does_not_speak_for_the_other(
    llama_model: Model, ctransformers_image: str
) -> None:
    spec: ModelSpec = replace(llama_model.spec, image=ctransformers_image)
    with pytest.raises(UnavailableError):
        await llama_model.runtime.serve(spec)
