"""``swarm jobs``, ``swarm status``, ``swarm cancel``: what happens to jobs."""

import time
from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.jobs.quantities import plural
from workunits.ids import short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from client.views import JobView

MAX_SHOWN = 10
NAME_SHOWN = 16


@command(examples=("swarm jobs", "swarm jobs --mine --state active", "swarm jobs --json"), key=True)
@option("--mine", is_flag=True, help="Only jobs that were submitted with your key.")
@option(
    "--state",
    type=click.Choice(["active", "finished", "cancelled"]),
    help="Only jobs in this state.",
)
@option("--limit", type=click.IntRange(1, 100_000), default=20, help="How many to show.")
async def jobs(call: Invocation, mine: bool, state: str | None, limit: int) -> None:
    """List jobs, newest first.

    `done` are units with a verdict, final or not; `swarm status` says what became of them.
    """
    submitter = call.identity().key if mine else None
    async with call.tracker() as tracker:
        found = await tracker.jobs(state=state or "", submitter=submitter, limit=limit)
    if call.json:
        terminal.show_json(found)
        return
    if not found:
        call.note("no jobs; publish one with `swarm submit JOB.toml`")
        return
    show_jobs(found, time.time())


def show_jobs(found: "Iterable[JobView]", now: float) -> None:
    """Print a table of jobs."""
    terminal.show_table(
        ("job", "name", "state", "units", "done", "failed", "created"),
        (
            (
                short(job.id),
                terminal.cut(job.name, NAME_SHOWN),
                job.state,
                "-" if job.asked else job.units,
                _done(job),
                job.counts.failed,
                terminal.day(job.created, now),
            )
            for job in found
        ),
    )


def _done(job: "JobView") -> str:
    return f"{job.done:,}" if job.asked else f"{100 * job.done // max(1, job.units)}%"


@command(
    examples=(
        "swarm status 3f2a91",
        "swarm status 3f2a91 --links",
        "swarm status 3f2a91 --json | jq .counts",
    )
)
@click.argument("job")
@option("--links", is_flag=True, help="Print magnet links of its files and final results instead.")
async def status(call: Invocation, job: str, links: bool) -> None:
    """Show one job: its units, its credits, and what went wrong.

    JOB is a job id or its first digits. With --links any BitTorrent client can fetch what the job
    reads and what came of it, or seed it.
    """
    from client.commands.links import show_links
    from client.commands.watch import finality
    from client.jobs.verification import describe

    async with call.tracker() as tracker:
        view = await tracker.find_job(job)
        if links:
            await show_links(call, tracker, view)
            return
        failed = []
        if view.counts.failed:
            async for unit in tracker.units(view.id, state="failed"):
                failed.append(unit)
                if len(failed) == MAX_SHOWN:
                    break
    if call.json:
        terminal.show_json(terminal.plain(view) | {"failures": terminal.plain(failed)})
        return
    counts, escrow = view.counts, view.escrow
    parts = {name: getattr(counts, name) for name in counts.__slots__}
    if view.asked:
        del parts["open"]
    done = f", {finality(view)}" if counts.settled else ""
    terminal.show_facts(
        {
            "job": view.id.hex(),
            "name": view.name,
            "state": f"{view.state}{f' ({view.reason})' if view.reason else ''}",
            "submitter": view.submitter.hex(),
            "created": terminal.date(view.created),
            "checking": describe(view.policy, view.comparator, view.demands),
            "units": "as they are asked for" if view.asked else view.units,
            "": ", ".join(f"{count:,} {name}" for name, count in parts.items() if count) + done,
            "executions": f"{view.executions:,}, {view.wrong:,} wrong",
            "credits": f"{escrow.paid:,} paid, {escrow.held:,} held, {escrow.returned:,} returned",
        }
    )
    for unit in failed:
        values = " ".join(f"{name}={value}" for name, value in unit.parameters.items())
        click.echo(f"unit {unit.index} ({values}) failed: {unit.reason}")
    if counts.failed > len(failed):
        call.note(f"and {plural(counts.failed - len(failed), 'more failed unit')}")


@command(examples=("swarm cancel 3f2a91",), key=True)
@click.argument("job")
async def cancel(call: Invocation, job: str) -> None:
    """End a job of yours; credits that it has not paid come back.

    Results that were accepted until now stay.
    """
    import secrets

    from client.tracker_api import now
    from workunits.statements import Cancel, Statement

    identity = call.identity()
    async with call.tracker() as tracker:
        view = await tracker.find_job(job)
        statement = Statement.sign(
            identity, Cancel(view.id), time=now(), nonce=secrets.token_bytes(16)
        )
        await tracker.state(statement)
        view = await tracker.job(view.id)
    if call.json:
        terminal.show_json(view)
        return
    click.echo(
        f"job {short(view.id)} is {view.state}: {plural(view.counts.accepted, 'unit')} accepted, "
        f"{plural(view.escrow.returned, 'credit')} returned"
    )
