"""How often a network may announce: a token bucket for each, in a table of bounded size.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm).
Who comes too early is told when to come again; nobody is banned.
"""

from tracker.announce.networks import is_local
from workunits.errors import LimitError

RATE = 50.0
"""Announces a second that one network may make for long."""

BURST = 2_000.0
"""Announces that one network may make at once."""

MAX_BUCKETS = 65_536
_ROUNDING = 1e-6


class HurryError(LimitError):
    """Announced too often. ``seconds`` is how long to wait."""

    code = "hurry"

    def __init__(self, seconds: float) -> None:
        super().__init__("your network announces too often", hint=f"wait {seconds:.0f} s")
        self.seconds = seconds


class Pace:
    """Buckets by network. ``now`` is seconds on a clock that never goes back."""

    __slots__ = ("_burst", "_full", "_most", "_second", "hurried")

    def __init__(
        self, *, rate: float = RATE, burst: float = BURST, most: int = MAX_BUCKETS
    ) -> None:
        self._second = 1 / rate
        self._burst = burst / rate + _ROUNDING
        self._most = most
        self._full: dict[int, float] = {}
        self.hurried = 0
        """How often somebody was sent away."""

    def __len__(self) -> int:
        return len(self._full)

    def take(self, network: int, now: float) -> None:
        """Pay for one announce. Raises ``HurryError`` when the bucket is empty."""
        if not self.spend(network, now, 1):
            self.hurried += 1
            raise HurryError(max(1.0, self._full[network] - now - self._burst + self._second))

    def spend(self, network: int, now: float, tokens: int) -> bool:
        """Pay ``tokens`` if the bucket holds so many; local networks have endless ones."""
        full = self._full.get(network, now)
        after = (max(now, full)) + tokens * self._second
        if after - now > self._burst:
            return is_local(network)
        if full == now and len(self._full) >= self._most and network not in self._full:
            # The newest goes: a flood from ever new networks forgets itself first.
            self._full.popitem()
        self._full[network] = after
        return True

    def prune(self, now: float) -> None:
        """Forget buckets that are full again."""
        self._full = {network: full for network, full in self._full.items() if full > now}
