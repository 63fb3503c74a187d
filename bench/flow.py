"""Running a load against a server in another process, and metering both."""

import time
from dataclasses import dataclass
from pathlib import Path

from bench.load import Plan
from bench.processes import Child, child

WARM_UP = 0.5


@dataclass(frozen=True, slots=True)
class Flow:
    """What went through in ``seconds``, for ``cpu`` seconds of the server."""

    sent: int
    received: int
    seconds: float
    cpu: float

    @property
    def both(self) -> int:
        """Messages in both directions."""
        return self.sent + self.received


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
        return Flow(later_sent - sent, later_received - received, taken, max(cpu, 1e-9))


def _count(load: Child) -> tuple[int, int]:
    load.tell("count")
    sent, received = load.hear()
    return int(sent), int(received)
