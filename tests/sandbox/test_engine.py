"""Finding an engine, and sharing a private one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.engine import Place, _processes, candidates, engine, find, ping, private_engine
from workunits.errors import UnavailableError

ROOT = Path(__file__).parents[2]
needs_dockerd = pytest.mark.usefixtures("dockerd")

USER = """
import sys
from pathlib import Path
from sandbox.engine import private_engine
with private_engine(Path(sys.argv[1]), print) as engine:
    print("up", flush=True)
    sys.stdin.read()
"""


def test_an_address_in_the_environment_is_the_only_candidate(tmp_path: Path) -> None:
    assert candidates({"DOCKER_HOST": "unix:///x", "HOME": "/h"}, tmp_path) == ("unix:///x",)


def test_the_machines_own_engine_comes_before_a_private_one(tmp_path: Path) -> None:
    found = candidates({"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/h"}, tmp_path)
    assert found[0] == "unix:///var/run/docker.sock"
    assert found[1] == "unix:///run/user/7/docker.sock"
    assert found[-1] == Place(tmp_path).url


def test_socket_paths_stay_short_however_deep_the_data_is() -> None:
    assert len(str(Place(Path("/" + "deep/" * 100)).socket)) < 60


def test_nothing_answers_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file.sock").write_text("not a socket")
    assert ping(f"unix://{tmp_path}/none.sock") is None
    assert ping(f"unix://{tmp_path}/file.sock") is None
    assert find({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}) is None


def test_a_given_address_that_is_dead_is_an_error_with_a_hint(tmp_path: Path) -> None:
    environment = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    with (
        pytest.raises(UnavailableError) as caught,
        engine(tmp_path, print, environment=environment),
    ):
        pass
    assert "DOCKER_HOST" in caught.value.hint


@needs_dockerd
@pytest.mark.engine
def test_a_private_engine_is_announced_and_leaves_nothing(tmp_path: Path) -> None:
    heard: list[str] = []
    with private_engine(tmp_path, heard.append) as own:
        assert own.private
        assert ping(own.url) is not None
        with private_engine(tmp_path, heard.append) as same:
            assert same == own
        assert ping(own.url) is not None
        assert len(_processes(Place(tmp_path))) >= 2
    assert len(heard) == 1
    assert str(tmp_path) in heard[0]
    assert_gone(Place(tmp_path))


@needs_dockerd
@pytest.mark.engine
def test_the_last_process_out_stops_the_engine(tmp_path: Path) -> None:
    users = [
        subprocess.Popen(
            [sys.executable, "-c", USER, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    started = 0
    for user in users:
        assert user.stdout is not None
        line = user.stdout.readline()
        if "starting" in line:
            started += 1
            line = user.stdout.readline()
        assert line == "up\n"
    assert started == 1
    place = Place(tmp_path)
    # One leaves in order, one is killed; the third still has its engine.
    users[0].communicate("")
    users[1].kill()
    users[1].communicate()
    assert ping(place.url) is not None
    users[2].communicate("")
    assert_gone(place)


@needs_dockerd
@pytest.mark.engine
def test_stale_files_and_a_dead_engines_remains_are_no_obstacle(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run.mkdir(parents=True)
    place.socket.write_text("")
    place.pid_file.write_text(str(os.getpid()))
    with private_engine(tmp_path, print) as own:
        assert ping(own.url) is not None
        pid = int(place.pid_file.read_text())
        os.kill(pid, signal.SIGKILL)
        # Its containerd lives on until the next start or stop.
        with private_engine(tmp_path, print) as again:
            assert ping(again.url) is not None
            assert int(place.pid_file.read_text()) != pid
    assert_gone(place)


@needs_dockerd
@pytest.mark.engine
def test_an_engine_that_cannot_start_says_where_to_read_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "dockerd"
    fake.write_text("#!/bin/sh\necho cannot start today >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with (
        pytest.raises(UnavailableError, match="cannot start today") as caught,
        private_engine(tmp_path / "data", print),
    ):
        pass
    assert "dockerd.log" in caught.value.hint


def assert_gone(place: Place) -> None:
    assert ping(place.url) is None
    assert _processes(place) == []
    assert not place.run.exists()
    mounts = Path("/proc/self/mounts").read_text()
    assert str(place.data) not in mounts
