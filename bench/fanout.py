"""One seed to eight peers, beside one seed to one peer of the same engine."""

from bench.exchange import exchange
from bench.row import Row, Setting
from client.peers.engine import AIORTC, LIBTORRENT

WHAT = "one seed to eight peers"
BUDGET = "1.5 x one to one"
FACTOR = 1.5
PEERS = 8
SIZES = {AIORTC: 6_000_000, LIBTORRENT: 10_000_000}
QUICK = 1_000_000
UPLINKS = {AIORTC: 300_000, LIBTORRENT: 400_000}
"""Bytes per second that every peer may send. Nine processes share the cores here, and a swarm is
about uplinks: without a limit eight transfers cost eight times the CPU of one."""


def measure(setting: Setting, peers: int | None = None) -> Row:
    """A process for the seed and for each peer; all fetchers start together."""
    peers = peers or (2 if setting.quick else PEERS)
    notes, facts = [], {}
    worst = 0.0
    for engine, size in SIZES.items():
        size, up = (QUICK, None) if setting.quick else (size, UPLINKS[engine])
        setting.say(f"{engine}: one to one")
        one = exchange(size, setting.folder, engine, up=up)
        setting.say(f"{engine}: one to {peers}")
        many = exchange(size, setting.folder, engine, fetchers=peers, up=up)
        factor = many.seconds / one.seconds
        worst = max(worst, factor)
        pace = f"uplinks of {up / 1e6:.1f} MB/s" if up else "no limit"
        notes.append(
            f"{engine}: {size / 1e6:.0f} MB with {pace} to one in {one.seconds:.1f} s, to the last "
            f"of {peers} in {many.seconds:.1f} s ({factor:.2f} x); {many.cpu}"
        )
        facts[engine] = factor
    return Row.of(WHAT, BUDGET, f"{worst:.2f} x", FACTOR / worst, *notes, **facts)
