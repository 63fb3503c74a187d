"""``swarm simulate``: try a policy against cheats before trusting it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simulator import grid
from simulator.attackers import ATTACKS, LYING
from simulator.liar import MAX_UNITS
from simulator.scene import Scene
from tracker.garbage import collect_rarely

if TYPE_CHECKING:
    from simulator.table import Row

PIPE_WIDTH = 160
"""Columns of the table where there is no terminal."""

_DEFAULT_ATTACKS = ("saboteur", "clique", "sleeper")
_EXAMPLES = """\b
Examples:
  swarm simulate
  swarm simulate --policy pair --policy quorum-2 --attack clique --sabotage 0.01 --sabotage 0.1
  swarm simulate --units 120000 --seeds 3 --attackers 0.33 --plot trust.svg --json"""


def _writable(_: click.Context, option: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a plot without a folder now, and not when hours of simulation are done."""
    if file is not None and not os.access(file.parent, os.W_OK):
        raise click.BadParameter(f"no file can be written to '{file.parent}'", param=option)
    return file


@click.command(epilog=_EXAMPLES)
@click.option(
    "--policy",
    "policies",
    envvar="SWARM_SIMULATE_POLICY",
    multiple=True,
    metavar="NAME",
    type=click.Choice(grid.POLICIES),
    help=f"One of {', '.join(grid.POLICIES)}; can be repeated.  [default: all]",
)
@click.option(
    "--attack",
    "attacks",
    envvar="SWARM_SIMULATE_ATTACK",
    multiple=True,
    metavar="NAME",
    type=click.Choice(list(ATTACKS)),
    help=f"One of {', '.join(ATTACKS)}; can be repeated.  [default: {', '.join(_DEFAULT_ATTACKS)}]",
)
@click.option(
    "--attackers",
    multiple=True,
    metavar="F",
    type=click.FloatRange(0, 1, max_open=True),
    default=(0.2,),
    show_default="0.2",
    help="Share of the peers that attack; can be repeated.",
)
@click.option(
    "--sabotage",
    "sabotages",
    envvar="SWARM_SIMULATE_SABOTAGE",
    multiple=True,
    metavar="S",
    type=click.FloatRange(0, 1),
    default=(0.1,),
    show_default="0.1",
    help="Share of its units that a cheat falsifies; can be repeated.",
)
@click.option(
    "--units",
    type=click.IntRange(1, 10_000_000),
    default=10_000,
    show_default=True,
    metavar="N",
    help=f"Units of each run; of those with {LYING} at most {MAX_UNITS}.",
)
@click.option(
    "--peers",
    type=click.IntRange(2, 10_000),
    default=200,
    show_default=True,
    metavar="N",
    help="Peers of each run.",
)
@click.option(
    "--referees",
    type=click.IntRange(0, 10_000),
    default=10,
    show_default=True,
    metavar="N",
    help="Validators of the operator's, beside the peers.",
)
@click.option(
    "--nap",
    type=click.IntRange(0),
    default=30,
    show_default=True,
    metavar="N",
    help="Units that a sleeper does honestly before it begins.",
)
@click.option(
    "--lies",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    metavar="N",
    help=f"Lies about the ledger in each run with {LYING}.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs of each cell, with the seeds 0 to N - 1; the same seed gives the same run.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs at a time, each on a core of its own.",
)
@click.option(
    "--plot",
    "plot_file",
    envvar="SWARM_SIMULATE_PLOT",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    callback=_writable,
    help="Write wrong-accepted against executions as SVG.",
)
@click.option(
    "--json", "as_json", is_flag=True, envvar="SWARM_JSON", help="Print the rows as JSON."
)
def simulate(
    policies: tuple[str, ...],
    attacks: tuple[str, ...],
    attackers: tuple[float, ...],
    sabotages: tuple[float, ...],
    units: int,
    peers: int,
    referees: int,
    nap: int,
    lies: int,
    seeds: int,
    jobs: int,
    plot_file: Path | None,
    as_json: bool,
) -> None:
    """Attack the verification policies in simulation, and show what gets through.

    The tracker's own lease table, policies, draw and ledger decide, over virtual time, about peers
    that are played. Quorums, BOINC's adaptive replication and Sarmenta's credibility stand beside
    them, from their published rules.

    Columns: f, the share of the peers that attack; s, the share of its units that an attacker
    falsifies; wrong results of those accepted; executions for each unit; units without a result;
    honest peers banned; credit not earned, of that paid; keys used; copied commitments accepted,
    of those tried; lies about the ledger that an auditor found, of those told; virtual seconds
    until the last verdict.

    With lying-tracker the attackers are saboteurs and the operator their friend. The ledger of the
    run is written with real signatures, then falsified; kinds of lies that were not all found are
    named below the table.
    """
    basis = Scene("", "none", units=units, peers=peers, referees=referees, nap=nap, lies=lies)
    scenes = grid.cells(
        basis, policies or grid.POLICIES, attacks or _DEFAULT_ATTACKS, attackers, sabotages
    )
    collect_rarely()
    rows = _run(scenes, seeds, jobs)
    if plot_file is not None:
        from simulator.plot import plot

        plot_file.write_text(plot(rows), encoding="utf-8")
    _show(rows, as_json=as_json)


def _run(scenes: list[Scene], seeds: int, jobs: int) -> "list[Row]":
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("simulating", total=seeds * sum(each.units for each in scenes))

        def tell(done: int) -> None:
            progress.update(task, completed=done)

        return list(grid.rows(scenes, seeds, jobs, tell))


def _show(rows: "list[Row]", *, as_json: bool) -> None:
    from simulator.table import to_json, to_table, to_text

    if as_json:
        click.echo(to_json(rows))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    table = to_table(rows)
    if console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
        console.print(table)
    else:
        click.echo(to_text(rows, console.width))
