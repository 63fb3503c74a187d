"""WebTorrent signalling through the tracker, beside a WebSocket server that only echoes."""

from bench.flow import measured
from bench.load import Plan
from bench.processes import child
from bench.row import Row, Setting
from bench.tracker import tracking

WHAT = "WebSocket messages per core-second of the tracker"
BUDGET = "-"
SOCKETS = 60
SECONDS = 4.0
QUICK = 0.5


def measure(setting: Setting, seconds: float | None = None) -> Row:
    """Every announce carries an offer, every relayed offer is answered."""
    seconds = seconds or (QUICK if setting.quick else SECONDS)
    folder = setting.folder
    setting.say("signalling over WebSockets")
    with tracking(folder) as tracker:
        plan = Plan(tracker.url, "socket", SOCKETS)
        ours = measured(tracker.child, plan, seconds, folder / "load.log")
    with child("bench.bare", log=folder / "bare.log") as server:
        plan = Plan(f"http://127.0.0.1:{server.hear()['port']}", "echo", SOCKETS)
        bare = measured(server, plan, seconds, folder / "load-bare.log")
    rate, most = ours.both / ours.cpu, bare.both / bare.cpu
    return Row.of(
        WHAT,
        BUDGET,
        f"{rate:,.0f}",
        None,
        f"{ours.both / ours.seconds:,.0f}/s by the clock (in {ours.sent / ours.seconds:,.0f}, "
        f"out {ours.received / ours.seconds:,.0f}), {SOCKETS} sockets in 20 swarms",
        f"{rate / most:.2f} of a bare aiohttp echo in the same run ({most:,.0f})",
        per_core_second=rate,
        per_second=ours.both / ours.seconds,
        bare_per_core_second=most,
    )
