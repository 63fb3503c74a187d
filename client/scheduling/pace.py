"""How much work a volunteer takes on: measured speed in, number of leases to hold out. Pure."""

import math
from dataclasses import dataclass

_WEIGHT = 0.2
_SHORTEST = 1e-4
_MOST_FETCH = 60.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """The scheduler's numbers; times in seconds."""

    slots: int = 1
    memory_bytes: int = 1 << 30
    buffer: float = 2.0
    """How much work to hold beyond what runs."""
    most_held: int = 2000
    fetches: int = 6
    window: int = 16
    """Leases per slot that are made ready in advance."""
    batch: int = 256
    batch_wait: float = 0.05
    warm_cells: int = 2
    """Idle cells per slot."""
    idle: float = 60.0
    """After how long an idle cell is closed."""
    idle_models: float = 600.0
    """The same for one of a model, unless its memory is wanted before."""
    models: str = ""
    """Why units of models are given back; empty if they are not."""
    backoff: float = 1.0
    backoff_most: float = 300.0
    strikes: int = 3
    """Failures in a row after which a job's leases are given back."""
    linger: float = 30.0
    """How long a drain waits, after the last progress, to be asked for results."""
    warm_bonus: float = 5.0
    """How much later a lease with a warm cell may be due and still go first."""


def averaged(mean: float | None, sample: float) -> float:
    """The exponentially weighted mean after one more sample."""
    return sample if mean is None else mean + _WEIGHT * (sample - mean)


class Pace:
    """Measured unit and fetch times, and the credit that follows from them."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._unit: float | None = None
        self._fetch = 0.0
        self._completed = 0
        self._told: int | None = None

    def ran(self, seconds: float) -> None:
        """A unit occupied a slot for so long."""
        self._unit = averaged(self._unit, seconds)
        self._completed += 1

    def fetched(self, seconds: float) -> None:
        """A blob took so long to come."""
        self._fetch = averaged(self._fetch, min(seconds, _MOST_FETCH))

    def target(self) -> int:
        """The most uncommitted leases worth holding."""
        tuning = self._tuning
        ahead = float(tuning.slots)
        if self._unit is not None:
            buffer = tuning.buffer + self._fetch
            ahead = max(ahead, tuning.slots * buffer / max(self._unit, _SHORTEST))
        # No more than twice what was ever finished: the first units of a sweep are often short.
        most = min(tuning.most_held, 2 * tuning.slots + 2 * self._completed)
        return min(most, tuning.slots + math.ceil(ahead))

    def tell(self, target: int, *, exact: bool = False) -> bool:
        """Whether ``target`` differs enough from what the tracker was told; if so, it is told."""
        told = self._told
        if told is not None and (target == 0) == (told == 0):
            slack = 0.0 if exact else 0.2
            if (1 - slack) * told <= target <= (1 + slack) * told:
                return False
        self._told = target
        return True

    def forget(self) -> None:
        """A new session: the tracker was told nothing."""
        self._told = None
