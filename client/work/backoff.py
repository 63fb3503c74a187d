"""How long to wait before the next try: exponential, jittered, bounded."""

from random import Random


class Backoff:
    """Delays in seconds. Jitter keeps a thousand volunteers from coming back at one moment."""

    def __init__(self, rng: Random, *, first: float = 0.5, most: float = 60.0) -> None:
        self._rng = rng
        self._first = first
        self._most = most
        self._failures = 0

    def reset(self) -> None:
        """It worked."""
        self._failures = 0

    def next(self) -> float:
        """It failed once more: wait so long, half to all of ``first`` x 2^failures."""
        bound = min(self._most, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return self._rng.uniform(bound / 2, bound)
