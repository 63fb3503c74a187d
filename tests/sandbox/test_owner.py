"""An owner's name tells whether the owner still lives."""

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sandbox.owner import is_dead, is_owner, name_self


def test_this_process_is_alive() -> None:
    name = name_self()
    assert is_owner(name)
    assert not is_dead(name)
    assert name_self() != name


def test_a_process_that_ended_is_dead() -> None:
    script = "from sandbox.owner import name_self; print(name_self())"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert is_dead(done.stdout.strip())


def test_a_pid_that_was_given_to_another_process_is_dead() -> None:
    namespace, pid, started, nonce = name_self().split("-")
    assert is_dead(f"{namespace}-{pid}-{int(started) + 1}-{nonce}")


def test_a_process_of_another_pid_namespace_is_not_judged() -> None:
    namespace, _, started, nonce = name_self().split("-")
    assert not is_dead(f"{int(namespace) + 1}-999999999-{started}-{nonce}")


@given(st.text())
def test_other_names_are_not_judged(name: str) -> None:
    assert is_owner(name) or not is_dead(name)
