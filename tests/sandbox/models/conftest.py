"""Models to ask: the fake, and the real ones in containers, behind one way to open them."""

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sandbox.containers import DockerSandbox
from sandbox.fake import FakeSandbox, scripted
from sandbox.models.runtime import (
    Answered,
    Given,
    ModelCell,
    ModelRuntime,
    ModelSpec,
    Question,
    Spoken,
)
from sandbox.runner import Limits
from tests.models import STORY, ctransformers_image, ctransformers_model, llama_image, smollm
from workunits.models.program import Engine
from workunits.models.request import Request, Sampling

__all__ = ["ctransformers_image", "ctransformers_model", "llama_image", "smollm"]

LIMITS = Limits(cpu_seconds=200, wall_seconds=100, memory_bytes=512 << 20, output_bytes=0)

GREETING = (1, 4093, 198, 36218, 15876, 30, 2, 198, 1, 520, 9531, 198)
"""A user asks it to say hi, which it does shortly."""


MOST = 10
"""Tokens of the answers of most tests."""


@dataclass(slots=True)
class Ears:
    """Hears an answer: what was said, and how it ended."""

    spoken: list[Spoken] = field(default_factory=list)

    def __call__(self, spoken: Spoken) -> None:
        self.spoken.append(spoken)

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(token for each in self.spoken for token in each.tokens)


@dataclass(slots=True)
class Model:
    """A model that can be opened and asked."""

    runtime: ModelRuntime
    spec: ModelSpec
    prompt: tuple[int, ...] = STORY
    cells: list[ModelCell] = field(default_factory=list)

    async def open(self, **changes: object) -> ModelCell:
        """Load it, perhaps with other settings."""
        cell = await self.runtime.serve(replace(self.spec, **changes))  # type: ignore[arg-type]
        self.cells.append(cell)
        return cell

    def request(self, most: int = MOST, *, temperature: int = 0, seed: int = 5) -> Request:
        """What the tests ask."""
        return Request(self.prompt, most, seed, bytes(16), Sampling(temperature, 950, 40))


async def ask(
    cell: ModelCell,
    request: Request,
    given: Given | None = None,
    *,
    margins: bool = False,
    halt: int = 0,
    top: int = 0,
    hear: Callable[[Spoken], None] | None = None,
) -> Answered:
    """Ask ``cell``; nobody hears the tokens, unless ``hear`` does."""
    question = Question(request, given or Given(), margins, halt, top)
    return await cell.answer(question, hear or Ears())


def claim(answered: Answered) -> Given:
    """An answer as somebody's claim."""
    return Given(answered.tokens, answered.finish)


def swapped(answered: Answered, place: int) -> Given:
    """An answer with another token at ``place``."""
    tokens = list(answered.tokens)
    tokens[place] = 100 if tokens[place] != 100 else 101
    return Given(tuple(tokens), answered.finish)


def is_endless(answered: Answered) -> bool:
    """Whether the gaps of a claim are infinite."""
    return answered.gaps is not None and math.isinf(answered.gaps.most)


@pytest.fixture
async def fake_model(tmp_path: Path) -> AsyncIterator[Model]:
    fake = FakeSandbox(scripted(()))
    fake.models.vocabulary = 49_152
    fake.models.length = 100
    path = tmp_path / "model.gguf"
    path.write_bytes(b"model")
    image = next(iter(fake.available))
    yield Model(fake, ModelSpec(Engine.LLAMA_CPP, image, path, 512, LIMITS))
    await fake.close()


@pytest.fixture
def llama_model(sandbox: DockerSandbox, llama_image: str, smollm: Path) -> Model:
    return Model(sandbox, ModelSpec(Engine.LLAMA_CPP, llama_image, smollm, 512, LIMITS))


@pytest.fixture
def old_model(sandbox: DockerSandbox, ctransformers_image: str, ctransformers_model: Path) -> Model:
    spec = ModelSpec(Engine.CTRANSFORMERS, ctransformers_image, ctransformers_model, 512, LIMITS)
    return Model(sandbox, spec)


@pytest.fixture(
    params=[
        "fake_model",
        pytest.param("llama_model", marks=pytest.mark.engine),
        pytest.param("old_model", marks=pytest.mark.engine),
    ]
)
def model(request: pytest.FixtureRequest) -> Model:
    """Each of them."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Model)
    return found
