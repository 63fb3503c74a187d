"""What a flood of fake peers costs the honest ones, and the tracker in memory."""

import time
from contextlib import ExitStack
from pathlib import Path

from bench.load import Plan
from bench.probe import Pace
from bench.processes import BenchError, Child, child
from bench.row import Row, Setting, milliseconds
from bench.tracker import tracking

WHAT = "honest announces under a tenfold flood, 99th percentile"
BUDGET = "2 x without, 100,000 peers in 100 MB"
BUDGET_RATIO = 2.0
PEERS = 100_000
BUDGET_BYTES = 100_000_000
RATE = 200.0
"""Honest announces a second, over HTTP; ten times as many are fake, over UDP."""

TIMES = 10
SECONDS = 4.0
ROUNDS = 3
QUICK_PEERS = 2_000
QUICK = 0.5
PATIENCE = 120.0


def measure(setting: Setting, seconds: float | None = None) -> Row:
    """First fill the tracker with fake peers, then measure in turns without and with a flood."""
    peers = QUICK_PEERS if setting.quick else PEERS
    seconds = seconds or (QUICK if setting.quick else SECONDS)
    rounds = 1 if setting.quick else ROUNDS
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking(setting.folder, "--mode", "open"))
        probe = stack.enter_context(child("bench.probe", log=setting.folder / "probe.log"))
        calm, flooded = _ask(probe, tracker.url, seconds / 4), list[float]()
        empty = tracker.child.memory()
        setting.say(f"announcing {peers:,} fake peers")
        filled = _fill(tracker.url, peers, setting.folder / "fill.log")
        each = (tracker.child.memory() - empty) / filled
        calm.clear()
        sent = 0
        for number in range(rounds):
            setting.say(f"round {number + 1} of {rounds}")
            calm += _ask(probe, tracker.url, seconds)
            log = setting.folder / f"flood-{number}.log"
            with child("bench.load", log=log) as load:
                load.tell(Plan(tracker.url, "fakes", 1, 1000, RATE * TIMES).line())
                began = _count(load)
                flooded += _ask(probe, tracker.url, seconds)
                sent += _count(load) - began
                load.tell("end")
    before, after = _percentile(calm), _percentile(flooded)
    size = each * PEERS
    ratio = after / before
    return Row.of(
        WHAT,
        BUDGET,
        f"{ratio:.2f} x, {size / 1e6:.0f} MB",
        min(BUDGET_RATIO / ratio, BUDGET_BYTES / size),
        f"{milliseconds(before)} without, {milliseconds(after)} with "
        f"{sent / seconds / rounds:,.0f} fake announces a second",
        f"median {milliseconds(_percentile(calm, 0.5))} and "
        f"{milliseconds(_percentile(flooded, 0.5))}, {len(calm) + len(flooded):,} announces",
        f"{filled:,} fake peers in the tracker all the while, {each:.0f} bytes each",
        seconds_calm=before,
        seconds_flooded=after,
        bytes_per_peer=each,
    )


def _fill(url: str, peers: int, log: Path) -> int:
    """Announce ``peers`` fake peers, or a few more; returns how many it were."""
    with child("bench.load", log=log) as load:
        load.tell(Plan(url, "fakes", 1, 20).line())
        deadline = time.monotonic() + PATIENCE
        while (count := _count(load, answered=True)) < peers:
            if time.monotonic() > deadline:
                raise BenchError(f"only {count:,} peers were taken in {PATIENCE:.0f} s")
            time.sleep(0.02)
        load.tell("end")
    return count


def _count(load: Child, *, answered: bool = False) -> int:
    load.tell("count")
    return int(load.hear()[answered])


def _ask(probe: Child, url: str, seconds: float) -> list[float]:
    probe.tell(Pace(url, RATE, seconds).line())
    return [float(each) for each in probe.hear()]


def _percentile(took: list[float], part: float = 0.99) -> float:
    return sorted(took)[int(part * (len(took) - 1))]
