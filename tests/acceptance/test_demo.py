"""``make demo`` is interrupted: nothing stays behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.engine import Engine
from tests.acceptance.conftest import containers

ROOT = Path(__file__).parents[2]


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes whose environment or arguments name ``folder``."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words:
            found.append((process / "cmdline").read_text())
    return found


@pytest.fixture
def heeded_ctrl_c() -> None:
    """A shell makes programs in the background deaf to Ctrl-C, and the demo would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.usefixtures("heeded_ctrl_c")
def test_ctrl_c_leaves_no_process_and_no_container(
    docker_engine: Engine, runtime_image: str, tmp_path: Path
) -> None:
    folder = tmp_path / "demo-folder"
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "examples.demo", "mersenne", "--folder", str(folder)],
        cwd=ROOT,
        env=os.environ | {"DOCKER_HOST": docker_engine.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout
    assert containers(docker_engine, folder) == []
    for line in demo.stdout:
        if "settled" in line:
            break
    assert containers(docker_engine, folder)
    demo.send_signal(signal.SIGINT)
    with demo.stdout:
        rest = demo.stdout.read()
    assert demo.wait() == 130
    assert "Interrupted" in rest
    assert processes_of(folder) == []
    assert containers(docker_engine, folder) == []
