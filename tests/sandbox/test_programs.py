"""Programs of the system end with us, and with all that they started."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sandbox import programs

PARENT = """
import sys
from sandbox import programs
import os
programs.run(["sh", "-c", sys.argv[1]], os.environ, finish=sys.argv[2] == "finish")
"""


def test_output_and_status_come_back() -> None:
    done = programs.run(["sh", "-c", "echo out; echo oops >&2; exit 3"], os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"oops\n")


def interrupted(script: str, how: str, ready: Path) -> int:
    """Run a script below a process that gets SIGINT once ``ready`` exists; its exit status."""
    # A shell makes programs in the background deaf to Ctrl-C, and they would inherit it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, script, how], stderr=subprocess.DEVNULL
        )
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    return process.wait(30)


def test_an_interrupt_ends_the_program_and_its_children_and_lets_it_tidy_up(
    tmp_path: Path,
) -> None:
    ready, tidied, child = tmp_path / "ready", tmp_path / "tidied", tmp_path / "child"
    script = f"trap 'touch {tidied}; exit' TERM; sleep 100 & echo $! >{child}; touch {ready}; wait"
    assert interrupted(script, "end", ready) != 0
    assert tidied.exists()
    assert is_over(int(child.read_text()))


def test_what_must_not_be_done_by_half_is_waited_for(tmp_path: Path) -> None:
    ready, finished = tmp_path / "ready", tmp_path / "finished"
    assert interrupted(f"touch {ready}; sleep 0.5; touch {finished}", "finish", ready) != 0
    assert finished.exists()


async def test_who_sets_the_halt_stops_a_program_that_a_thread_runs(tmp_path: Path) -> None:
    halt, ready, child = threading.Event(), tmp_path / "ready", tmp_path / "child"
    script = f"trap 'wait; exit' TERM; sleep 100 & echo $! >{child}; touch {ready}; wait"
    with programs.halting(halt):
        running = asyncio.to_thread(programs.run, ["sh", "-c", script], os.environ)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(_set_once, ready, halt))
            with pytest.raises(programs.HaltedError):
                await running
    assert is_over(int(child.read_text()))


async def test_what_runs_in_a_thread_stops_when_nobody_waits_for_it_any_more(
    tmp_path: Path,
) -> None:
    ready, child, over = tmp_path / "ready", tmp_path / "child", threading.Event()

    def work() -> None:
        try:
            programs.run(["sh", "-c", f"echo $$ >{child}; touch {ready}; sleep 100"], os.environ)
        finally:
            over.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(programs.in_thread(work))
        await asyncio.to_thread(_set_once, ready, threading.Event())
        running.cancel()
        assert await asyncio.to_thread(over.wait, 20)
    assert is_over(int(child.read_text()))


async def test_what_a_thread_finds_or_raises_comes_back() -> None:
    assert await programs.in_thread(divmod, 7, 3) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        await programs.in_thread(divmod, 7, 0)


def test_what_must_not_be_done_by_half_heeds_no_halt(tmp_path: Path) -> None:
    halt = threading.Event()
    halt.set()
    with programs.halting(halt):
        done = programs.run(["sh", "-c", "echo out"], os.environ, finish=True)
        with pytest.raises(programs.HaltedError):
            programs.run(["sleep", "100"], os.environ)
    assert done.stdout == b"out\n"
    programs.heed()


def is_over(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _set_once(ready: Path, halt: threading.Event) -> None:
    deadline = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    halt.set()


def test_a_child_in_a_group_of_its_own_that_will_not_end_is_killed(tmp_path: Path) -> None:
    ready, child = tmp_path / "ready", tmp_path / "child"
    deaf = f"import os; os.setpgid(0, 0); open({str(ready)!r}, 'w'); import time; time.sleep(100)"
    script = f"trap '' TERM; {sys.executable} -c \"{deaf}\" & echo $! >{child}; wait; wait"
    since = time.monotonic()
    assert interrupted(script, "end", ready) != 0
    assert time.monotonic() - since < 20
    assert is_over(int(child.read_text()))
