"""The reference of all commands as Markdown, made from the commands: ``docs/commands.md``.

Write it with ``python -m openswarm.reference > docs/commands.md``; a test keeps it current.
"""

import inspect
from collections.abc import Iterator

import click

from openswarm.cli import COMMANDS, swarm

INTRODUCTION = """\
# Commands

Made by `python -m openswarm.reference`; do not edit.

Every option can be given as an environment variable too; its name is in the right column.
`SWARM_CACHE` (default `~/.cache/openswarm`) is where images and a private Docker engine are kept,
`NO_COLOR` turns colours off, `SWARM_DEBUG=1` shows tracebacks.

Exit status: 0 all is well; 1 something on this side is wrong or missing; 2 wrong usage or a
mistake in a job file; 3 the other side refused; 130 Ctrl-C.
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    root = click.Context(swarm, info_name="swarm", auto_envvar_prefix="SWARM")
    for title, group in COMMANDS.items():
        parts.append(f"## {title}\n")
        for name in group:
            command = swarm.get_command(root, name)
            assert command is not None
            parts += _sections(command, click.Context(command, root, info_name=name))
    return "\n".join(parts)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its full name."""
    for context in contexts():
        yield context.command_path, context.command


def contexts(context: click.Context | None = None) -> Iterator[click.Context]:
    """The context of every command that does something."""
    context = context or click.Context(swarm, info_name="swarm", auto_envvar_prefix="SWARM")
    if not isinstance(context.command, click.Group):
        yield context
        return
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        assert command is not None
        yield from contexts(click.Context(command, context, info_name=name))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _sections(inner, click.Context(inner, context, info_name=name))
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"### {context.command_path}\n"
    yield f"    {context.command_path} {usage}\n"
    yield f"{_paragraphs(command.help or '')}\n"
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    rows = [_row(each, context) for each in options if "--help" not in each.opts]
    if rows:
        yield "| option | meaning | variable |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    if command.epilog:
        yield f"{_paragraphs(command.epilog)}\n"


def _row(option: click.Option, context: click.Context) -> str:
    names, meaning = option.get_help_record(context) or ("", "")
    variable = variable_of(option, context)
    text = meaning.replace(f"env var: {variable}; ", "").replace(f"env var: {variable}", "")
    cells = (f"`{names}`", text.replace("[]", "").strip(), f"`{variable}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def variable_of(option: click.Option, context: click.Context) -> str:
    """The environment variable that gives an option too."""
    if isinstance(option.envvar, str):
        return option.envvar
    return f"{context.auto_envvar_prefix}_{(option.name or '').upper()}"


def _paragraphs(text: str) -> str:
    """Click's marks for text that is not to be wrapped become code blocks."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if not part.startswith("\b"):
            parts.append(part)
            continue
        _, _, body = part.partition("\n")
        title, _, lines = body.partition("\n")
        indented = "\n".join(f"    {line.strip()}" for line in lines.splitlines())
        parts.append(f"{title}\n\n{indented}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    click.echo(reference(), nl=False)
