"""The interface to language models: one engine, one model, a warm place that answers requests.

``sandbox.models.cell`` is the real one, in a hardened container of an engine image;
``sandbox.models.fake`` is what tests of everything else, and benchmarks, use.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sandbox.runner import Limits
from workunits.errors import UnavailableError
from workunits.models.answer import Finish
from workunits.models.program import Engine
from workunits.models.request import Request


class OutOfMemoryError(UnavailableError):
    """A model needs more memory than it may have, to be loaded or for one answer."""

    code = "memory"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What to run: an engine image by content hash, a GGUF file of the host, its context in tokens.

    The file's header was parsed by ``workunits.models.gguf`` before it comes here. ``threads`` is
    never above the whole cores that the cell is granted.
    """

    engine: Engine
    image: str
    model: Path
    context: int
    limits: Limits
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Given:
    """Tokens that somebody claims, and how they end; None while they had not ended."""

    tokens: tuple[int, ...] = ()
    finish: Finish | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One request as a cell gets it.

    With ``given`` an engine that can re-score checks those tokens in one pass: without ``margins``
    it keeps them up to the first that is not its own, and goes on from there; with ``margins`` it
    measures ``Gaps`` and answers nothing of its own. ``halt`` is after how many tokens the answer
    ends, 0 if not. ``top`` is how many probabilities are wanted with each token (``wire.models``).
    """

    request: Request
    given: Given = Given()
    margins: bool = False
    halt: int = 0
    top: int = 0


@dataclass(frozen=True, slots=True)
class Spoken:
    """Tokens as they come, from place ``start`` of the answer on; ``likely`` is (id, log
    probability) for each of them and its alternatives, if that was asked for."""

    start: int
    tokens: tuple[int, ...]
    likely: tuple[tuple[tuple[int, float], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Gaps:
    """How far claimed tokens are below the best ones, in logits: mean and largest."""

    mean: float
    most: float


@dataclass(frozen=True, slots=True)
class Answered:
    """The end of an answer. ``agreed`` is how many given tokens were kept.

    ``gaps`` are there only under ``margins``; an answer whose end is not where the engine's rules
    put it (an end of text in the middle, a cut that nobody ordered) has an infinite gap.
    """

    tokens: tuple[int, ...]
    finish: Finish
    agreed: int = 0
    gaps: Gaps | None = None
    prompt_seconds: float = 0.0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


class ModelCell(Protocol):
    """A loaded model. It answers one request after the other, and keeps nothing between them."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""

    async def answer(self, question: Question, hear: Callable[[Spoken], None]) -> Answered:
        """Answer ``question``; ``hear`` gets tokens as they come, given ones that were kept too.

        Raises ``RefusedError`` when the request does not fit (context, unknown token), and
        ``UnavailableError`` when the engine died, ran out of memory (``OutOfMemoryError``) or
        time, or talks nonsense; the next call then begins with a new container.
        """

    def halt(self, after: int) -> None:
        """End the answer under way after ``after`` tokens, or now if it has more."""

    async def close(self) -> None:
        """Give the place back. Kills what still runs. Safe to call twice."""


class ModelRuntime(Protocol):
    """A way to run models. ``DockerSandbox`` and ``FakeSandbox`` are both this and ``Sandbox``."""

    async def serve(self, spec: ModelSpec) -> ModelCell:
        """Load a model. Raises ``UnavailableError`` when it cannot be (image, engine), and its
        kind ``OutOfMemoryError``."""
