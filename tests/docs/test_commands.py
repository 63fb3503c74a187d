"""Commands in the documentation exist, with the options that are shown."""

import re
import shlex
from importlib import import_module
from typing import NamedTuple

import click
import pytest

from tests.docs.pages import pages


class Line(NamedTuple):
    """A command line, and the page that shows it."""

    page: str
    text: str


def shown() -> list[Line]:
    """Every ``swarm`` command in shell blocks and in running text."""
    found = []
    for page in pages():
        for block in page.blocks("sh", "bash", "console", "shell"):
            text = block.text.replace("\\\n", " ")
            lines = (line.strip().removeprefix("$ ") for line in text.splitlines())
            found += [Line(page.name, line) for line in lines if line.startswith("swarm ")]
        found += [Line(page.name, code) for code in page.inline() if code.startswith("swarm ")]
    return sorted(set(found))


@pytest.mark.parametrize("line", shown(), ids=lambda line: f"{line.page}: {line.text}"[:100])
def test_a_command_that_is_shown_exists(line: Line) -> None:
    command: click.Command = front_door()
    words = shlex.split(re.split(r" [|>] | \(", line.text)[0], comments=True)[1:]
    name = "swarm"
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(command, info_name=name)
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]!r} in {name}"
        name = words.pop(0)
        command = found
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    known |= {"--help", "-h"} | ({"--version", "-V"} if name == "swarm" else set())
    used = [word.partition("=")[0] for word in words if word.startswith("-")]
    assert not set(used) - known, f"{name} has no such option"


def test_the_readme_shows_every_role() -> None:
    text = " ".join(line.text for line in shown() if line.page == "README.md")
    for words in ("tracker serve", "tracker grant", "volunteer", "--validate", "submit", "results"):
        assert words in text


def front_door() -> click.Group:
    """The command ``swarm``."""
    command: click.Group = import_module("openswarm.cli").swarm
    return command
