"""A blob from one peer to another over WebRTC, beside a bare data channel of the same library."""

from contextlib import ExitStack
from pathlib import Path

from bench.peer import Part
from bench.processes import BenchError, child
from bench.row import Row, Setting
from bench.tracker import tracking

WHAT = "blob transfer between two peers over WebRTC"
BUDGET = "-"
SIZE = 20_000_000
QUICK = 2_000_000
PATIENCE = 120.0


def measure(setting: Setting, size: int | None = None) -> Row:
    """Two processes each time; the bytes are random."""
    size = size or (QUICK if setting.quick else SIZE)
    setting.say(f"a blob of {size / 1e6:.0f} MB")
    whole = blob(size, setting.folder)
    setting.say(f"{size / 1e6:.0f} MB over a bare data channel")
    bare = size / channel(size, setting.folder) / 1e6
    rate = size / whole / 1e6
    return Row.of(
        WHAT,
        BUDGET,
        f"{rate:.1f} MB/s",
        None,
        f"{size / 1e6:.0f} MB in {whole:.2f} s from fetch to a checked file on disk, meeting by "
        "the tracker included",
        f"{rate / bare:.2f} of a bare aiortc channel in the same run ({bare:.1f} MB/s from the "
        "offer to the last byte, nothing checked or kept); both with uvloop",
        megabytes_per_second=rate,
        bare_megabytes_per_second=bare,
    )


def blob(size: int, folder: Path) -> float:
    """Seconds from the fetch until the blob is here, all of it from the peer."""
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking(folder))
        ends = []
        for role in ("seed", "fetch"):
            home = folder / role
            home.mkdir()
            end = stack.enter_context(child("bench.peer", log=home / f"{role}.log"))
            end.tell(Part(role, size, str(home), tracker.url).line())
            ends.append(end)
        seeder, fetcher = ends
        fetcher.tell(seeder.hear())
        seconds, from_peers = fetcher.hear(PATIENCE)
        if from_peers < size:
            raise BenchError(f"only {from_peers:,} bytes came over WebRTC")
        return float(seconds)


def channel(size: int, folder: Path) -> float:
    """Seconds from the offer to the last byte."""
    with ExitStack() as stack:
        ends = []
        for role in ("send", "receive"):
            end = stack.enter_context(child("bench.peer", log=folder / f"{role}.log"))
            end.tell(Part(role, size, str(folder)).line())
            ends.append(end)
        sender, receiver = ends
        receiver.tell(sender.hear())
        sender.tell(receiver.hear())
        return float(receiver.hear(PATIENCE))
