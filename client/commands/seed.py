"""``swarm seed``: serve files, folders, torrents and the files of jobs to peers."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.commands.network import network_options
from client.jobs.quantities import format_size, plural

if TYPE_CHECKING:
    from client.peers.engine import Engine
    from client.peers.network import Network
    from client.sharing import Shared
    from workunits.links import Target
    from workunits.torrent_files import TorrentDocument

JOB = "JOB.toml"
OPEN = "open"
"""The mode of trackers that track everything."""

BLINK = 1.0
RETRY = 30.0
"""Seconds between two looks at what goes on, and before a tracker that is away is asked again."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a person named: a path, or the content of a torrent, or the files of a job."""

    path: Path
    torrent: Path | None = None
    job: bool = False


@command(
    examples=(
        "swarm seed model.bin",
        "swarm seed dataset/ --torrent dataset.torrent",
        "swarm seed ubuntu.torrent ~/Downloads",
        "swarm seed JOB.toml --up 2MiB",
        "swarm seed model.bin --no-serve --json | jq -r .magnet",
    ),
    key=True,
)
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@option(
    "--torrent",
    "save",
    envvar="SWARM_SEED_TORRENT",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a torrent file, for any BitTorrent client.",
)
@option("--plain", is_flag=True, help="Take a job file, or a folder with one, for mere data.")
@option("--serve/--no-serve", default=True, help="Stay and serve, or only say the links.")
@network_options
async def seed(
    call: Invocation,
    paths: tuple[Path, ...],
    save: Path | None,
    plain: bool,
    serve: bool,
    network: "Network",
) -> None:
    """Serve files, folders or a job's files to peers.

    They stay where they lie, are registered with the tracker, and served until Ctrl-C. A PATH is
    a file, a folder, a job file (then its files are served), or a torrent file followed by where
    its content is. Links are printed for each: `swarm fetch` takes both, any BitTorrent client
    the one that begins with magnet:. Files are read once to be hashed, and again only when they
    have changed.
    """
    wishes = list(_wishes(paths, plain=plain))
    shares = {wish: await _prepare(call, wish) for wish in wishes}
    every = [share for each in shares.values() for share in each]
    if save is not None and len(every) != 1:
        raise click.UsageError(f"--torrent is for one torrent, and there are {len(every)}.")
    # The files of a job are tracked because of the job.
    own = [share for wish, each in shares.items() if not wish.job for share in each]
    introduction = _Introduction(call, own)
    await introduction.attempt()
    for wish, each in shares.items():
        for share in each:
            _tell(call, share, introduction.urls, save, shown=not wish.job)
    if save is not None:
        await asyncio.to_thread(_save, save, every[0].document, introduction.urls)
    if serve:
        await _serve(call, every, network, introduction)


def _wishes(paths: Sequence[Path], *, plain: bool) -> Iterator[_Wish]:
    rest = list(paths)
    while rest:
        path = rest.pop(0)
        if path.suffix == ".torrent" and path.is_file():
            yield _Wish(rest.pop(0) if rest else path.parent, torrent=path)
        elif not plain and (path.suffix == ".toml" or (path / JOB).is_file()):
            yield _Wish(path, job=True)
        else:
            yield _Wish(path)


async def _prepare(call: Invocation, wish: _Wish) -> "list[Shared]":
    """Hash what is not known yet."""
    from client.commands.gauges import gauge
    from client.commands.targets import read_torrent_file
    from client.hashes import Hashes
    from client.sharing import describe, match

    hashes = Hashes(call.config.cache / "hashes")
    if wish.job:
        paths = list(call.load_job(wish.path, serving=True).files.values())
        return [await asyncio.to_thread(describe, path, hashes) for path in paths]
    halt = Event()
    with gauge(call, f"hashing {wish.path.name or wish.path}") as show:
        how: dict[str, Any] = {
            "watch": lambda done, total: show(done, total, ""),
            "halted": halt.is_set,
        }
        try:
            if wish.torrent is not None:
                document = read_torrent_file(wish.torrent)
                share = await asyncio.to_thread(match, document, wish.path, hashes, **how)
            else:
                share = await asyncio.to_thread(describe, wish.path, hashes, **how)
        finally:
            halt.set()  # else Ctrl-C would wait for the thread
    for left in share.skipped[:5]:
        call.note(f"left out, for it is neither file nor folder: {left}")
    if len(share.skipped) > 5:
        call.note(f"and {len(share.skipped) - 5:,} more like that")
    return [share]


class _Introduction:
    """Asks the tracker where to announce, and to track what it would not track otherwise."""

    def __init__(self, call: Invocation, shares: "Sequence[Shared]") -> None:
        from client.participation import announce_urls
        from client.peers.reach import UNKNOWN

        self._call = call
        self._left = list(shares)
        self.urls = announce_urls(UNKNOWN, call.config.tracker)
        self.done = False

    async def attempt(self) -> None:
        """Raises ``TrackerError`` when it says no; when it is away, that is only noted."""
        from client.participation import announce_urls, register
        from client.tracker_api import TrackerApi
        from workunits.errors import UnavailableError

        call = self._call
        try:
            async with TrackerApi.connect(call.config.tracker, attempts=1) as tracker:
                reach = await tracker.reach()
                self.urls = announce_urls(reach, call.config.tracker)
                while self._left and reach.mode != OPEN:
                    if warning := await register(tracker, self._left[0], call.identity()):
                        call.note(f"warning: {warning}")
                    del self._left[0]
        except UnavailableError as error:
            call.note(f"warning: {error.message}; until it is back nobody finds these files")
        else:
            self.done = True

    async def insist(self) -> None:
        """Try until it worked."""
        while not self.done:
            await asyncio.sleep(RETRY)
            await self.attempt()


def _tell(
    call: Invocation,
    share: "Shared",
    trackers: tuple[str, ...],
    save: Path | None,
    *,
    shown: bool,
) -> None:
    from workunits.links import format_magnet, format_swarm

    info = share.document.info
    target = _target(share, trackers)
    if call.json:
        terminal.show_json(
            {
                "path": share.path,
                "name": target.name,
                "length": info.content,
                "files": len(info.files),
                "v1": info.v1,
                "v2": info.v2,
                "magnet": format_magnet(target),
                "swarm": format_swarm(target),
                "torrent": save,
            }
        )
    elif shown:
        files = "" if info.single else f", {plural(len(info.files), 'file')}"
        call.note(f"{share.path} ({format_size(info.content)}{files})")
        click.echo(format_magnet(target))
        click.echo(format_swarm(target))


def _target(share: "Shared", trackers: tuple[str, ...]) -> "Target":
    from workunits.links import Target

    info = share.document.info
    return Target(info.v1, info.v2, info.content, share.name, trackers)


def _save(path: Path, document: "TorrentDocument", trackers: tuple[str, ...]) -> None:
    from dataclasses import replace

    from client.disk import replace_file
    from workunits.torrent_files import encode_torrent_file

    replace_file(path, encode_torrent_file(replace(document, trackers=trackers)))


async def _serve(
    call: Invocation,
    shares: "Sequence[Shared]",
    network: "Network",
    introduction: _Introduction,
) -> None:
    from client.participation import taking_part

    async with taking_part(call.config, network) as engine:
        size = 0
        for share in shares:
            info = share.document.info
            size += info.content
            layers = share.document.layers
            if info.content:
                await engine.share(info, share.folder, name=share.name, layers=layers)
        files = sum(len(share.document.info.files) for share in shares)
        call.note(f"seeding {plural(files, 'file')} ({format_size(size)}); Ctrl-C ends")
        async with asyncio.TaskGroup() as group:
            group.create_task(introduction.insist())
            await serve_on(call, engine)


async def serve_on(call: Invocation, engine: "Engine") -> None:
    """Stay until Ctrl-C, and say at the end what was given."""
    from client.commands.gauges import lamp

    try:
        with lamp(call) as show:
            while True:
                show(engine.stats)
                await asyncio.sleep(BLINK)
    finally:
        if sent := engine.stats.sent:
            call.note(f"{format_size(sent)} were sent to peers")
