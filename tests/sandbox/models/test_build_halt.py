"""Whoever builds an image, or waits for another who does, can be stopped."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sandbox import image, programs
from sandbox.models import build

WAIT = """
import sys
from pathlib import Path
from sandbox.models import build
with build._alone(Path(sys.argv[1]), print):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_who_waits_for_the_lock_of_another_says_so_and_can_be_stopped(tmp_path: Path) -> None:
    tar, halt, heard = tmp_path / "image.tar", threading.Event(), list[str]()

    def say(text: str) -> None:
        heard.append(text)
        halt.set()

    command = [sys.executable, "-c", WAIT, str(tar)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"mine\n"
        with programs.halting(halt), pytest.raises(programs.HaltedError), build._alone(tar, say):
            pytest.fail("two have the lock")
        assert heard == ["waiting for another process that builds image.tar"]
        other.stdin.close()
        assert other.wait(30) == 0
    with build._alone(tar, say):
        assert len(heard) == 1, "the lock is free at once"


def test_a_build_that_is_stopped_leaves_neither_folder_nor_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt, tar, bin_ = threading.Event(), tmp_path / "image.tar", tmp_path / "bin"
    bin_.mkdir()
    os.mkfifo(bin_ / "begun")
    for name in ("mmdebstrap", "unshare"):
        (bin_ / name).write_text(f"#!/bin/sh\necho >{bin_}/begun\nsleep 100\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_), prepend=":")

    def stop() -> None:
        (bin_ / "begun").read_text()
        halt.set()

    stopping = threading.Thread(target=stop, daemon=True)
    stopping.start()
    with programs.halting(halt), pytest.raises(programs.HaltedError), build._alone(tar, print):
        image.bootstrap((), tar, lambda name: True)
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "image.lock"}
    with build._alone(tar, pytest.fail):
        stopping.join(30)
