"""Memory of the tracker for every volunteer that is connected and idle."""

import resource
from contextlib import ExitStack

from bench.crowd import Plan
from bench.processes import BenchError, child
from bench.row import Row, Setting
from bench.tracker import tracking

WHAT = "10,000 volunteers connected to one tracker process"
TARGET = 10_000
BUDGET = "1 GiB"
BUDGET_BYTES = 1 << 30
PEERS = 2_000
QUICK = 300
SPARE_FILES = 100
MIB = 1 << 20


def measure(setting: Setting, peers: int | None = None) -> Row:
    """Connect ``peers`` work sessions and see how much larger the tracker became."""
    peers = peers or (QUICK if setting.quick else PEERS)
    raise_file_limit(peers + SPARE_FILES)
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking(setting.folder))
        crowd = stack.enter_context(child("bench.crowd", log=setting.folder / "crowd.log"))
        # One session first: what is loaded once is not a volunteer's share.
        first = stack.enter_context(child("bench.crowd", log=setting.folder / "first.log"))
        first.tell(Plan(tracker.url, 1, 0, 1, 0).line())
        first.hear()
        empty, cpu = tracker.child.memory(), tracker.child.cpu()
        setting.say(f"connecting {peers:,} volunteers")
        crowd.tell(Plan(tracker.url, peers, 0, 1, 0).line())
        crowd.hear()
        full, cpu = tracker.child.memory(), tracker.child.cpu() - cpu
    each = (full - empty) / peers
    total = empty + each * TARGET
    return Row.of(
        WHAT,
        BUDGET,
        f"{total / MIB:,.0f} MiB",
        BUDGET_BYTES / total,
        f"projected from {peers:,}: {each / 1024:.1f} KiB a volunteer on top of "
        f"{empty / MIB:.0f} MiB; {1e6 * cpu / peers:.0f} us CPU a connection",
        bytes_per_volunteer=each,
        bytes_empty=float(empty),
    )


def raise_file_limit(files: int) -> None:
    """Let this process and its children have ``files`` files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        if hard != resource.RLIM_INFINITY and hard < files:
            raise BenchError(f"only {hard:,} files may be open here; {files:,} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
