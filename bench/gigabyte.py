"""What a blob of a gigabyte costs in memory, on either side and with either engine."""

from bench.exchange import exchange
from bench.row import Row, Setting
from client.peers.engine import AIORTC, LIBTORRENT

WHAT = "memory for a blob of 1 GB, seed or fetcher"
BUDGET = "64 MB"
LIMIT = 64_000_000
SIZE = 1_000_000_000
QUICK = 8_000_000


def measure(setting: Setting, size: int | None = None) -> Row:
    """Over WebRTC with libtorrent; with aiortc over TCP, which does not take minutes."""
    size = size or (QUICK if setting.quick else SIZE)
    notes, facts = [], {}
    worst = 0
    for engine, direct in ((LIBTORRENT, False), (AIORTC, True)):
        setting.say(f"{size / 1e6:.0f} MB with {engine}")
        found = exchange(size, setting.folder, engine, direct=direct)
        worst = max(worst, found.seed_memory, found.fetch_memory)
        notes.append(
            f"{engine} over {'TCP' if direct else 'WebRTC'}: {found.seed_memory / 1e6:.0f} MB more "
            f"at most in the seed, {found.fetch_memory / 1e6:.0f} in the fetcher "
            f"({found.rate:.1f} MB/s; {found.cpu})"
        )
        facts[f"{engine}_seed"] = float(found.seed_memory)
        facts[f"{engine}_fetch"] = float(found.fetch_memory)
    return Row.of(WHAT, BUDGET, f"{worst / 1e6:.0f} MB", LIMIT / max(worst, 1), *notes, **facts)
