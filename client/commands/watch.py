"""``swarm watch``: a job's progress, live."""

import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from client import terminal
from client.commands.invocation import Invocation, command
from client.jobs.quantities import plural
from workunits.errors import LocalError, SwarmError
from workunits.ids import JobId, short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from client.tracker_api import TrackerApi
    from client.views import JobView

PATIENCE = 100
"""Attempts in a row to reach a lost tracker: about a quarter of an hour."""

PLAIN_SECONDS = 5.0
"""Between two lines where there is no terminal."""


class UnfinishedError(LocalError):
    """The job is over, but not every unit was accepted."""

    code = "unfinished"


@command(examples=("swarm watch 3f2a91", "swarm watch 3f2a91 --json"))
@click.argument("job")
async def watch(call: Invocation, job: str) -> None:
    """Follow a job until it is over.

    Ctrl-C stops watching, not the job. The exit status is 0 only if every unit was accepted.
    """
    async with call.tracker() as tracker:
        view = await tracker.find_job(job)
        await follow(call, tracker, view.id)


async def follow(call: Invocation, tracker: "TrackerApi", job: JobId) -> None:
    """Show the progress of ``job`` until it is over. Raises ``UnfinishedError``."""
    view = None
    over = False
    try:
        with _display(call) as (show, lost):
            async for view in tracker.events(job, patience=PATIENCE, on_loss=lost):
                show(view)
        over = True
    finally:
        if not over:
            call.note(
                f"The job goes on. Follow it again with `swarm watch {short(job)}`, "
                f"end it with `swarm cancel {short(job)}`."
            )
    assert view is not None
    counts = view.counts
    if view.state != "finished" or counts.accepted < view.units:
        raise UnfinishedError(
            f"job {short(job)} is {view.state}: {counts.accepted:,} of "
            f"{plural(view.units, 'unit')} accepted, {counts.failed:,} failed",
            hint=f"See why with `swarm status {short(job)}`.",
        )
    call.note(
        f"all {plural(view.units, 'unit')} accepted, {plural(view.escrow.paid, 'credit')} paid, "
        f"{view.escrow.returned:,} returned; get them with `swarm results {short(job)} DIR`"
    )


_Show = Callable[["JobView"], None]
_Lost = Callable[[SwarmError], None]


@contextmanager
def _display(call: Invocation) -> "Iterator[tuple[_Show, _Lost]]":
    if call.json:
        yield terminal.show_json, lambda _: None
        return
    console = terminal.console()
    if not console.is_terminal:
        plain = _Lines()
        yield plain.show, lambda error: terminal.note(f"waiting: {error.message}")
        return
    with _bar(console) as bar:
        task = bar.add_task("", total=None, counts="waiting for the tracker")

        def show(view: "JobView") -> None:
            bar.update(
                task,
                total=None if view.asked else view.units,
                completed=view.done,
                description=view.name,
                counts=summary(view),
            )

        yield show, lambda _: bar.update(task, counts="the tracker is away, waiting for it")


class _Lines:
    """A line now and then, for logs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = 0.0

    def show(self, view: "JobView") -> None:
        if view.active and self._clock() < self._next:
            return
        self._next = self._clock() + PLAIN_SECONDS
        of = "" if view.asked else f" of {view.units:,}"
        terminal.note(f"{view.name}: {view.done:,}{of} ({summary(view)})")


def summary(view: "JobView") -> str:
    """What the units of a job are doing, in few words."""
    counts = view.counts
    parts = [(counts.accepted, "accepted"), (counts.settled, "settled")]
    parts += [(counts.computing, "computing"), (counts.revealing, "revealing")]
    parts += [(counts.failed, "failed")]
    if view.active or not view.asked:  # else they are those that nobody asked for
        parts += [(counts.cancelled, "cancelled")]
    parts += [(view.wrong, "wrong answer" if view.wrong == 1 else "wrong answers")]
    text = ", ".join(f"{count:,} {name}" for count, name in parts if count) or "not begun"
    if counts.settled:
        text += f"; {finality(view)}"
    return f"{text}; {view.reason}" if view.active and view.reason else text


def finality(view: "JobView") -> str:
    """When units with a verdict are final, in few words."""
    from client.jobs.verification import batch

    size = batch(view.policy, view.demands)
    return "final when all are" if size >= view.units else f"final in batches of {size:,}"


def _bar(console: Any) -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    words = Column(ratio=1, no_wrap=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}", markup=False, table_column=words),
        TimeRemainingColumn(),
        console=console,
        expand=True,
    )
