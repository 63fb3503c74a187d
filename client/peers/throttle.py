"""Bandwidth limits: token buckets that all torrents of one process share.

A bucket is pure: `now` in, how long to wait out. Whoever wants to send takes a ticket for some
bytes; tickets are due in the order in which they were taken, at the pace of the limit.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from client.peers.layout import BLOCK_SIZE

BURST_SECONDS = 0.25
"""How much of a limit may be saved up while nothing is sent."""

GRAIN = BLOCK_SIZE
"""Bytes of one ticket. Everybody waits for one ticket at a time, so this is what turns are in."""

RECHECK = 1.0
"""Seconds after which a waiter looks again, because the limit may have changed."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits in bytes per second, over everything; ``None`` is no limit."""

    up: int | None = None
    down: int | None = None

    def __post_init__(self) -> None:
        for rate in (self.up, self.down):
            if rate is not None and rate <= 0:
                raise ValueError("a bandwidth limit is a number of bytes per second above 0")


class Bucket:
    """Bytes that trickle in at ``rate`` a second; ``None`` lets everything pass at once.

    Both counters only grow: ``sold`` bytes are promised to tickets, of which ``released`` may
    have been sent by now. A ticket is the value of ``sold`` after its own bytes.
    """

    __slots__ = ("_at", "_rate", "_released", "_sold")

    def __init__(self, rate: int | None, now: float) -> None:
        self._rate = rate
        self._at = now
        self._sold = 0.0
        self._released = 0.0
        self._advance(now)

    @property
    def rate(self) -> int | None:
        """Bytes per second."""
        return self._rate

    def limit(self, rate: int | None, now: float) -> None:
        """Change the rate; tickets keep their order."""
        self._advance(now)
        self._rate = rate

    def ticket(self, size: int, now: float) -> float:
        """A place in the queue for ``size`` bytes."""
        self._advance(now)
        self._sold += size
        return self._sold

    def wait(self, ticket: float, now: float) -> float:
        """Seconds until ``ticket`` is due; 0 when it is."""
        if self._rate is None:
            return 0.0
        self._advance(now)
        return max(0.0, (ticket - self._released) / self._rate)

    def _advance(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        if self._rate is None:
            self._released = self._sold
        else:
            # What nobody asked for is lost, but for a burst.
            most = self._sold + max(GRAIN, self._rate * BURST_SECONDS)
            self._released = min(self._released + self._rate * passed, most)


class Throttle:
    """The limits of one process. ``clock`` gives seconds; ``sleep`` waits for some of them."""

    def __init__(
        self,
        rates: Rates = Rates(),
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """The clock of the running event loop is used unless one is given."""
        self._clock = clock or asyncio.get_running_loop().time
        self._sleep = sleep
        now = self._clock()
        self._up = Bucket(rates.up, now)
        self._down = Bucket(rates.down, now)

    @property
    def rates(self) -> Rates:
        """The limits; they may be changed at any time."""
        return Rates(self._up.rate, self._down.rate)

    @rates.setter
    def rates(self, rates: Rates) -> None:
        now = self._clock()
        self._up.limit(rates.up, now)
        self._down.limit(rates.down, now)

    async def up(self, size: int) -> None:
        """Wait until ``size`` bytes may be sent. Call it from one task a connection."""
        await self._pass(self._up, size)

    async def down(self, size: int) -> None:
        """Wait until ``size`` bytes that came may count as read; the peer feels that we wait."""
        await self._pass(self._down, size)

    async def _pass(self, bucket: Bucket, size: int) -> None:
        if bucket.rate is None:
            return
        # Ticket by ticket: large messages of one connection do not hold up the others.
        for start in range(0, size, GRAIN):
            ticket = bucket.ticket(min(GRAIN, size - start), self._clock())
            while (left := bucket.wait(ticket, self._clock())) > 0:
                await self._sleep(min(left, RECHECK))
