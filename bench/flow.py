"""Running a load against servers in other processes, in turns, and metering both."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.load import Plan
from bench.processes import Child, child

WARM_UP = 0.5


@dataclass(frozen=True, slots=True)
class Flow:
    """What went through in ``seconds``, for ``cpu`` seconds of the server."""

    sent: int = 0
    received: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Flow") -> "Flow":
        return Flow(
            self.sent + other.sent,
            self.received + other.received,
            self.seconds + other.seconds,
            self.cpu + other.cpu,
        )

    @property
    def both(self) -> int:
        """Messages in both directions."""
        return self.sent + self.received

    @property
    def rate(self) -> float:
        """Answers per core-second of the server."""
        return self.received / max(self.cpu, 1e-9)


def measured(server: Child, plan: Plan, seconds: float, log: Path) -> Flow:
    """Load ``server`` for ``seconds``, once the load has found its pace."""
    with child("bench.load", log=log) as load:
        load.tell(plan.line())
        load.tell("count")
        load.hear()
        time.sleep(WARM_UP)
        sent, received, cpu, began = *_count(load), server.cpu(), time.monotonic()
        time.sleep(seconds)
        later_sent, later_received = _count(load)
        cpu, taken = server.cpu() - cpu, time.monotonic() - began
        load.tell("end")
        return Flow(later_sent - sent, later_received - received, taken, cpu)


def in_turns(
    servers: Mapping[str, tuple[Child, Plan]], seconds: float, rounds: int, folder: Path
) -> dict[str, Flow]:
    """The sums of ``rounds`` rounds in which every server has a turn of ``seconds``, so that what
    else the machine does touches all of them."""
    flows = dict.fromkeys(servers, Flow())
    for number in range(rounds):
        for name, (server, plan) in servers.items():
            log = folder / f"load-{name}-{plan.kind}-{plan.swarms}-{number}.log"
            flows[name] += measured(server, plan, seconds, log)
    return flows


def _count(load: Child) -> tuple[int, int]:
    load.tell("count")
    sent, received = load.hear()
    return int(sent), int(received)
