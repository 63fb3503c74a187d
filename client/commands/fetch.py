"""``swarm fetch``: bring any torrent into a folder."""

import asyncio
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.commands.network import network_options
from client.jobs.quantities import format_seconds, format_size, parse_seconds, plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from client.peers.engine import Engine
    from client.peers.network import Network
    from client.peers.stats import Progress
    from workunits.links import Target
    from workunits.torrents import TorrentInfo


class Duration(click.ParamType[float]):
    """Seconds, written like 5min."""

    name = "TIME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse the duration."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return float(parse_seconds(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@command(
    examples=(
        "swarm fetch 'magnet:?xt=urn:btmh:1220...' .",
        "swarm fetch dataset.torrent data --seed",
        "swarm fetch swarm:3f2a... videos --sequential",
    ),
    key=True,
)
@click.argument("link")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@option(
    "--seed",
    "stay",
    envvar="SWARM_FETCH_SEED",
    is_flag=True,
    help="Stay and serve it when it is here, until Ctrl-C.",
)
@option("--sequential", is_flag=True, help="Fetch in order, to use the start while the rest comes.")
@option("--patience", type=Duration(), default="5min", help="How long to wait while nothing comes.")
@network_options
async def fetch(
    call: Invocation,
    link: str,
    folder: Path,
    stay: bool,
    sequential: bool,
    patience: float,
    network: "Network",
) -> None:
    """Fetch a torrent into a folder.

    Every byte is checked. LINK is a magnet: or swarm: link, a torrent file, or the hash of a
    blob. Run it again to go on where it ended, also after a power loss. Files that are in DIR are
    used as far as they are right, and never overwritten when they are something else.
    """
    from client.commands.targets import find_target
    from client.participation import taking_part

    target = await find_target(call, link)
    kept = 0

    def note(progress: "Progress") -> None:
        nonlocal kept
        kept = progress.done

    began = time.monotonic()
    async with taking_part(call.config, network, patience=patience) as engine:
        try:
            info = await _download(call, engine, target, folder, sequential, note)
        except asyncio.CancelledError:
            stats = engine.stats
            if came := max(kept, stats.from_peers + stats.from_webseed):
                words = f"swarm fetch {shlex.quote(link)} {shlex.quote(str(folder))}"
                call.note(f"{format_size(came)} are kept; go on with: {words}")
            raise
        _tell(call, engine, target, info, folder, time.monotonic() - began)
        if stay:
            from client.commands.seed import serve_on

            call.note("serving it now; Ctrl-C ends")
            await serve_on(call, engine)


async def _download(
    call: Invocation,
    engine: "Engine",
    target: "Target",
    folder: Path,
    sequential: bool,
    note: "Callable[[Progress], None]",
) -> "TorrentInfo":
    from client.commands.gauges import gauge

    name = target.name or target.hash20.hex()[:12]
    with gauge(call, name) as show:

        def watch(progress: "Progress") -> None:
            note(progress)
            show(progress.done, progress.total, plural(progress.peers, "peer"))

        return await engine.download(target, folder, progress=watch, sequential=sequential)


def _tell(
    call: Invocation,
    engine: "Engine",
    target: "Target",
    info: "TorrentInfo",
    folder: Path,
    seconds: float,
) -> None:
    from client.folders import places_of

    path = folder / places_of(info, target.name)[0][0]
    stats = engine.stats
    came = stats.from_peers + stats.from_webseed
    if call.json:
        terminal.show_json(
            {
                "path": path,
                "length": info.content,
                "files": len(info.files),
                "v1": info.v1,
                "v2": info.v2,
                "seconds": round(seconds, 3),
                "fetched": came,
            }
        )
        return
    click.echo(path)
    if came:
        rate = format_size(round(came / seconds)) if seconds else "?"
        call.note(f"{format_size(came)} in {format_seconds(seconds)}, {rate}/s; every hash fits")
    else:
        call.note("it was all here; every hash fits")
