"""What a unit costs in a warm container beyond starting its process."""

import asyncio
import time
from dataclasses import dataclass

from bench.cell import LIMITS, TASK, TRIVIAL, Place, place
from bench.processes import BenchError
from bench.row import Row, Setting, milliseconds, spread
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.runner import Cell, Ending, Task

WHAT = "warm sandbox overhead per unit"
BUDGET = "2 ms"
BUDGET_SECONDS = 0.002
NATIVE = 200
NATIVE_LOOP = """
import os, time
command = {command!r}
for _ in range({runs}):
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        os.execv("/bin/" + command[0], command)
    os.waitpid(pid, 0)
    print(time.perf_counter() - began)
"""
"""The same command, forked and waited for by a small Python in the same container."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """In each round ``units`` units, then as many with an output, then the native loop."""

    rounds: int
    units: int


FULL = Rounds(5, 100)
QUICK = Rounds(1, 30)


def measure(setting: Setting, rounds: Rounds | None = None) -> Row:
    """Median wall time of a trivial unit minus that of its bare fork, exec and wait."""
    rounds = rounds or (QUICK if setting.quick else FULL)
    with place(setting) as found:
        setting.say("running units in a warm container")
        return asyncio.run(_measure(setting, found, rounds))


async def _measure(setting: Setting, found: Place, rounds: Rounds) -> Row:
    sandbox = DockerSandbox(DockerSettings(found.url, setting.folder / "work"))
    units: list[float] = []
    written: list[float] = []
    native: list[float] = []
    writing = Task(("sh", "-c", "echo result"), (), ("out",), "out")
    loop = NATIVE_LOOP.format(command=list(TRIVIAL), runs=NATIVE)
    looping = Task(("python3", "-I", "-S", "-c", loop), (), ("times",), "times")
    into = setting.folder / "into"
    try:
        cell = await sandbox.open(found.program)
        await _unit(cell, TASK, setting)
        for _ in range(rounds.rounds):
            units += [await _unit(cell, TASK, setting) for _ in range(rounds.units)]
            written += [await _unit(cell, writing, setting) for _ in range(rounds.units)]
            await _unit(cell, looping, setting, keep=True)
            native += [float(line) for line in (into / "times").read_text().split()]
            (into / "times").unlink()
    finally:
        await sandbox.close()
    unit, output, bare = (spread(samples)[1] for samples in (units, written, native))
    return Row.of(
        WHAT,
        BUDGET,
        milliseconds(unit - bare),
        BUDGET_SECONDS / max(unit - bare, 1e-6),
        f"`{' '.join(TRIVIAL)}` one after the other, median of {len(units)}: "
        f"{milliseconds(unit)} each, reset included",
        f"subtracted: {milliseconds(bare)}, median of {len(native)} fork + execv + waitpid of it "
        "by a python3 -I -S as a unit of the same container",
        f"with an output file of 7 bytes: {milliseconds(output)}",
        f"Docker {found.version}; cell limits {LIMITS.memory_bytes >> 20} MiB, one core",
        seconds=unit - bare,
        seconds_unit=unit,
        seconds_native=bare,
        seconds_with_output=output,
    )


async def _unit(cell: Cell, task: Task, setting: Setting, *, keep: bool = False) -> float:
    into = setting.folder / "into"
    into.mkdir(exist_ok=True)
    began = time.perf_counter()
    outcome = await cell.run(task, into)
    seconds = time.perf_counter() - began
    if outcome.ending is not Ending.EXITED or outcome.exit_status:
        last = outcome.stderr.decode(errors="replace").strip()[-200:]
        raise BenchError(f"a unit ended with {outcome.ending} {outcome.exit_status}: {last}")
    if not keep:
        for path in outcome.outputs.values():
            path.unlink()
    return seconds
