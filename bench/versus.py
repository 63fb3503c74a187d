"""Our tracker and those of others under the same load, in one run, and the row that says so."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.clients import HASHES, PEERS
from bench.flow import Flow, in_turns
from bench.load import Plan
from bench.processes import BenchError, Child, child
from bench.rivals import Rival, bittorrent_tracker, opentracker
from bench.row import Row, Setting
from bench.tracker import tracking

OURS, NPM, OPENTRACKER, BARE = "ours", "bittorrent-tracker", "opentracker", "bare"
SECONDS = 2.0
ROUNDS = 3
QUICK = 0.3
BUDGET = f"> {NPM}, aim 2 x"
RIVALS: dict[str, Callable[[Setting], AbstractContextManager[Rival]]] = {
    NPM: bittorrent_tracker,
    OPENTRACKER: lambda setting: opentracker(setting, HASHES),
}


@dataclass(frozen=True, slots=True)
class Contest:
    """What is asked of whom. ``swarms`` are the shapes: in how many swarms the peers are.

    ``bare`` is the kind of load for the bare server, if it can stand it.
    """

    what: str
    kind: str
    connections: int
    swarms: tuple[int, ...]
    rivals: tuple[str, ...] = (NPM, OPENTRACKER)
    bare: str = ""
    peers: int = PEERS
    """Peers that one connection stands for."""


@dataclass(slots=True)
class Place:
    """The servers that run, and why others do not."""

    servers: dict[str, tuple[Child, str]]
    missing: list[str]


def compare(contest: Contest, setting: Setting, seconds: float | None = None) -> Row:
    """Measure every shape in turns; the score is our ratio to bittorrent-tracker at its worst."""
    rounds = 1 if setting.quick else ROUNDS
    seconds = seconds or (QUICK if setting.quick else SECONDS)
    with servers(contest, setting) as place:
        flows = {}
        for swarms in contest.swarms:
            setting.say(f"{contest.kind}, {swarms} swarms")
            plan = Plan("", contest.kind, contest.connections, swarms)
            plans = {
                name: (server, replace(plan, url=url, kind=_kind(contest, name)))
                for name, (server, url) in place.servers.items()
            }
            flows[swarms] = in_turns(plans, seconds, rounds, setting.folder)
    return _row(contest, flows, place.missing)


@contextmanager
def servers(contest: Contest, setting: Setting) -> Iterator[Place]:
    """Run our tracker, and what else there is."""
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking(setting.folder, "--mode", "open"))
        place = Place({OURS: (tracker.child, tracker.url)}, [])
        for name in contest.rivals:
            try:
                if setting.quick:
                    raise BenchError("left out of a quick run")
                rival = stack.enter_context(RIVALS[name](setting))
                place.servers[name] = rival.child, rival.url
            except BenchError as error:
                place.missing.append(f"{name}: {error}")
        if contest.bare:
            bare = stack.enter_context(child("bench.bare", log=_log(setting)))
            place.servers[BARE] = bare, f"http://127.0.0.1:{bare.hear()['port']}"
        yield place


def _log(setting: Setting) -> Path:
    return setting.folder / "bare.log"


def _kind(contest: Contest, name: str) -> str:
    return contest.bare if name == BARE else contest.kind


def _row(contest: Contest, flows: dict[int, dict[str, Flow]], missing: Sequence[str]) -> Row:
    ratios, notes = [], []
    facts: dict[str, float] = {}
    for swarms, found in flows.items():
        size = contest.connections * contest.peers / swarms
        ours = found[OURS]
        if NPM in found:
            ratios.append(ours.rate / max(found[NPM].rate, 1e-9))
        said = ", ".join(f"{name} {flow.rate:,.0f}" for name, flow in found.items())
        notes.append(f"swarms of {size:.0f}: {said}; ours by the clock {_per_second(ours):,.0f}/s")
        for name, flow in found.items():
            facts[f"{name}_swarms_of_{size:.0f}".replace("-", "_")] = flow.rate
    slowest = min(found[OURS].rate for found in flows.values())
    score = min(ratios) if ratios else None
    said = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return Row.of(
        contest.what,
        BUDGET,
        f"{slowest:,.0f}" if score is None else f"{said} x",
        score,
        f"answers per core-second of the server, {contest.connections} connections, in turns",
        *notes,
        *missing,
        **facts,
    )


def _per_second(flow: Flow) -> float:
    return flow.received / max(flow.seconds, 1e-9)
