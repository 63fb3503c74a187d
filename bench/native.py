"""A blob between two peers on the libtorrent engine, beside libtorrent alone."""

from bench.exchange import exchange
from bench.row import Row, Setting
from client.peers.engine import LIBTORRENT

WHAT = "blob between two peers over WebRTC, engine libtorrent"
BUDGET = "0.9 of libtorrent alone"
SHARE = 0.9
SIZE = 100_000_000
QUICK = 4_000_000
ROUNDS = 3


def measure(setting: Setting, size: int | None = None) -> Row:
    """Two processes each time, by turns, because others use the machine too."""
    size = size or (QUICK if setting.quick else SIZE)
    ours, alone = [], []
    for _ in range(1 if setting.quick else ROUNDS):
        setting.say(f"{size / 1e6:.0f} MB between bare sessions")
        alone.append(exchange(size, setting.folder, LIBTORRENT, bare=True))
        setting.say(f"a blob of {size / 1e6:.0f} MB")
        ours.append(exchange(size, setting.folder, LIBTORRENT))
    best = max(ours, key=lambda each: each.rate)
    beside = max(alone, key=lambda each: each.rate)
    return Row.of(
        WHAT,
        BUDGET,
        f"{best.rate:.1f} MB/s",
        best.rate / beside.rate / SHARE,
        f"{size / 1e6:.0f} MB in {best.seconds:.2f} s from fetch to a file that is checked and "
        f"synced, meeting by the tracker included; {best.cpu}",
        f"{best.rate / beside.rate:.2f} of two sessions of libtorrent in the same run "
        f"({beside.rate:.1f} MB/s from a magnet link to its last piece, not synced; {beside.cpu}); "
        f"the best of {len(ours)}",
        megabytes_per_second=best.rate,
        bare_megabytes_per_second=beside.rate,
    )
