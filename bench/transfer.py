"""A blob between two peers on our own engine, beside a bare data channel of the same library."""

from contextlib import ExitStack
from pathlib import Path

from bench.exchange import exchange
from bench.peer import Part
from bench.processes import child
from bench.row import Row, Setting, spread
from client.peers.engine import AIORTC

WHAT = "blob between two peers over WebRTC, engine aiortc"
BUDGET = "0.9 of a bare channel"
SHARE = 0.9
SIZE = 100_000_000
QUICK = 2_000_000
PATIENCE = 300.0
ROUNDS = 2


def measure(setting: Setting, size: int | None = None) -> Row:
    """Two processes each time, by turns, because others use the machine too."""
    size = size or (QUICK if setting.quick else SIZE)
    found, bare = [], []
    for _ in range(1 if setting.quick else ROUNDS):
        setting.say(f"{size / 1e6:.0f} MB over a bare data channel")
        bare.append(size / channel(size, setting.folder) / 1e6)
        setting.say(f"a blob of {size / 1e6:.0f} MB")
        found.append(exchange(size, setting.folder, AIORTC))
    best = max(found, key=lambda each: each.rate)
    rate, beside = best.rate, spread(bare)[2]
    return Row.of(
        WHAT,
        BUDGET,
        f"{rate:.1f} MB/s",
        rate / beside / SHARE,
        f"{size / 1e6:.0f} MB in {best.seconds:.2f} s from fetch to a checked file, meeting "
        f"by the tracker included; {best.cpu}",
        f"{rate / beside:.2f} of a bare aiortc channel in the same run ({beside:.1f} MB/s from "
        "the offer to the last byte, nothing checked or kept); both with uvloop, the best of "
        f"{len(found)}",
        megabytes_per_second=rate,
        bare_megabytes_per_second=beside,
    )


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
