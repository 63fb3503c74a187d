"""Children: they answer, they are metered, and none is left."""

import time
from pathlib import Path

import pytest

from bench.processes import BenchError, child, until


def test_a_child_answers_is_metered_and_is_gone_afterwards(tmp_path: Path) -> None:
    with child("bench.bare", log=tmp_path / "bare.log") as process:
        assert process.hear()["port"] > 0
        assert process.memory() > 1 << 20
        assert process.cpu() > 0
        assert process.process.poll() is None
    assert process.process.returncode is not None


def test_a_child_that_fails_says_so_in_its_own_words(tmp_path: Path) -> None:
    with (
        child("bench.nothing", log=tmp_path / "nothing.log") as process,
        pytest.raises(BenchError, match=r"nothing ended: .*No module named"),
    ):
        process.hear()


def test_a_child_is_ended_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), child("bench.bare", log=tmp_path / "log") as process:
        process.hear()
        raise KeyboardInterrupt
    assert process.process.returncode is not None


def test_a_silent_child_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with child("bench.crowd", log=tmp_path / "crowd.log") as process:
        began = time.monotonic()
        with pytest.raises(BenchError, match="said nothing"):
            process.hear(0.05)
        assert time.monotonic() - began < 30


def test_waiting_for_a_file_ends_with_the_process(tmp_path: Path) -> None:
    with (
        child("bench.nothing", log=tmp_path / "nothing.log") as process,
        pytest.raises(BenchError, match="nothing ended"),
    ):
        until(tmp_path / "address", process)
