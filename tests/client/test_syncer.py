"""What is submitted runs in another thread, soon, and once for all who asked meanwhile."""

import logging
from threading import Event, current_thread

import pytest

from client.syncer import Syncer


def test_works_submitted_while_one_runs_share_the_next_round() -> None:
    syncer, started, go = Syncer(pause=0), Event(), Event()
    runs: list[str] = []

    def work() -> None:
        runs.append(current_thread().name)
        started.set()
        assert go.wait(30)

    assert syncer.submit(work)
    assert started.wait(30)
    for _ in range(100):
        syncer.submit(work)
    go.set()
    syncer.wait(work)
    assert runs == ["syncer"] * 2
    syncer.close()


def test_whoever_waits_does_not_wait_for_the_pause() -> None:
    syncer = Syncer(pause=3600)
    ran: list[int] = []

    def work() -> None:
        ran.append(1)

    for expected in (1, 2, 3):
        syncer.submit(work)
        syncer.wait(work)
        assert len(ran) == expected
    syncer.submit(work)
    syncer.close()
    assert len(ran) == 4


def test_a_closed_one_takes_nothing() -> None:
    for used in (True, False):
        syncer = Syncer(pause=0)
        if used:
            syncer.submit(lambda: None)
        syncer.close()
        syncer.close()
        assert not syncer.submit(lambda: None)
        syncer.wait(print)


def test_a_work_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    syncer, done = Syncer(pause=0), Event()

    def broken() -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR):
        syncer.submit(broken)
        syncer.submit(done.set)
        assert done.wait(30)
        syncer.close()
    assert "broken" in caplog.text
