"""WebTorrent signalling through the tracker, beside bittorrent-tracker."""

from bench.row import Row, Setting
from bench.versus import BUDGET, NPM, Contest, compare

__all__ = ["BUDGET", "WHAT", "measure"]

WHAT = "WebSocket messages out: our tracker beside others"
CONTEST = Contest(WHAT, "socket", 60, (5, 20), rivals=(NPM,), bare="echo", peers=1)


def measure(setting: Setting, seconds: float | None = None) -> Row:
    """Every announce carries five offers, every relayed offer is answered."""
    return compare(CONTEST, setting, seconds)
