"""What every command has in common: shared options, examples in the help, the way to run."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from client import terminal
from client.config import TRACKER, Config

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from client.jobs.jobfile import Draft
    from client.jobs.model import Models
    from client.tracker_api import TrackerApi
    from workunits.signing import Identity

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Invocation:
    """The settings of one call of a command."""

    config: Config
    json: bool

    def identity(self) -> "Identity":
        """This user's key; it is made on first use."""
        from client import keys

        if not self.config.key.exists():
            self.note(f"making a new key: {self.config.key}")
        return keys.load_or_create(self.config.key)

    def tracker(self) -> "AbstractAsyncContextManager[TrackerApi]":
        """A connection to the tracker."""
        from client.tracker_api import TrackerApi

        return TrackerApi.connect(self.config.tracker)

    def runtime_image(self) -> str:
        """Content hash of the runtime image, which is built if need be."""
        from sandbox import image

        return image.tar_hash(image.build(self.config.images, self.note))

    def load_job(self, path: Path, *, serving: bool = False) -> "Draft":
        """Read a job file; its image is built or looked for on this machine, as far as whoever is
        only ``serving`` its files needs it."""
        from client.jobs import jobfile, sharing

        def models() -> "Models":
            from client.models.cards import models_of

            return models_of(self.config, self.note)

        return jobfile.load(
            path,
            self.runtime_image,
            lambda image: sharing.layers_of(self.config, image, self.note),
            models,
            serving=serving,
        )

    def note(self, text: str) -> None:
        """Tell what is going on, unless a script is listening."""
        if not self.json:
            terminal.note(text)


class Command(click.Command):
    """A command whose mistakes name it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # the parser of options knows none
            raise


def command(
    *, examples: tuple[str, ...], tracker: bool = True, key: bool = False, json: bool = True
) -> Callable[[_Function], click.Command]:
    """Make a command of a function that takes an ``Invocation`` first; coroutines are run.

    The first line of the docstring is the summary. ``tracker``, ``key`` and ``json`` choose
    which shared options it has.
    """

    def decorate(function: _Function) -> click.Command:
        @wraps(function)
        def run(**values: Any) -> Any:
            call = Invocation(
                Config.make(
                    home=values.pop("home"),
                    tracker=values.pop("tracker", None),
                    key=values.pop("key", None),
                ),
                values.pop("json", False),
            )
            answer = function(call, **values)
            return run_to_end(answer) if inspect.iscoroutine(answer) else answer

        made = click.command(
            cls=Command,
            help=inspect.getdoc(function),
            epilog=_epilog(examples),
            no_args_is_help=False,
        )(run)
        made.params += _shared(tracker=tracker, key=key, json=json)
        return made

    return decorate


def option(*names: str, **settings: Any) -> Callable[[_Function], _Function]:
    """An option whose default and environment variable stand in the help."""
    return click.option(*names, **({"show_default": True, "show_envvar": True} | settings))


def run_to_end(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine; Ctrl-C cancels it and comes out as ``KeyboardInterrupt``."""
    with asyncio.Runner() as runner:
        return runner.run(work)


def _shared(*, tracker: bool, key: bool, json: bool) -> list[click.Parameter]:
    options: list[click.Parameter] = []
    if tracker:
        options.append(
            click.Option(
                ["--tracker"],
                envvar="SWARM_TRACKER",
                show_envvar=True,
                metavar="URL",
                help=f"Address of the tracker.  [default: {TRACKER}]",
            )
        )
    if key:
        options.append(
            click.Option(
                ["--key"],
                envvar="SWARM_KEY",
                show_envvar=True,
                type=click.Path(path_type=Path, dir_okay=False),
                help="File with your key.  [default: HOME/key]",
            )
        )
    options.append(
        click.Option(
            ["--home"],
            envvar="SWARM_HOME",
            show_envvar=True,
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder for keys, blobs and images.  [default: ~/.local/share/openswarm]",
        )
    )
    if json:
        options.append(
            click.Option(
                ["--json"],
                is_flag=True,
                envvar="SWARM_JSON",
                show_envvar=True,
                help="Print JSON, also for errors.",
            )
        )
    return options


def _epilog(examples: tuple[str, ...]) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
