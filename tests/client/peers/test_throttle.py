"""No more bytes pass than the limit allows, and everybody has a turn."""

import asyncio
import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.peers.throttle import BURST_SECONDS, GRAIN, Bucket, Rates, Throttle


class Time:
    """Seconds that pass only when everybody waits: a clock and its ``sleep``."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, woken))
        await woken.wait()

    async def pass_until(self, end: float) -> None:
        """Wake sleepers in order until ``end``."""
        for _ in range(20):
            await asyncio.sleep(0)
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            for _ in range(20):
                await asyncio.sleep(0)
        self.now = end


@given(
    st.integers(1, 10**7),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, GRAIN)), min_size=1, max_size=60),
)
def test_what_is_due_never_exceeds_the_limit_and_a_burst(
    rate: int, events: list[tuple[float, int]]
) -> None:
    bucket, now, tickets, total = Bucket(rate, 0.0), 0.0, list[tuple[float, int]](), 0
    for gap, size in events:
        now += gap
        tickets.append((bucket.ticket(size, now), size))
        due = sum(size for ticket, size in tickets if bucket.wait(ticket, now) == 0)
        assert due <= rate * now + max(GRAIN, rate * BURST_SECONDS) + 1
        total += size
    # All of it is due after the time that the limit gives, and in order.
    waits = [bucket.wait(ticket, now) for ticket, _ in tickets]
    assert waits == sorted(waits)
    later = now + total / rate + 1e-6
    assert all(bucket.wait(ticket, later) == 0 for ticket, _ in tickets)


def test_without_a_limit_nothing_waits() -> None:
    bucket = Bucket(None, 0.0)
    assert bucket.wait(bucket.ticket(10**12, 0.0), 0.0) == 0
    bucket.limit(1000, 5.0)
    assert bucket.wait(bucket.ticket(GRAIN, 5.0), 5.0) > 0


def test_a_clock_that_goes_back_does_no_harm() -> None:
    bucket = Bucket(1000, 10.0)
    ticket = bucket.ticket(GRAIN + 1000, 10.0)
    first = bucket.wait(ticket, 10.0)
    assert bucket.wait(ticket, 3.0) == first


@pytest.mark.parametrize("rate", [0, -5])
def test_a_limit_is_above_zero(rate: int) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Rates(up=rate)


async def test_connections_share_a_limit_evenly_whatever_the_size_of_their_messages() -> None:
    time = Time()
    throttle = Throttle(Rates(up=100 * GRAIN), clock=time.clock, sleep=time.sleep)
    passed = {1: 0, 4: 0, 8: 0}

    async def send(blocks: int) -> None:
        while True:
            await throttle.up(blocks * GRAIN)
            passed[blocks] += blocks

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(blocks)) for blocks in passed]
        await time.pass_until(10.0)
        for task in tasks:
            task.cancel()
    assert 900 <= sum(passed.values()) <= 1050
    assert max(passed.values()) - min(passed.values()) <= 16


async def test_up_and_down_are_limited_apart_and_a_new_limit_reaches_who_waits() -> None:
    time = Time()
    throttle = Throttle(Rates(up=1), clock=time.clock, sleep=time.sleep)
    await throttle.down(10**9)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(throttle.up(100 * GRAIN))
        await time.pass_until(5.0)
        assert not waiting.done()
        throttle.rates = Rates(down=7)
        assert throttle.rates == Rates(down=7)
        await time.pass_until(7.0)
        assert waiting.done()
