"""HTTP announces through the tracker, beside the trackers of others."""

from bench.row import Row, Setting
from bench.versus import BUDGET, Contest, compare

__all__ = ["BUDGET", "WHAT", "measure"]

WHAT = "HTTP announces: our tracker beside others"
CONTEST = Contest(WHAT, "http", 64, (20, 680), bare="http")


def measure(setting: Setting, seconds: float | None = None) -> Row:
    """Keep-alive connections (opentracker closes after each reply), compact lists of up to 50."""
    return compare(CONTEST, setting, seconds)
