"""``swarm chat``: ask a model of the swarm, and see whether its answer was verified."""

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option, run_to_end
from client.jobs.quantities import plural
from workunits.errors import LocalError, SwarmError

if TYPE_CHECKING:
    from client.chat import ChatApi, Verdict

MAX_PROMPT = 4 << 20
BEFORE, AFTER = "before", "after"


class UnverifiedError(LocalError):
    """There is an answer, and nobody verified it."""

    code = "unverified"


class PromptError(LocalError):
    """What is needed to ask is not there."""

    code = "usage"


@dataclass(slots=True)
class Talk:
    """A conversation and its settings."""

    model: str
    before: bool
    settings: dict[str, object]
    messages: list[dict[str, str]] = field(default_factory=list)


@command(
    examples=(
        'swarm chat "Why is the sky blue?"',
        "swarm chat --model smollm2 --system 'You are brief.'",
        "git diff | swarm chat --verify before --temperature 0",
    )
)
@click.argument("prompt", required=False)
@option("--model", default="", metavar="NAME", help="The model; needed if there are several.")
@option("--system", default="", metavar="TEXT", help="What the model is told before all else.")
@option("--temperature", type=click.FloatRange(0, 2), help="0 for the likeliest answer.")
@option("--max-tokens", type=click.IntRange(1), help="Tokens of an answer at most.")
@option("--seed", type=click.IntRange(0), help="The same seed gives the same answer.")
@option(
    "--verify",
    type=click.Choice([AFTER, BEFORE]),
    default=AFTER,
    help="Show text as it comes and the verdict after it, or nothing before its verdict.",
)
@option(
    "--key", "secret", envvar="SWARM_API_KEY", default="", metavar="SECRET", help="Your API key."
)
def chat(
    call: Invocation,
    prompt: str | None,
    model: str,
    system: str,
    temperature: float | None,
    max_tokens: int | None,
    seed: int | None,
    verify: str,
    secret: str,
) -> None:
    """Talk to a language model whose answers are verified.

    With PROMPT, or a text on standard input, there is one answer; otherwise a conversation, which
    Ctrl-D ends. Ctrl-C ends an answer: what was computed of it is paid for. Text is dim until its
    verdict is there. The peers that compute and verify an answer can read what you ask.

    The exit status is 0 only if the answer was verified.
    """
    if not secret:
        raise PromptError(
            "no API key",
            hint="Make one with `swarm api-key create`, and put it into SWARM_API_KEY.",
        )
    given = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    settings: dict[str, object] = {
        name: value for name, value in given.items() if value is not None
    }
    messages = [{"role": "system", "content": system}] if system else []
    talk = Talk(model, verify == BEFORE, settings, messages)
    if prompt is None and not sys.stdin.isatty():
        prompt = _standard_input()
    if prompt is not None and not prompt.strip():
        raise PromptError("the prompt is empty", hint="Leave it out for a conversation.")
    if prompt is None:
        _converse(call, secret, talk)
        return
    try:
        verdict, seconds = run_to_end(_turn(call, secret, talk, prompt))
    except KeyboardInterrupt:
        call.note(_STOPPED)
        raise click.Abort from None  # for an interrupt click would print an empty line
    if not verdict.verified:
        if verdict.corrected is not None and not call.json:
            click.echo(verdict.corrected)
        raise UnverifiedError(
            f"the answer was {doubt(verdict, seconds)}",
            hint="Ask again when another peer is there to check it; `swarm peers` lists them.",
        )
    if not call.json:
        _show_mark(call, verdict, seconds)


_STOPPED = "stopped; what was computed until now is paid for"


def _converse(call: Invocation, secret: str, talk: Talk) -> None:
    """One turn after the other, until the end of the input or Ctrl-C at the prompt."""
    import readline  # noqa: F401  (it lets people edit what they type)

    while True:
        try:
            prompt = input("> ")
        except EOFError:
            call.note("")
            return
        if not prompt.strip():
            continue
        said = len(talk.messages)
        try:
            verdict, seconds = run_to_end(_turn(call, secret, talk, prompt))
            if not call.json:
                _show_mark(call, verdict, seconds)
        except KeyboardInterrupt:
            del talk.messages[said:]
            call.note(_STOPPED)
        except SwarmError as error:
            del talk.messages[said:]
            terminal.show_error(error, as_json=call.json)


async def _turn(call: Invocation, secret: str, talk: Talk, prompt: str) -> "tuple[Verdict, float]":
    """Ask, show the answer, and add both sides to the conversation; the verdict and seconds."""
    import aiohttp

    from client.chat import TIMEOUT, ChatApi

    async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session:
        api = ChatApi(session, call.config.tracker, secret)
        talk.model = talk.model or await _only_model(api)
        talk.messages.append({"role": "user", "content": prompt})
        text, verdict, seconds = await _answer(call, api, talk)
    talk.messages.append({"role": "assistant", "content": text})
    if call.json:
        terminal.show_json(
            {"model": talk.model, "text": text, "seconds": round(seconds, 3), "verdict": verdict}
        )
    return verdict, seconds


async def _answer(call: Invocation, api: "ChatApi", talk: Talk) -> tuple[str, "Verdict", float]:
    from contextlib import aclosing

    from client.chat import More
    from client.commands.gauges import hourglass

    begun = time.monotonic()
    parts: list[str] = []
    verdict = None
    what = "an answer and its verdict" if talk.before else "a volunteer"
    saying = api.say(talk.model, talk.messages, before=talk.before, **talk.settings)
    try:
        async with aclosing(saying):
            with hourglass(call, f"waiting for {what}") as over:
                async for said in saying:
                    over()
                    if not isinstance(said, More):
                        verdict = said
                        continue
                    parts.append(said.text)
                    if not call.json:
                        click.echo(click.style(said.text, dim=not said.verified or None), nl=False)
    finally:
        if (parts or verdict) and not call.json:
            click.echo()
    if verdict is None:
        raise LocalError("the answer came without a verdict", hint="Is this a tracker of a swarm?")
    text = "".join(parts) if verdict.corrected is None else verdict.corrected
    return text, verdict, time.monotonic() - begun


def _show_mark(call: Invocation, verdict: "Verdict", seconds: float) -> None:
    """Say below an answer whether it was verified, and give the right one if it was wrong."""
    call.note(mark(verdict, seconds))
    if verdict.corrected is not None:
        click.echo(verdict.corrected)


def mark(verdict: "Verdict", seconds: float) -> str:
    """The line under an answer."""
    if not verdict.verified:
        return click.style(doubt(verdict, seconds), fg="red")
    peers = plural(len(verdict.validators), "peer")
    rest = _costs(verdict, seconds)
    if verdict.corrected is not None:
        words = f"the text above did not stand; this was verified by {peers}, {rest}:"
        return click.style(words, fg="yellow")
    return click.style(f"verified by {peers}", fg="green") + f", {rest}"


def doubt(verdict: "Verdict", seconds: float) -> str:
    """What is said of an answer that nobody verified."""
    reason = verdict.reason or "nobody could check it in time"
    return f"not verified: {reason}; {_costs(verdict, seconds)}"


def _costs(verdict: "Verdict", seconds: float) -> str:
    parts = [f"ledger entry {verdict.entry:,}"] if verdict.entry >= 0 else []
    parts += [plural(verdict.cost, "credit"), f"{seconds:.1f} s"]
    if verdict.finish == "length":
        parts.append("cut at its token limit")
    return ", ".join(parts)


async def _only_model(api: "ChatApi") -> str:
    models = await api.models()
    if len(models) == 1:
        return models[0]
    if not models:
        raise LocalError("the swarm has no model", hint="Publish one with `swarm model add`.")
    raise PromptError(
        "there are several models", hint=f"Say --model with one of: {', '.join(models)}"
    )


def _standard_input() -> str:
    text = sys.stdin.read(MAX_PROMPT + 1)
    if len(text) > MAX_PROMPT or not text.strip():
        raise PromptError(
            "standard input is empty, or too long for a prompt",
            hint="Give the prompt as an argument.",
        )
    return text
