"""Two processes never hold a lock at once, and one that is killed holds none."""

import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.locks import Lock

WAITS_SECONDS = 0.2
"""Who has not got a lock after this time waits for it."""

HOLD = """
import sys
from pathlib import Path
from sandbox.locks import Lock
lock = Lock(Path(sys.argv[1]))
lock.take()
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.lock"


def test_one_process_at_a_time_holds_a_lock_alone(path: Path) -> None:
    with Lock(path) as one, Lock(path) as two:
        assert one.try_take()
        assert not two.try_take()
        one.close()
        assert two.try_take()


def test_many_share_a_lock_and_only_the_last_can_take_it(path: Path) -> None:
    with Lock(path) as one, Lock(path) as two, Lock(path) as three:
        one.share()
        two.share()
        assert not three.try_take()
        assert not two.try_take()
        two.close()
        assert one.try_take()
        assert not three.try_take()


@pytest.mark.parametrize("hold", [Lock.take, Lock.share], ids=["take", "share"])
def test_who_cannot_have_a_lock_waits_for_it(path: Path, hold: Callable[[Lock], None]) -> None:
    with Lock(path) as one, Lock(path) as two:
        one.take()
        waiting = threading.Thread(target=hold, args=(two,), daemon=True)
        waiting.start()
        waiting.join(WAITS_SECONDS)
        assert waiting.is_alive()
        one.close()
        waiting.join(30)
        assert not waiting.is_alive()
        with Lock(path) as three:
            assert not three.try_take()


def test_a_process_that_is_killed_holds_no_lock(path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(path)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
        Lock(path) as lock,
    ):
        assert other.stdout
        assert other.stdout.readline() == b"mine\n"
        assert not lock.try_take()
        other.kill()
        other.wait(30)
        assert lock.try_take()


def test_a_program_that_outlives_its_parent_does_not_keep_its_lock(path: Path) -> None:
    with Lock(path) as lock:
        lock.take()
        command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
        ) as other:
            assert other.stdout
            assert other.stdout.readline() == b"\n"
            lock.close()
            with Lock(path) as again:
                assert again.try_take()


def test_a_lock_is_let_go_by_an_error_and_its_file_stays(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Lock(path) as lock:
        lock.take()
        _ = 1 / 0
    assert path.exists()
    with Lock(path) as again:
        assert again.try_take()


def test_nobody_else_can_open_and_so_hold_a_lock(path: Path) -> None:
    with Lock(path):
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def test_closing_twice_closes_nothing_of_others(path: Path) -> None:
    lock = Lock(path)
    lock.close()
    with path.open("rb") as file:  # gets the number that the lock had
        lock.close()
        assert file.read() == b""
