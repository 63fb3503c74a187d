"""``swarm volunteer``: compute or check work for others, until Ctrl-C."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.commands.network import network_options
from client.jobs.quantities import format_size, parse_size, plural
from workunits.errors import UnavailableError
from workunits.ids import short

if TYPE_CHECKING:
    from client.peers.engine import Engine
    from client.peers.network import Network
    from client.peers.stats import SwarmStats
    from client.work.notices import Notice
    from client.work.volunteer import Status, Volunteer
    from client.work.workshop import Runtime

BLINK = 0.5
"""Seconds between two updates of the status line."""


class Size(click.ParamType[int]):
    """Bytes, written like 4GiB."""

    name = "SIZE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Parse the size."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a person gives: slots of one CPU each, bytes of memory over all, bytes of disk."""

    cpus: int
    memory_bytes: int
    disk_bytes: int
    validator: bool
    network: "Network | None" = None
    """How peers may be reached; ``None`` for the defaults."""

    engine: str = "auto"
    """What moves the files; see ``client.peers.engine``."""

    models: bool = True
    """Whether language models are run, if the machine can."""


@command(
    examples=(
        "swarm volunteer --tracker http://tracker.example:8400",
        "swarm volunteer --cpus 2 --memory 2GiB --disk 20GiB",
        "swarm volunteer --validate",
    ),
    key=True,
)
@option("--cpus", type=click.IntRange(1, 4096), help="Units at a time, a CPU each.  [default: all]")
@option("--memory", type=Size(), help="Memory for all units.  [default: half of the machine's]")
@option(
    "--disk",
    type=Size(),
    default="10GiB",
    help="Disk for blobs that are kept and served, and images.",
)
@option("--validate", is_flag=True, help="Recompute what others computed, to check it.")
@option("--no-models", is_flag=True, help="Run no language models.")
@option("--install", is_flag=True, help="As root on Debian: install a Docker engine if need be.")
@option(
    "--engine",
    "transfer",
    type=click.Choice(("auto", "aiortc", "libtorrent")),
    envvar="SWARM_ENGINE",
    default="auto",
    help="What moves files: libtorrent is fast, and auto where it is installed; a validator's auto "
    "is aiortc, which passes on what peers saw of the ledger.",
)
@network_options
def volunteer(
    call: Invocation,
    cpus: int | None,
    memory: int | None,
    disk: int,
    validate: bool,
    no_models: bool,
    install: bool,
    transfer: str,
    network: "Network",
) -> None:
    """Compute units of other people's jobs in a sandbox, and earn credits.

    Programs run in containers without network, as nobody, within limits. Ctrl-C finishes what is
    under way and leaves; a second Ctrl-C stops at once (results that were committed are kept).
    """
    from sandbox.containers import DockerSandbox, DockerSettings
    from sandbox.engine import engine
    from sandbox.image import runtime
    from sandbox.profile import Share

    offer = Offer(
        cpus=cpus or usable_cpus(),
        memory_bytes=memory or usable_memory() // 2,
        disk_bytes=disk,
        validator=validate,
        network=network,
        engine=transfer,
        models=not no_models,
    )
    with engine(call.config.engine, call.note, install=install) as found:
        try:
            runtime(found.url, call.config.images, call.note)
        except UnavailableError as error:
            call.note(f"without the runtime image: {error.message}. {error.hint}")
        settings = DockerSettings(
            engine=found.url,
            work=call.config.scratch / "cells",
            shares=tuple(Share() for _ in range(offer.cpus)),
        )
        asyncio.run(_work(call, offer, lambda: DockerSandbox(settings)))


async def _work(call: Invocation, offer: Offer, make: "Callable[[], Runtime]") -> None:
    sandbox = make()
    try:
        await serve(call, offer, sandbox)
    finally:
        await sandbox.close()


async def serve(call: Invocation, offer: Offer, sandbox: "Runtime") -> None:
    """Be a volunteer with ``sandbox`` until a signal or the tracker ends it."""
    screen = Screen(call, offer)
    async with _volunteer(call, offer, sandbox, screen.notice) as (worker, swarm):
        with _signals(call, worker) as stopped, screen.live():
            async with asyncio.TaskGroup() as group:
                running = group.create_task(worker.run())
                stopping = group.create_task(stopped.wait())
                while not running.done() and not stopping.done():
                    await asyncio.wait(
                        (running, stopping), timeout=BLINK, return_when=asyncio.FIRST_COMPLETED
                    )
                    screen.update(worker.status)
                stopping.cancel()
                running.cancel()
        screen.end(worker.status, swarm.stats)


@asynccontextmanager
async def _volunteer(
    call: Invocation, offer: Offer, sandbox: "Runtime", notify: "Callable[[Notice], None]"
) -> "AsyncIterator[tuple[Volunteer, Engine]]":
    from random import SystemRandom

    from client import keys
    from client.blobs import BlobStore
    from client.peers.engine import EVERYWHERE, choose
    from client.tracker_api import check_url
    from client.work.clock import Clock
    from client.work.supply import SwarmBlobs
    from client.work.volunteer import Capacity, Volunteer
    from client.work.witness import LedgerWitness

    config = call.config
    identity = call.identity()
    url = check_url(config.tracker)
    witness = (
        LedgerWitness(url, identity, config.home, notify=notify, clock=Clock(), rng=SystemRandom())
        if offer.validator
        else None
    )
    with BlobStore(config.blobs, quota=offer.disk_bytes) as store:
        network = offer.network or EVERYWHERE
        make = choose(offer.engine, gossip=offer.validator, relay_only=network.relay_only)
        async with make(store, url, network=network, identity=identity, gossip=witness) as swarm:
            blobs = SwarmBlobs(store, swarm)
            await blobs.serve_models()
            worker = Volunteer(
                url,
                identity,
                sandbox,
                blobs,
                capacity=Capacity(offer.cpus, offer.memory_bytes),
                state=config.home / "volunteer",
                scratch=config.scratch,
                validator=offer.validator,
                no_models=_no_models(offer),
                vouch=keys.load_vouch(config.home / "vouch", identity.key),
                witness=witness,
                notify=notify,
            )
            yield worker, swarm


def _no_models(offer: Offer) -> str:
    """Why no models are run; empty if they are."""
    from client.processor import has_avx2

    if not offer.models:
        return "models"
    return "" if has_avx2() else "platform"


@contextmanager
def _signals(call: Invocation, worker: "Volunteer") -> Iterator[asyncio.Event]:
    """Set the event on the second Ctrl-C (or SIGTERM); the first drains.

    None has any effect afterwards: what remains is to remove containers, and that takes seconds.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    asked = 0

    def on_signal() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            stopped.set()
            return
        call.note("finishing what is under way; Ctrl-C again stops at once")
        worker.drain()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: None)


@dataclass
class Screen:
    """What a volunteer's terminal shows: one living line, and what is worth a line of its own."""

    call: Invocation
    offer: Offer
    _status: Any = None
    _last: str = ""
    _names: dict[bytes, str] = field(default_factory=dict)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep a status line while the block runs, if there is a terminal."""
        role = "validator" if self.offer.validator else "volunteer"
        config = self.call.config
        self.call.note(
            f"{role} for {config.tracker}: {plural(self.offer.cpus, 'CPU')}, "
            f"{format_size(self.offer.memory_bytes)} of memory"
        )
        console = terminal.console()
        if self.call.json or not console.is_terminal:
            yield
            return
        with console.status("connecting") as self._status:
            yield
        self._status = None

    def update(self, status: "Status") -> None:
        """Show where the volunteer stands."""
        if self._status is not None:
            parts = ["online" if status.online else "offline", f"{status.running} running"]
            parts += [f"{status.held - status.running} waiting", f"{status.committed} committed"]
            parts += [f"{status.done:,} done", self._last]
            self._status.update(" · ".join(part for part in parts if part))

    def end(self, status: "Status", stats: "SwarmStats") -> None:
        """Say what it came to."""
        moved = {
            "from_peers": stats.from_peers,
            "from_tracker": stats.from_webseed,
            "to_peers": stats.sent,
        }
        if self.call.json:
            terminal.show_json({"event": "Ended", "done": status.done, "bytes": moved})
            return
        files = ", ".join(
            f"{format_size(size)} {way.replace('_', ' ')}" for way, size in moved.items()
        )
        self.call.note(f"{plural(status.done, 'unit')} done; files: {files}")

    def notice(self, notice: "Notice") -> None:
        """Show one thing that happened."""
        from client.work import notices

        if self.call.json:
            terminal.show_json({"event": type(notice).__name__} | terminal.plain(notice))
            return
        match notice:
            case notices.Online(tracker):
                self._say(f"online at tracker {short(tracker)}")
            case notices.Offline(reason, hint, retry):
                self._say(f"offline: {reason}; next try in {retry:.0f} s" + _after(hint))
            case notices.JobSeen(job, name, units, model, asked):
                self._names[job] = name
                what = f"the model runs on {model}" if asked else f"{units:,} units"
                self._say(f"job {short(job)}: {name}, {what}")
            case notices.Warned(message, hint):
                self._say(f"warning: {message}" + _after(hint))
            case notices.Forked(message, hint):
                self._say(f"FORK: {message}" + _after(hint))
            case notices.Finished(unit, seconds, failure, stderr):
                name = self._names.get(unit.job, short(unit.job))
                self._last = f"{name}/{unit.index} in {seconds:.1f} s"
                if failure:
                    self._say(f"unit {name}/{unit.index}: {failure}" + _after(_complaint(stderr)))
            case notices.Answered(unit, seconds, tokens, rate, checked, failure):
                name = self._names.get(unit.job, short(unit.job))
                did = "checked" if checked else "answered"
                speed = f", {rate:.0f} tok/s" if rate else ""
                self._last = f"{did} {name}: {tokens:,} tokens in {seconds:.1f} s{speed}"
                if failure:
                    self._say(f"unit {name}/{unit.index}: {failure}")
            case notices.Compared(unit, seconds, opinion, stderr):
                name = self._names.get(unit.job, short(unit.job))
                self._last = f"results of {name}/{unit.index}: {opinion}, in {seconds:.1f} s"
                if opinion == "failed":
                    self._say(
                        f"comparator of {name}/{unit.index} failed" + _after(_complaint(stderr))
                    )

    def _say(self, text: str) -> None:
        if self._status is not None:
            self._status.console.print(text, markup=False, highlight=False)
        else:
            terminal.note(text)


def _complaint(stderr: bytes) -> str:
    """The last line of what a program complained, for one line of a terminal."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return "".join(each for each in lines[-1] if each.isprintable())[:200] if lines else ""


def _after(text: str) -> str:
    return f" ({text.rstrip('.')})" if text else ""


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def usable_memory() -> int:
    """Bytes of memory of the machine, or of the control group around this process."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            total = min(total, int(Path(place).read_text()))
    return total
