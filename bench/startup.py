"""How long ``swarm --help`` takes, from nothing to the last line."""

import subprocess
import sys
import time
from pathlib import Path

from bench.processes import ROOT, BenchError
from bench.row import Row, Setting, milliseconds, spread

WHAT = "swarm --help"
BUDGET = "0.15 s"
BUDGET_SECONDS = 0.15
RUNS = 15
QUICK = 3


def measure(setting: Setting, runs: int | None = None) -> Row:
    """Median wall time over ``runs``, in turns with a Python that does nothing."""
    runs = runs or (QUICK if setting.quick else RUNS)
    script = Path(sys.executable).parent / "swarm"
    swarm = [str(script)] if script.exists() else [sys.executable, "-m", "openswarm.cli"]
    timed([*swarm, "--help"])
    pairs = [(timed([*swarm, "--help"]), timed([sys.executable, "-c", ""])) for _ in range(runs)]
    low, middle, high = spread(full for full, _ in pairs)
    bare = spread(empty for _, empty in pairs)[1]
    return Row.of(
        WHAT,
        BUDGET,
        f"{middle:.3f} s",
        BUDGET_SECONDS / middle,
        f"median of {runs} ({low:.3f} to {high:.3f} s); `python -c ''` takes {milliseconds(bare)}",
        seconds=middle,
        seconds_bare_python=bare,
    )


def timed(command: list[str]) -> float:
    """Wall seconds of ``command``."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise BenchError(f"{command[0]} failed: {lines[-1][:200] if lines else done.returncode}")
    return seconds
