"""The demo's processes: one tracker, and peers with a home folder each."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
STOPPING = ((signal.SIGTERM, 3.0), (signal.SIGTERM, 20.0), (signal.SIGKILL, 0.0))
"""What a process is told in turn, and the seconds that it gets: a volunteer that is told twice
does not finish its unit first."""


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

    def moved(self) -> dict[str, int]:
        """Bytes of files by way, as a volunteer that has ended says; empty for who is none."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        for line in reversed(lines):
            if line.startswith('{"event": "Ended"'):
                said: dict[str, int] = json.loads(line)["bytes"]
                return said
        return {}


class Swarm:
    """Starts roles as processes of their own and ends them all, whatever happens."""

    def __init__(self, folder: Path, engine: str, cache: Path, stack: ExitStack) -> None:
        stack.callback(self.stop_all)
        self._environment = os.environ | {"DOCKER_HOST": engine, "SWARM_CACHE": str(cache)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.folder = folder
        self.url = ""

    def start_tracker(
        self, *options: str, listen: str = "127.0.0.1:0", program: list[str] | None = None
    ) -> None:
        """Start a tracker, by default on a free port, and wait until it listens."""
        data = self.folder / "tracker"
        home = Peer("tracker", data)
        arguments = ["tracker", "serve", "--data", str(data), "--listen", listen, *options]
        process = self._start(home, [*(program or SWARM), *arguments])
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"http://\S+", home.log.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the tracker did not start:\n{home.log.read_text()}")
            time.sleep(0.05)
        self.url = found[0]
        self._environment["SWARM_TRACKER"] = self.url

    def peer(self, name: str) -> Peer:
        """A peer with a fresh key."""
        peer = Peer(name, self.folder / name)
        peer.key = self.run(peer, "key", "show").strip()
        return peer

    def volunteer(
        self,
        peer: Peer,
        *options: str,
        program: list[str] | None = None,
        extra: dict[str, str] | None = None,
    ) -> None:
        """Start ``peer`` as a volunteer with one core."""
        arguments = ["volunteer", "--cpus", "1", "--memory", "512MiB", "--json", *options]
        self._start(peer, [*(program or SWARM), *arguments], extra)

    def background(
        self,
        peer: Peer,
        *arguments: str,
        program: list[str] | None = None,
        extra: dict[str, str] | None = None,
    ) -> None:
        """Run a command as ``peer`` until everything ends."""
        self._start(peer, [*(program or SWARM), *arguments], extra)

    def stop_all(self) -> None:
        """Stop every process that runs: the peers together, then the tracker."""
        self.stop_peers()
        stop(*self._processes.values())

    def stop_peers(self) -> None:
        """Stop every process but the tracker."""
        stop(*(process for name, process in self._processes.items() if name != "tracker"))

    def kill(self, name: str) -> None:
        """Kill the process of a peer, or the tracker, with no chance to tidy up."""
        self._processes[name].kill()
        self._processes[name].wait()

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """The process of a peer, or the tracker."""
        return self._processes[name]

    def runs(self, name: str) -> bool:
        """Whether a peer, or the tracker, has a process that runs."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def grant(self, peer: Peer, amount: int) -> None:
        """Mint credits for ``peer``."""
        data = str(self.folder / "tracker")
        self.run(peer, "tracker", "grant", peer.key, str(amount), "--data", data)

    def make_referee(self, peer: Peer) -> None:
        """Let the operator vouch for ``peer``, before it starts."""
        data = str(self.folder / "tracker")
        vouch = self.run(peer, "tracker", "vouch", peer.key, "--data", data)
        self.run(peer, "key", "accept", vouch.strip())

    def gather(self, count: int) -> None:
        """Wait until ``count`` peers are connected."""
        deadline = time.monotonic() + START_SECONDS
        while (found := self.get("status")["peers"]["connected"]) < count:
            if time.monotonic() > deadline:
                raise DemoError(f"only {found} of {count} peers came in {START_SECONDS:.0f} s")
            time.sleep(0.1)

    def run(self, peer: Peer, *arguments: str) -> str:
        """Run a command as ``peer`` and return what it prints."""
        done = self.ask(peer, *arguments)
        if done.returncode:
            raise DemoError(f"swarm {' '.join(arguments)}:\n{done.stderr}")
        return done.stdout

    def ask(
        self, peer: Peer, *arguments: str, extra: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as ``peer``, whatever comes of it."""
        return subprocess.run(
            [*SWARM, *arguments],
            env=self._environment | {"SWARM_HOME": str(peer.home)} | (extra or {}),
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )

    def show(self, peer: Peer, *arguments: str) -> None:
        """Run a command as ``peer`` on the terminal."""
        process = subprocess.Popen(
            [*SWARM, *arguments], env=self._environment | {"SWARM_HOME": str(peer.home)}
        )
        try:
            if process.wait():
                raise DemoError(f"swarm {arguments[0]} ended with status {process.returncode}")
        finally:
            stop(process)

    def get(self, path: str) -> Any:
        """Ask the tracker's REST service."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=30) as response:
            return json.load(response)

    def status_of(self, path: str) -> int:
        """The HTTP status that the tracker answers with."""
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def until(self, job: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Follow a job until ``holds`` is true of its view."""
        url = f"{self.url}/api/v1/jobs/{job}/events"
        with urllib.request.urlopen(url, timeout=60) as events:
            for line in events:
                if line.startswith(b"data: "):
                    view: dict[str, Any] = json.loads(line[6:])
                    if holds(view):
                        return view
        raise DemoError(f"the job ended before that: {view}")

    def units(self, job: str) -> Iterator[dict[str, Any]]:
        """Every unit of a job."""
        after = -1
        while after is not None:
            page = self.get(f"jobs/{job}/units?limit=1000&after={after}")
            yield from page["units"]
            after = page["next"]

    def _start(
        self, peer: Peer, command: list[str], extra: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with peer.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                env=self._environment | {"SWARM_HOME": str(peer.home)} | (extra or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[peer.name] = process
        return process


def stop(*processes: subprocess.Popen[bytes]) -> None:
    """Ask processes to end, ask again to end at once, then make them."""
    for number, patience in STOPPING:
        running = [process for process in processes if process.poll() is None]
        for process in running:
            process.send_signal(number)
        deadline = time.monotonic() + patience
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        process.wait()


SWARM = [sys.executable, "-m", "openswarm"]
LIAR = [sys.executable, "-m", "examples.demo.liar"]
COPYCAT = [sys.executable, "-m", "examples.demo.copycat"]
THRIFTY = [sys.executable, "-m", "examples.demo.thrifty"]
