"""``swarm results``: bring the results of a job home, checked."""

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.jobs.quantities import plural
from client.jobs.result_folder import ResultFolder
from workunits.errors import UnavailableError
from workunits.ids import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from client.jobs.harvest import Harvest
    from client.tracker_api import TrackerApi


@command(
    examples=(
        "swarm results 3f2a91 out",
        "swarm results 3f2a91 out --watch",
        "head out/results.jsonl",
    )
)
@click.argument("job")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@option("--watch", is_flag=True, help="Wait until the job is over first.")
async def results(call: Invocation, job: str, folder: Path, watch: bool) -> None:
    """Fetch the accepted results of a job into DIR and check every hash.

    DIR/<unit>/<output> are the files, DIR/results.jsonl lists units with their parameters. What a
    model answered is in DIR/answers.jsonl as text, a line for each prompt. Run it again to fetch
    what has been accepted since, or what was not to be had before. Results are handed out when they
    are final: under most policies with the last unit of the job.
    """
    from client.commands.watch import UnfinishedError, finality, follow
    from client.jobs.harvest import Harvest

    unfinished: UnfinishedError | None = None
    async with call.tracker() as tracker:
        view = await tracker.find_job(job)
        if view.asked:
            raise UnavailableError(
                f"{view.name} is a model that is asked: its answers went to those who asked",
                hint="`swarm chat` asks it; the answers of a job of your own prompts are kept.",
            )
        if watch and view.active:
            try:
                await follow(call, tracker, view.id)
            except UnfinishedError as error:
                unfinished = error  # what was accepted is wanted all the same
            view = await tracker.job(view.id)
        signed = await tracker.manifest(view.id)
        harvest = Harvest(tracker, signed, ResultFolder(folder, signed), call.config, call.note)
        with _progress(call, view.counts.accepted) as advance:
            await harvest.run(advance)
        if signed.manifest.program.model is not None:
            await _write_answers(call, tracker, harvest, folder)
    counts = {
        "job": view.id.hex(),
        "state": view.state,
        "units": view.units,
        "accepted": harvest.accepted,
        "failed": harvest.failed,
        "settled": view.counts.settled,
        "outputs": harvest.present,
        "missing": len(harvest.missing),
        "complete": harvest.accepted == view.units and not harvest.missing,
    }
    if call.json:
        terminal.show_json(counts)
    else:
        click.echo(
            f"{folder}: {plural(harvest.present, 'output')} of {harvest.accepted:,} accepted "
            f"units ({plural(view.units, 'unit')} in all, {harvest.failed:,} failed)"
        )
        if view.active:
            call.note(f"the job is still active; `swarm watch {short(view.id)}` follows it")
            if settled := view.counts.settled:
                call.note(
                    f"{plural(settled, 'unit')} more {'is' if settled == 1 else 'are'} settled, "
                    f"{finality(view)}: until then a verdict can change, and its result is not "
                    "shown. A smaller `batch` under [verification.settings] gives results earlier."
                )
    if harvest.missing:
        raise UnavailableError(
            f"{plural(len(harvest.missing), 'output')} could not be fetched: "
            f"{harvest.missing[0]}{' and more' if harvest.missing[1:] else ''}",
            hint="Run the command again when the peers that hold them are back.",
        )
    if unfinished:
        raise unfinished


async def _write_answers(
    call: Invocation, tracker: "TrackerApi", harvest: "Harvest", folder: Path
) -> None:
    """Put the text of a model's answers beside them; without its card they stay as they are."""
    from client.jobs.answers import TABLE, write_answers
    from client.models.cards import card_of

    (file,) = harvest.signed.manifest.program.files
    card = await card_of(call.config, tracker, file.ref)
    if card is None:
        call.note(f"warning: nobody knows the model {short(file.ref.v2)}, so its answers are ids")
        return
    count = await asyncio.to_thread(write_answers, folder, harvest.rows, card)
    call.note(f"{plural(count, 'answer')} as text: {folder / TABLE}")


@contextmanager
def _progress(call: Invocation, total: int) -> "Iterator[Callable[[], None]]":
    console = terminal.console()
    if call.json or not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("results", total=total)
        yield lambda: bar.advance(task)
