"""What people see while content moves: a bar on a terminal, lines in a log, nothing in scripts."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from client import terminal
from client.commands.gauges import PLAIN_SECONDS, Pace, gauge, hourglass, lamp
from client.commands.invocation import Invocation
from client.config import Config
from client.peers.stats import SwarmStats

MIB = 1 << 20


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[True, False])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What stands on a terminal, or in a log."""
    out = StringIO()
    console = Console(file=out, force_terminal=request.param, width=100)
    monkeypatch.setattr(terminal, "console", lambda: console)
    monkeypatch.setattr(terminal, "note", lambda text: print(text, file=out))
    yield out


def call(*, json: bool = False) -> Invocation:
    config = Config.make(home=Path("/nowhere"), environment={})
    return Invocation(config, json)


def stats(sent: int, *, online: bool = True) -> SwarmStats:
    return SwarmStats(0, 0, sent, 2, online, ())


def test_a_rate_is_that_of_the_last_seconds(clock: Clock) -> None:
    pace = Pace(clock)
    assert pace.rate(0) == 0
    for second in range(1, 31):
        clock.now += 1
        rate = pace.rate(MIB * second if second <= 15 else 15 * MIB)
        assert rate == pytest.approx(MIB) if second <= 15 else rate < MIB
    assert rate == 0


def test_how_far_it_is_can_be_seen(screen: StringIO, clock: Clock) -> None:
    with gauge(call(), "model.bin", clock) as show:
        show(0, 0, "0 peers")
        for second in range(1, 13):
            clock.now += 1
            show(second * MIB, 20 * MIB, "3 peers")
    said = screen.getvalue()
    assert "model.bin" in said and "3 peers" in said
    assert "1.0 MiB/s" in said
    if "\x1b" not in said:
        assert said.splitlines() == ["model.bin: 50 % of 20.0 MiB, 1.0 MiB/s, 3 peers"]
        assert PLAIN_SECONDS == 10


def test_what_is_given_can_be_seen_on_a_terminal(screen: StringIO, clock: Clock) -> None:
    with lamp(call(), clock) as show:
        show(stats(0))
        clock.now += 2
        show(stats(4 * MIB, online=False))
    said = screen.getvalue()
    if "\x1b" in said:
        assert "2 peers, 4.0 MiB sent, 2.0 MiB/s" in said
        assert "the tracker is away" in said
    else:
        assert said == ""


def test_waiting_can_be_seen_on_a_terminal_until_it_is_over(screen: StringIO, clock: Clock) -> None:
    with hourglass(call(), "waiting for a volunteer", clock) as over:
        clock.now += 12
        over()
        said = screen.getvalue()
        over()
        clock.now += 30
    assert screen.getvalue() == said
    if "\x1b" in said:
        assert "waiting for a volunteer ... 12 s" in said
        assert said.endswith("\x1b[1A\x1b[2K"), "the line is still there"
    else:
        assert said == ""


def test_scripts_see_nothing(screen: StringIO) -> None:
    with gauge(call(json=True), "x") as show:
        show(1, 2, "")
    with lamp(call(json=True)) as light:
        light(stats(1))
    with hourglass(call(json=True), "x"):
        pass
    assert screen.getvalue() == ""
