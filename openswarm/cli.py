"""``swarm``: the front door. Commands are loaded when they are called, not when they are listed.

Exit status: 0 all is well, 1 something on this side is wrong or missing, 2 the command line or
the job file is wrong, 3 the other side refused, 130 Ctrl-C, 143 terminated.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from client import terminal
from workunits.errors import LocalError, RefusedError, SwarmError

VERSION = "0.1.0"
USAGE_ERRORS = frozenset({"job-file", "usage"})

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Submit work": {
        "submit": ("client.commands.submit:submit", "Publish the job that a TOML file describes."),
        "jobs": ("client.commands.jobs:jobs", "List jobs, newest first."),
        "status": ("client.commands.jobs:status", "Show one job and what went wrong in it."),
        "watch": ("client.commands.watch:watch", "Follow a job until it is over."),
        "results": ("client.commands.results:results", "Fetch and check the results of a job."),
        "cancel": ("client.commands.jobs:cancel", "End a job of yours."),
    },
    "Use language models": {
        "model": ("client.commands.model:model", "Put up, list and fetch language models."),
        "chat": ("client.commands.chat:chat", "Talk to a model whose answers are verified."),
    },
    "Share files": {
        "seed": ("client.commands.seed:seed", "Serve files, folders or a job's files to peers."),
        "fetch": ("client.commands.fetch:fetch", "Fetch a torrent into a folder."),
    },
    "Give computing time": {
        "volunteer": ("client.commands.volunteer:volunteer", "Compute or check work for others."),
        "blobs": ("client.commands.blobs:blobs", "Show, check and evict the blobs kept here."),
        "image": ("client.commands.image:image", "Build and list images of programs."),
        "doctor": ("client.commands.doctor:doctor", "Say what is wrong here and how to fix it."),
    },
    "Accounts": {
        "credits": ("client.commands.credits:credits_", "Show the credits of an account."),
        "peers": ("client.commands.credits:peers", "List the peers that the tracker knows."),
        "transfer": ("client.commands.ledger:transfer", "Pay credits to another account."),
        "api-key": ("client.commands.api_key:api_key", "Let programs ask models on your account."),
        "ledger": ("client.commands.ledger:ledger", "Check every credit that was ever paid."),
        "key": ("client.commands.key:key", "Show your key, and say which peers are yours."),
    },
    "Operate": {
        "tracker": ("tracker.commands:tracker", "Run a tracker, grant credits, name referees."),
        "simulate": ("simulator.commands:simulate", "Attack the policies in simulation."),
        "completion": ("openswarm.completion:completion", "Print a shell completion script."),
    },
}
"""Command, where it is, and its line in the help; a test keeps all three true."""

PLACES = {name: place for group in COMMANDS.values() for name, (place, _) in group.items()}


class FrontDoor(click.Group):
    """A group whose commands are imported only when somebody calls them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in PLACES:
            return None
        module, _, attribute = PLACES[cmd_name].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; what it is called here is what its help says."""
        if args[0] not in PLACES and not args[0].startswith("-"):
            from difflib import get_close_matches

            if close := get_close_matches(args[0], PLACES, n=1):
                ctx.fail(f"No such command '{args[0]}'. Did you mean '{close[0]}'?")
        name, command, rest = super().resolve_command(ctx, args)
        return args[0] if name else name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, by purpose."""
        width = max(map(len, PLACES))
        for title, group in COMMANDS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), line) for name, (_, line) in group.items()]
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names from the table."""
        found = [
            CompletionItem(name, help=line)
            for group in COMMANDS.values()
            for name, (_, line) in group.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)


@click.command(
    cls=FrontDoor,
    context_settings={
        "auto_envvar_prefix": "SWARM",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog="""\b
Examples:
  swarm volunteer --tracker http://tracker.example:8400
  swarm submit JOB.toml --watch
  swarm results 3f2a91 out

\b
Exit status: 0 all is well; 1 something on this side is wrong or missing; 2 wrong usage or a
mistake in a job file; 3 the other side refused; 130 Ctrl-C. NO_COLOR turns colours off.""",
)
@click.version_option(VERSION, "-V", "--version", prog_name="swarm")
def swarm() -> None:
    """Open-Swarm, a torrent for compute.

    Publish jobs, compute those of others, and get results that were checked.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command line, report what went wrong, and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments or os.environ.get("SWARM_JSON", "") not in ("", "0")
    color = terminal.color_choice(os.environ)
    try:
        with _terminating():
            swarm.main(arguments, prog_name="swarm", standalone_mode=False, color=color)
        status = 0
    except _TerminatedError:
        status = 143
    except click.exceptions.Exit as exit_:
        status = exit_.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:
        # The reader of our output left; there is nobody to tell. Keep Python from trying to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as error:
        if os.environ.get("SWARM_DEBUG"):
            raise
        problem = explain(error)
        terminal.show_error(problem, as_json=as_json, color=color)
        status = exit_status(problem)
    sys.exit(status)


class _TerminatedError(BaseException):
    """SIGTERM came."""


@contextmanager
def _terminating() -> Iterator[None]:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that nothing is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> NoReturn:
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class UsageError(LocalError):
    """The command line is wrong."""

    code = "usage"


def explain(error: BaseException) -> SwarmError:
    """What a person is told of ``error``."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case SwarmError():
            return error
        case click.UsageError():
            name = error.ctx.command_path if error.ctx else "swarm"
            return UsageError(error.format_message(), hint=f"See `{name} --help`.")
        case click.ClickException():
            return UsageError(error.format_message(), hint="See `swarm --help`.")
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            return LocalError(
                f"{place}{error.strerror or error}",
                hint="Check the path, its permissions and the disk.",
            )
    return LocalError(
        f"this is a bug: {type(error).__name__}: {error}",
        hint="Set SWARM_DEBUG=1, run it again, and report the traceback.",
    )


def exit_status(error: SwarmError) -> int:
    """The exit status that stands for ``error``."""
    if error.code in USAGE_ERRORS:
        return 2
    return 3 if isinstance(error, RefusedError) else 1


if __name__ == "__main__":
    main()
