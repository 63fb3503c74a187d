"""Token buckets: what a network may do at once and for long, and how much is remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.announce.networks import network_of
from tracker.announce.pace import HurryError, Pace

ONE, OTHER = network_of(b"\x05\x01\x01\x01"), network_of(b"\x05\x01\x02\x01")
LOCAL = network_of(b"\x0a\x00\x00\x01")


def test_a_burst_is_taken_and_then_only_the_rate() -> None:
    pace = Pace(rate=2, burst=3)
    for _ in range(3):
        pace.take(ONE, 0.0)
    with pytest.raises(HurryError) as caught:
        pace.take(ONE, 0.0)
    assert caught.value.seconds == 1.0
    assert caught.value.hint
    pace.take(OTHER, 0.0)
    pace.take(ONE, 0.5)
    with pytest.raises(HurryError):
        pace.take(ONE, 0.9)
    assert pace.hurried == 2


def test_local_networks_are_never_sent_away() -> None:
    pace = Pace(rate=1, burst=1)
    for _ in range(100):
        pace.take(LOCAL, 0.0)
        assert pace.spend(LOCAL, 0.0, 50)


def test_what_is_not_paid_is_not_taken() -> None:
    pace = Pace(rate=1, burst=5)
    assert not pace.spend(ONE, 0.0, 6)
    assert pace.spend(ONE, 0.0, 5)
    assert not pace.spend(ONE, 0.0, 1)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_nobody_gets_more_than_burst_and_rate(waits: list[float]) -> None:
    pace, now, taken = Pace(rate=3, burst=4), 0.0, 0
    for wait in waits:
        now += wait
        taken += pace.spend(ONE, now, 1)
        assert taken <= 4 + 3 * now + 1e-6


@given(st.floats(0, 5))
def test_who_waits_as_long_as_told_is_let_in(start: float) -> None:
    pace = Pace(rate=3, burst=2)
    pace.spend(ONE, start, 2)
    with pytest.raises(HurryError) as caught:
        pace.take(ONE, start)
    pace.take(ONE, start + caught.value.seconds)


def test_the_table_is_bounded_and_forgets_what_is_full_again() -> None:
    pace = Pace(rate=1, burst=10, most=100)
    for number in range(1000):
        pace.take((1 << 24) + number, 0.0)
    assert len(pace) <= 100
    pace.prune(50.0)
    assert len(pace) == 0
