"""``python -m bench [NAME...] [--quick] [--json]``: measure, then print one table."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from rich.console import Console
from rich.markup import escape

from bench.processes import BenchError
from bench.row import Row, Setting, table
from workunits.errors import SwarmError

CACHE = Path.home() / ".cache" / "openswarm"
NAMES = (
    "units",
    "memory",
    "warm",
    "cold",
    "makespan",
    "startup",
    "first",
    "announces",
    "udp",
    "flood",
    "signalling",
    "transfer",
    "native",
    "fanout",
    "gigabyte",
    "audit",
    "verify",
    "answers",
    "serving",
)
"""The benchmarks, in the order of the table: each is the module of its name."""


class Bench(Protocol):
    """What a benchmark's module has."""

    WHAT: str
    BUDGET: str

    @staticmethod
    def measure(setting: Setting) -> Row:
        """Measure it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; 0 whatever the numbers are."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small numbers: does it work?")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where engine and image are kept")
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.names if name not in NAMES]:
        parser.error(f"no benchmark is called {unknown[0]!r}")
    screen = Console(stderr=True)
    rows: list[Row] = []
    machine = load()
    began = time.monotonic()
    try:
        for name in args.names or NAMES:
            rows.append(run(name, args.cache, screen, quick=args.quick))  # noqa: PERF401 - kept
    except KeyboardInterrupt:
        screen.print("Interrupted; everything that was started has been stopped.")
        status = 130
    else:
        status = 0
        screen.print(f"measured in {time.monotonic() - began:.0f} s")
    show(rows, machine, as_json=args.json)
    return status


def run(name: str, cache: Path, screen: Console, *, quick: bool) -> Row:
    """One benchmark in a folder of its own; what it cannot measure becomes a row that says why."""
    bench = cast("Bench", import_module(f"bench.{name}"))
    cache.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # Not in /tmp, which may be memory: what is durable is to be on a disk.
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix="bench-") as folder,
        screen.status(f"{name}: starting") as line,
    ):

        def say(text: str) -> None:
            line.update(f"{name}: {escape(text)}")

        try:
            row = bench.measure(Setting(Path(folder), cache, say, quick))
        except (BenchError, SwarmError, OSError) as error:
            row = Row.skipped(bench.WHAT, bench.BUDGET, str(error))
    screen.print(f"{name}: {row.measured}, {row.verdict} ({time.monotonic() - began:.0f} s)")
    return row


def load() -> str:
    """How busy the machine is, which explains numbers that are worse than last time."""
    return f"{os.cpu_count()} cores, load average before the first one: {os.getloadavg()[0]:.1f}"


def show(rows: Sequence[Row], machine: str, *, as_json: bool) -> None:
    """Print ``rows``."""
    if as_json:
        print(json.dumps([asdict(row) | {"facts": dict(row.facts)} for row in rows], indent=2))
    else:
        # What goes into a file should not be folded to 80 columns.
        Console(width=None if sys.stdout.isatty() else 140).print(table(rows, machine))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
