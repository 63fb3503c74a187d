"""What checking an answer costs beside making it, in CPU time of the engine's own process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.answers import PACKAGE, PROMPT
from bench.processes import BenchError
from bench.row import Row, Setting
from client.calibration import variants
from client.models import package
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.engine import engine
from sandbox.models.build import Kernels, engine_image
from sandbox.models.runtime import Answered, Given, ModelCell, ModelSpec, Question, Spoken
from sandbox.runner import Limits
from workunits.models.answer import Finish
from workunits.models.gguf import read_header
from workunits.models.program import Engine
from workunits.models.request import NONCE_SIZE, Request

WHAT = "CPU of checking an answer of 128 tokens / of making it"
BUDGET = "0.45 exactly, 0.25 by margins"
EXACTLY = 0.45
BY_MARGINS = 0.25
FAR = 5.0
"""A gap in logits that no honest answer has."""

CONTEXT = 1280
LIMITS = Limits(cpu_seconds=3600, wall_seconds=600, memory_bytes=1 << 30, output_bytes=0)
LENGTHS = (32, 256, 1024)
"""Tokens of prompts; the budget is for the first."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A build of llama.cpp and a model: what is checked, and how."""

    name: str
    kernels: Kernels
    variant: str = ""
    margins: bool = False


SETUPS = (
    Setup("exact", Kernels.PINNED),
    Setup("exact, Q8_0", Kernels.PINNED, "Q8_0"),
    Setup("by margins, Q8_0", Kernels.FAST, "Q8_0", margins=True),
    Setup("by margins, F16", Kernels.FAST, "F16", margins=True),
)
COUNTS = ("exact", "by margins, Q8_0")
"""The setups that the budget is held against."""


def measure(setting: Setting) -> Row:
    """Make answers and check them, by turns, for prompts of several lengths."""
    times, most = (1, 32) if setting.quick else (4, 128)
    found: dict[str, list[float]] = {}
    with engine(setting.cache / "engine", setting.say) as docker:
        for setup in SETUPS:
            setting.say(f"{setup.name}: image")
            image = engine_image(
                Engine.LLAMA_CPP, docker.url, setting.cache, setting.say, setup.kernels
            )
            found[setup.name] = asyncio.run(_shares(setup, image, docker.url, setting, times, most))
    exact, margins = (found[name][0] for name in COUNTS)
    lengths = ", ".join(map(str, LENGTHS))
    return Row.of(
        WHAT,
        BUDGET,
        f"{exact:.2f}; {margins:.2f}",
        min(EXACTLY / exact, BY_MARGINS / margins),
        *(
            f"{name}: {', '.join(f'{share:.2f}' for share in shares)} for prompts of {lengths}"
            for name, shares in found.items()
        ),
        f"{times} answers of {most} tokens each, one thread; a prompt costs both sides the same",
        exact=exact,
        margins=margins,
    )


async def _shares(
    setup: Setup, image: str, docker: str, setting: Setting, times: int, most: int
) -> list[float]:
    model = package.find(PACKAGE, setting.cache / "models", setting.say)
    sandbox = DockerSandbox(DockerSettings(docker, setting.folder / "work"))
    try:
        if setup.variant:
            made = setting.folder / f"{setup.variant}.gguf"
            if not made.exists():
                gguf, variant = read_header(model), variants.VARIANTS[setup.variant]
                await variants.make(sandbox, image, model, gguf, variant, made)
            model = made
        return await _cell_shares(setup, image, model, sandbox, setting, times, most)
    finally:
        await sandbox.close()


async def _cell_shares(
    setup: Setup,
    image: str,
    model: Path,
    sandbox: DockerSandbox,
    setting: Setting,
    times: int,
    most: int,
) -> list[float]:
    cell = await sandbox.serve(ModelSpec(Engine.LLAMA_CPP, image, model, CONTEXT, LIMITS))
    shares = []
    try:
        for length in LENGTHS:
            setting.say(f"{setup.name}: prompts of {length} tokens")
            made, checked = await _costs(cell, setup.margins, length, times, most)
            shares.append(checked / made)
    finally:
        await cell.close()
    return shares


async def _costs(
    cell: ModelCell, margins: bool, length: int, times: int, most: int
) -> tuple[float, float]:
    """CPU seconds of ``times`` full answers, and of their checks."""
    made = checked = 0.0
    count = 0
    for prompt in islice(_prompts(length), 4 * times):
        request = Request(prompt, most, 0, bytes(NONCE_SIZE))
        answered = await cell.answer(Question(request), _ignore)
        if answered.finish is not Finish.LENGTH:
            continue
        check = await cell.answer(
            Question(request, Given(answered.tokens, answered.finish), margins), _ignore
        )
        _must_stand(answered, check, margins)
        made += answered.cpu_seconds
        checked += check.cpu_seconds
        count += 1
        if count == times:
            break
    if not count:
        raise BenchError(f"no answer to a prompt of {length} tokens had {most} of them")
    return made, checked


def _must_stand(answered: Answered, check: Answered, margins: bool) -> None:
    if margins:
        if check.gaps is None or not check.gaps.most < FAR:
            raise BenchError("an honest answer is far from what the checker would say")
    elif check.tokens != answered.tokens:
        raise BenchError("an honest answer was not confirmed")


def _prompts(length: int) -> "Sequence[tuple[int, ...]]":
    """Prompts of so many tokens, each with another beginning."""
    body = PROMPT[3:16]
    head, tail = PROMPT[:3], PROMPT[16:]
    room = length - len(head) - len(tail)
    rows = []
    for turn in range(len(body)):
        words = (*body[turn:], *body[:turn]) * (room // len(body) + 1)
        rows.append((*head, *words[:room], *tail))
    return rows


def _ignore(spoken: Spoken) -> None:
    """Nobody listens."""
