"""UDP announces through the tracker, beside the trackers of others."""

from bench.row import Row, Setting
from bench.versus import BUDGET, Contest, compare

__all__ = ["BUDGET", "WHAT", "measure"]

WHAT = "UDP announces: our tracker beside others"
CONTEST = Contest(WHAT, "udp", 64, (20, 680))


def measure(setting: Setting, seconds: float | None = None) -> Row:
    """Connected once, then announces; up to 50 peers in each reply."""
    return compare(CONTEST, setting, seconds)
