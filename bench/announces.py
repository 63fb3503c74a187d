"""HTTP announces through the tracker, beside a server of the same kind that does nothing."""

from bench.flow import measured
from bench.load import Plan
from bench.processes import child
from bench.row import Row, Setting
from bench.tracker import tracking

WHAT = "HTTP announces per core-second of the tracker"
BUDGET = "-"
CONNECTIONS = 64
SECONDS = 4.0
QUICK = 0.5


def measure(setting: Setting, seconds: float | None = None) -> Row:
    """Keep-alive connections, 20 swarms, compact peer lists."""
    seconds = seconds or (QUICK if setting.quick else SECONDS)
    folder = setting.folder
    setting.say("announcing over HTTP")
    with tracking(folder) as tracker:
        plan = Plan(tracker.url, "http", CONNECTIONS)
        ours = measured(tracker.child, plan, seconds, folder / "load.log")
    with child("bench.bare", log=folder / "bare.log") as server:
        plan = Plan(f"http://127.0.0.1:{server.hear()['port']}", "http", CONNECTIONS)
        bare = measured(server, plan, seconds, folder / "load-bare.log")
    rate, most = ours.received / ours.cpu, bare.received / bare.cpu
    return Row.of(
        WHAT,
        BUDGET,
        f"{rate:,.0f}",
        None,
        f"{ours.received / ours.seconds:,.0f}/s by the clock, {CONNECTIONS} keep-alive connections",
        f"{rate / most:.2f} of a bare aiohttp server in the same run ({most:,.0f})",
        per_core_second=rate,
        per_second=ours.received / ours.seconds,
        bare_per_core_second=most,
    )
