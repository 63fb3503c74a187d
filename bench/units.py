"""Validated units per second through one tracker: durable, signed, every unit computed twice."""

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.crowd import Plan
from bench.processes import BenchError, Child, child
from bench.row import Row, Setting
from bench.tracker import POLL, tracking
from workunits.verification import Policy

WHAT = "validated units per second, one tracker"
BUDGET = "2,000/s"
BUDGET_RATE = 2000


@dataclass(frozen=True, slots=True)
class Load:
    """How many units, by how many simulated peers in how many processes, in which batches."""

    units: int
    volunteers: int
    validators: int
    hold: int
    processes: int = 2
    patience: float = 90.0


@dataclass(frozen=True, slots=True)
class Throughput:
    """What came out. CPU seconds: ``cpu`` the tracker's, ``crowd`` those of all peers."""

    load: Load
    seconds: float
    cpu: float
    crowd: float

    @property
    def rate(self) -> float:
        """Validated units per second."""
        return self.load.units / self.seconds

    @property
    def per_unit(self) -> float:
        """CPU seconds of the tracker for one unit."""
        return self.cpu / self.load.units

    def note(self) -> str:
        """One line for people."""
        load = self.load
        cores = self.cpu / self.seconds
        return (
            f"{load.volunteers} volunteers, {load.validators} validators, at most {load.hold} "
            f"leases each: {self.rate:,.0f}/s; {1e6 * self.per_unit:.0f} us of the tracker's CPU "
            f"a unit ({1 / self.per_unit:,.0f}/s a core, it had {cores:.2f} of one, "
            f"the crowd {self.crowd / self.seconds:.2f})"
        )


LOADS = (Load(20_000, 40, 20, 100), Load(8_000, 200, 100, 8), Load(6_000, 400, 200, 1))
QUICK = (Load(2_000, 20, 10, 100),)


def measure(setting: Setting, loads: tuple[Load, ...] | None = None) -> Row:
    """Run every load on a tracker of its own; the first one is what the budget is about."""
    loads = loads or (QUICK if setting.quick else LOADS)
    results = []
    for number, load in enumerate(loads):
        setting.say(f"{load.units:,} units, {load.hold} leases a peer")
        folder = setting.folder / str(number)
        folder.mkdir()
        results.append(run(load, folder))
    first = results[0]
    return Row.of(
        WHAT,
        BUDGET,
        f"{first.rate:,.0f}/s",
        first.rate / BUDGET_RATE,
        f"policy pair, results inline, every commit signed, SQLite synchronous=FULL, "
        f"{os.cpu_count()} cores for tracker and crowd",
        *(result.note() for result in results),
        units_per_second=first.rate,
        tracker_cpu_seconds_per_unit=first.per_unit,
    )


def run(load: Load, folder: Path) -> Throughput:
    """One job through a fresh tracker."""
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking(folder))
        crowds = []
        for number in range(load.processes):
            crowd = stack.enter_context(child("bench.crowd", log=folder / f"crowd-{number}.log"))
            crowds.append(crowd)
            plan = Plan(
                tracker.url,
                share(load.volunteers, load.processes, number),
                share(load.validators, load.processes, number),
                load.hold,
                load.units,
            )
            crowd.tell(plan.line())
        for crowd in crowds:
            crowd.hear()
        idle = sum(crowd.cpu() for crowd in crowds)
        cpu, began = tracker.child.cpu(), time.monotonic()
        job = tracker.submit(load.units, Policy.PAIR)
        seconds = finish(crowds, load) - began
        cpu = tracker.child.cpu() - cpu
        result = Throughput(load, seconds, cpu, sum(crowd.cpu() for crowd in crowds) - idle)
        # Every reveal is acknowledged, so every verdict is out and on disk.
        if (accepted := tracker.accepted(job)) != load.units:
            raise BenchError(f"{accepted:,} of {load.units:,} units were accepted")
        return result


def finish(crowds: list[Child], load: Load) -> float:
    """Wait until both results of every unit were taken; returns the moment (monotonic).

    The crowds are asked, not the tracker: a question costs it time that belongs to the units.
    """
    deadline = time.monotonic() + load.patience
    while True:
        revealed = 0
        for crowd in crowds:
            crowd.tell("count")
            answer = crowd.hear()
            revealed += answer["revealed"]
            if answer["failures"]:
                raise BenchError(f"the tracker complained: {answer['failures'][0]}")
        if revealed >= 2 * load.units:
            return time.monotonic()
        if time.monotonic() > deadline:
            raise BenchError(
                f"{revealed:,} of {2 * load.units:,} results came in {load.patience:.0f} s"
            )
        time.sleep(POLL)


def share(total: int, parts: int, number: int) -> int:
    """The size of one of ``parts`` nearly equal parts of ``total``."""
    return total // parts + (number < total % parts)
