"""The demo's processes: one tracker, and peers with a home folder each."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 30.0
STOP_SECONDS = 20.0


class DemoError(Exception):
    """The demo cannot go on."""


@dataclass
class Peer:
    """Someone with a key: a name for people, a home folder, perhaps a process."""

    name: str
    home: Path
    key: str = ""
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.log = self.home / "log"


class Swarm:
    """Starts roles as processes of their own and ends them all, whatever happens."""

    def __init__(self, folder: Path, engine: str, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._environment = os.environ | {"DOCKER_HOST": engine, "SWARM_HOME": str(folder)}
        self.url = ""

    def start_tracker(self) -> None:
        """Start a tracker on a free port and wait until it listens."""
        data = self._folder / "tracker"
        home = Peer("tracker", data)
        arguments = ["tracker", "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
        process = self._start(home, [*SWARM, *arguments])
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"http://\S+", home.log.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the tracker did not start:\n{home.log.read_text()}")
            time.sleep(0.05)
        self.url = found[0]
        self._environment["SWARM_TRACKER"] = self.url

    def peer(self, name: str) -> Peer:
        """A peer with a fresh key."""
        peer = Peer(name, self._folder / name)
        peer.key = self.run(peer, "key", "show").strip()
        return peer

    def volunteer(self, peer: Peer, *extra: str, program: list[str] | None = None) -> None:
        """Start ``peer`` as a volunteer with one core."""
        arguments = ["volunteer", "--cpus", "1", "--memory", "512MiB", *extra]
        self._start(peer, [*(program or SWARM), *arguments])

    def grant(self, peer: Peer, amount: int) -> None:
        """Mint credits for ``peer``."""
        data = str(self._folder / "tracker")
        self.run(peer, "tracker", "grant", peer.key, str(amount), "--data", data)

    def run(self, peer: Peer, *arguments: str) -> str:
        """Run a command as ``peer`` and return what it prints."""
        done = subprocess.run(
            [*SWARM, *arguments],
            env=self._environment | {"SWARM_HOME": str(peer.home)},
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        if done.returncode:
            raise DemoError(f"swarm {' '.join(arguments)}:\n{done.stderr}")
        return done.stdout

    def show(self, peer: Peer, *arguments: str) -> None:
        """Run a command as ``peer`` on the terminal."""
        process = subprocess.Popen(
            [*SWARM, *arguments], env=self._environment | {"SWARM_HOME": str(peer.home)}
        )
        with self._ending(process):
            if process.wait():
                raise DemoError(f"swarm {arguments[0]} ended with status {process.returncode}")

    def get(self, path: str) -> Any:
        """Ask the tracker's REST service."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=30) as response:
            return json.load(response)

    def units(self, job: str) -> Iterator[dict[str, Any]]:
        """Every unit of a job."""
        after = -1
        while after is not None:
            page = self.get(f"jobs/{job}/units?limit=1000&after={after}")
            yield from page["units"]
            after = page["next"]

    def _start(self, peer: Peer, command: list[str]) -> subprocess.Popen[bytes]:
        with peer.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                env=self._environment | {"SWARM_HOME": str(peer.home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stack.enter_context(self._ending(process))
        return process

    @contextmanager
    def _ending(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        try:
            yield
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, then make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    process.wait()


SWARM = [sys.executable, "-m", "openswarm"]
LIAR = [sys.executable, "-m", "examples.demo.liar"]
