"""How requests per second grow with volunteers, whose engines sleep instead of computing."""

import asyncio
import json
import time
from contextlib import ExitStack
from pathlib import Path

from aiohttp import ClientSession

from bench.processes import child
from bench.row import Row, Setting
from bench.stream import streamed
from bench.tracker import POLL
from bench.worker import Job
from client.models.offer import Say
from examples.demo.swarm import Swarm
from sandbox.models.build import build, content_hash
from tests.workunits.models.ggufs import model
from workunits.models.program import Engine

WHAT = "requests per second with four volunteers / with one, sleeping engines"
BUDGET = "3.6"
BUDGET_RATIO = 3.6
NAME = "tiny"
TOKENS = 32
TOKEN_SECONDS = 0.01
CREDITS = 10_000_000
PROMPT = tuple(range(10, 40))


def measure(setting: Setting) -> Row:
    """As many requests at once as there are volunteers and one more, for each size of swarm."""
    requests = 12 if setting.quick else 60
    image = content_hash(build(Engine.CTRANSFORMERS, setting.cache, setting.say))
    rates = [
        asyncio.run(_serve(setting, setting.folder / str(count), count, image, requests * count))
        for count in (1, 4)
    ]
    ratio = rates[1] / rates[0]
    return Row.of(
        WHAT,
        BUDGET,
        f"{ratio:.2f}",
        ratio / BUDGET_RATIO,
        f"{rates[0]:.2f} and {rates[1]:.2f} requests/s of {TOKENS} tokens, "
        f"{1000 * TOKEN_SECONDS:g} ms each; one volunteer could do "
        f"{1 / (TOKENS * TOKEN_SECONDS):.2f}",
        "a real tracker, sessions, HTTP and streams; nobody checks; one more request than "
        "volunteers at any time",
        ratio=ratio,
        one=rates[0],
        four=rates[1],
    )


async def _serve(setting: Setting, folder: Path, count: int, image: str, requests: int) -> float:
    folder.mkdir()
    gguf = folder / "tiny.gguf"
    gguf.write_bytes(model())
    with ExitStack() as stack:
        swarm = Swarm(folder, "unix:///nowhere", setting.cache, stack)
        secret = _begin(swarm, gguf, setting.say)
        for number in range(count):
            home = folder / f"answerer-{number}"
            home.mkdir()
            worker = stack.enter_context(child("bench.worker", log=home / "log"))
            job = Job(swarm.url, str(home), 1, TOKEN_SECONDS, image=image, tokens=TOKENS)
            worker.tell(job.line())
            worker.hear()
        async with ClientSession() as http:
            await _ask(http, swarm.url, secret, count + 1, 2 * count)  # warm
            setting.say(f"{requests} requests of {count} volunteers")
            return await _ask(http, swarm.url, secret, count + 1, requests)


def _begin(swarm: Swarm, gguf: Path, say: Say) -> str:
    swarm.start_tracker("--answers", "trusted")
    publisher, asker = swarm.peer("publisher"), swarm.peer("asker")
    swarm.grant(publisher, 1)
    swarm.grant(asker, CREDITS)
    engine = ("--engine", Engine.CTRANSFORMERS.value, "--name", NAME)
    swarm.background(publisher, "model", "add", str(gguf), *engine)
    say("publishing")
    while not swarm.get("models")["models"]:
        time.sleep(POLL)
    made = swarm.run(
        asker,
        "api-key",
        "create",
        "--budget",
        str(CREDITS // 2),
        "--per-minute",
        "100000",
        "--json",
    )
    return str(json.loads(made)["secret"])


async def _ask(http: ClientSession, url: str, secret: str, at_once: int, requests: int) -> float:
    """Requests per second."""
    left = iter(range(requests))

    async def client() -> None:
        for _ in left:
            await streamed(http, url, secret, NAME, PROMPT, TOKENS)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(client())
    return requests / (time.monotonic() - began)
