"""``swarm chat``: what a person sees of an answer and of its verdict, and how it can fail."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import pytest

from client.chat import Verdict
from client.commands.chat import mark
from tests.client.commands.shell import Said, Shell
from tests.tracker.endpoint.serving import SECONDS, SECRET, Serving, served
from tests.tracker.endpoint.tiny import NAME, ids
from tracker.endpoint.keys import AbsentError

CLEARED = b"\x1b[1A\x1b[2K"
"""What takes the line above off a terminal."""


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with served(tmp_path / "endpoint") as running:
        running.parlour.cards = running.parlour.cards[:1]
        yield running


async def say(serving: Serving, home: Path, *words: str, key: str = SECRET) -> Said:
    shell = Shell(home, serving.url, {"SWARM_API_KEY": key})
    return await asyncio.to_thread(shell.run, "chat", *words)


async def converse(serving: Serving, home: Path, *typed: str) -> Said:
    """A conversation in which somebody types these lines, and then Ctrl-D."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with (
        patch("sys.stdin", Terminal()),
        patch("builtins.input", side_effect=[*typed, EOFError]),
    ):
        return await say(serving, home)


async def test_an_answer_is_shown_and_marked_as_verified(serving: Serving, tmp_path: Path) -> None:
    serving.say("Because of\n\tRayleigh")
    said = await say(serving, tmp_path, "Why?", "--system", "Be brief.", "--temperature", "0")
    assert said.status == 0, said.err
    assert said.out == "Because of\n\tRayleigh\n"
    assert said.err.startswith("verified by 1 peer, ledger entry 7, ")
    request = serving.parlour.calls[0].request
    assert request.sampling.temperature == 0
    assert b"Be brief." in bytes(each for each in request.prompt if each < 256)


async def test_scripts_get_one_object(serving: Serving, tmp_path: Path) -> None:
    serving.say("Hi")
    said = await say(serving, tmp_path, "Hello", "--json", "--model", NAME)
    assert said.json["text"] == "Hi"
    assert said.json["verdict"]["verified"] is True
    assert said.json["verdict"]["entry"] == 7
    assert len(said.json["verdict"]["validators"]) == 1
    assert said.err == ""


async def test_a_wrong_answer_is_corrected_below_it(serving: Serving, tmp_path: Path) -> None:
    serving.say("wrong", stands=ids("right"))
    said = await say(serving, tmp_path, "Hello")
    assert said.status == 0
    assert said.out == "wrong\nright\n"
    assert "did not stand" in said.err
    said = await say(serving, tmp_path, "Hello", "--verify", "before")
    assert said.out == "right\n"
    assert "did not stand" not in said.err


async def test_an_answer_that_nobody_verified_has_an_exit_status_of_its_own(
    serving: Serving, tmp_path: Path
) -> None:
    serving.say("abc", reason="no validator came")
    said = await say(serving, tmp_path, "Hello")
    assert (said.status, said.out) == (1, "abc\n")
    assert said.err.startswith("error: the answer was not verified: no validator came; ")
    assert said.err.count("no validator came") == said.err.count("not verified") == 1
    assert said.err.count("hint: ") == 1
    serving.say("abc", stands=ids("def"), reason="no validator came")
    assert (await say(serving, tmp_path, "Hello")).out == "abc\ndef\n"


async def test_an_answer_that_nobody_verified_leaves_a_conversation_going(
    serving: Serving, tmp_path: Path
) -> None:
    serving.say("abc", reason="no validator came")
    said = await converse(serving, tmp_path, "first", "second")
    assert (said.status, said.out) == (0, "abc\nabc\n")
    assert said.err.count("not verified: no validator came; ") == 2
    assert "error" not in said.err


async def test_what_a_model_says_commands_no_terminal(serving: Serving, tmp_path: Path) -> None:
    serving.say("a\x1b[2Jb\x07\x9bc")
    said = await say(serving, tmp_path, "Hello")
    assert said.out == "a[2Jbc\n"


async def test_a_prompt_can_come_from_standard_input(serving: Serving, tmp_path: Path) -> None:
    serving.say("Hi")
    with patch("sys.stdin", io.StringIO("from a pipe")):
        said = await say(serving, tmp_path)
    assert said.out == "Hi\n"
    prompt = bytes(each for each in serving.parlour.calls[0].request.prompt if each < 256)
    assert b"from a pipe" in prompt


async def test_a_conversation_remembers_what_was_said(serving: Serving, tmp_path: Path) -> None:
    serving.say("Hi")
    said = await converse(serving, tmp_path, "first", "", "second")
    assert said.status == 0, said.err
    assert said.out == "Hi\nHi\n"
    first, second = serving.parlour.calls
    assert second.request.prompt[: len(first.request.prompt)] == first.request.prompt
    assert b"second" in bytes(each for each in second.request.prompt if each < 256)


@pytest.mark.parametrize(
    ("words", "key", "status", "text"),
    [
        ([], "", 2, "api-key create"),
        ([], "osk-wrong", 3, "api-key create"),
        (["--model", "nothing"], SECRET, 3, "nothing"),
        (["--max-tokens", "100000"], SECRET, 3, "context"),
    ],
)
async def test_mistakes_have_a_cause_and_a_status(
    serving: Serving, tmp_path: Path, words: list[str], key: str, status: int, text: str
) -> None:
    said = await say(serving, tmp_path, "Hello", *words, key=key)
    assert said.status == status
    assert text in said.err
    assert not serving.parlour.calls


async def test_an_empty_prompt_is_not_asked(serving: Serving, tmp_path: Path) -> None:
    said = await say(serving, tmp_path, " ")
    assert (said.status, "the prompt is empty" in said.err) == (2, True)
    assert not serving.parlour.calls


async def test_a_model_has_to_be_named_where_there_are_several(
    serving: Serving, tmp_path: Path
) -> None:
    serving.parlour.cards = [*serving.parlour.cards] * 2
    said = await say(serving, tmp_path, "Hello")
    assert said.status == 2
    assert NAME in said.err
    serving.parlour.cards = []
    assert "no model" in (await say(serving, tmp_path, "Hello")).err


async def test_a_swarm_without_volunteers_says_when_to_come_back(
    serving: Serving, tmp_path: Path
) -> None:
    serving.say("abcdef", failure=AbsentError("all are gone", seconds=30))
    said = await say(serving, tmp_path, "Hello")
    assert said.status == 1
    assert said.err.count("Try again in 30 s.") == 1
    assert "hint: `swarm peers`" in said.err
    serving.say("abcdef", failure=AbsentError("all are gone", seconds=30), failure_after=3)
    said = await say(serving, tmp_path, "Hello")
    assert said.status == 1
    assert "broke off" in said.err


@asynccontextmanager
async def asking(
    serving: Serving, home: Path, err: int = subprocess.PIPE, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``swarm chat`` in a process of its own."""
    usual = {"SWARM_API_KEY": SECRET, "SWARM_HOME": str(home), "COVERAGE": "", "TERM": "xterm"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openswarm.cli", "chat", "Hello", "--tracker", serving.url),
        env=os.environ | usual | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=err,
    )
    try:
        async with asyncio.timeout(SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Screen:
    """A terminal, and all that was written on it."""

    def __init__(self) -> None:
        self.ours, self.theirs = os.openpty()
        self.said = b""
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.ours, self._read)

    def _read(self) -> None:
        self.said += os.read(self.ours, 1 << 16)
        self._more.set()

    async def shows(self, text: bytes) -> None:
        """Return as soon as ``text`` was written."""
        async with asyncio.timeout(SECONDS):
            while text not in self.said:
                self._more.clear()
                await self._more.wait()

    def close(self) -> None:
        """Take it away."""
        asyncio.get_running_loop().remove_reader(self.ours)
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
async def screen() -> AsyncIterator[Screen]:
    made = Screen()
    yield made
    made.close()


async def test_ctrl_c_ends_the_answer_and_says_so(serving: Serving, tmp_path: Path) -> None:
    serving.say("a long answer", hold_after=6)
    async with asking(serving, tmp_path) as process:
        assert process.stdout
        assert await process.stdout.readexactly(6) == b"a long"
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert out == b"\n"
    assert err == b"stopped; what was computed until now is paid for\n"


@pytest.mark.parametrize("color", ["", "1"])
async def test_waiting_for_the_first_word_is_seen_until_it_comes(
    serving: Serving, tmp_path: Path, screen: Screen, color: str
) -> None:
    script = serving.say("Hi", hold_after=0)
    async with asking(serving, tmp_path, screen.theirs, NO_COLOR=color) as process:
        await screen.shows(b"waiting for a volunteer ... ")
        script.go.set()
        out, _ = await process.communicate()
        await screen.shows(b" credits, ")
    assert out == b"Hi\n"
    waited, gone, rest = screen.said.rpartition(CLEARED)
    assert gone and rest.startswith(b"\x1b[32mverified" if not color else b"verified")
    assert b"verified" not in waited
    assert (b"\x1b[32m" in waited) is not bool(color), "the spinner is green"


async def test_ctrl_c_while_nobody_answers_leaves_one_line(
    serving: Serving, tmp_path: Path, screen: Screen
) -> None:
    serving.say("Hi", hold_after=0)
    async with asking(serving, tmp_path, screen.theirs) as process:
        await screen.shows(b"waiting for a volunteer")
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
        await screen.shows(b"paid for")
    assert (process.returncode, out) == (130, b"")
    _, gone, rest = screen.said.rpartition(CLEARED)
    assert gone and rest.strip() == b"stopped; what was computed until now is paid for"


def verdict(**changes: Any) -> Verdict:
    usual: dict[str, Any] = {
        "verified": True,
        "same": True,
        "validators": (b"v" * 32, b"u" * 32),
        "worker": b"w" * 32,
        "unit": "0/0",
        "entry": 123,
        "cost": 30,
        "reason": "",
        "finish": "stop",
        "corrected": None,
    }
    return Verdict(**(usual | changes))


def test_the_mark_is_green_yellow_or_red() -> None:
    green = mark(verdict(), 0.81)
    assert click.unstyle(green) == "verified by 2 peers, ledger entry 123, 30 credits, 0.8 s"
    assert "\x1b[32m" in green
    assert "\x1b[33m" in mark(verdict(same=False, corrected="x"), 1)
    red = mark(verdict(verified=False, entry=-1, reason="nobody came", finish="length"), 1)
    assert "\x1b[31m" in red
    words = "not verified: nobody came; 30 credits, 1.0 s, cut at its token limit"
    assert click.unstyle(red) == words
