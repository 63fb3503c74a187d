"""Our tracker, our peers and coturn as processes, anywhere: also in a network namespace.

``inside`` is a command that runs another one, as ``ip netns exec NAME`` does.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import select
from socket import inet_aton
from typing import Any

from examples.demo.swarm import START_SECONDS, SWARM, stop
from tests.interop import programs

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 90.0
TRACKER_ALONE = ("--no-local",)
READY_SECONDS = 20.0
STUN_PORT = 3478
SECRET = "not much of a secret"


@contextmanager
def tracker(
    data: Path, *options: str, listen: str = "127.0.0.1:0", inside: Sequence[str] = ()
) -> Iterator[str]:
    """Run a tracker until the block is left; its base URL."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "log"
    command = [*inside, *SWARM, "tracker", "serve", "--data", str(data), "--listen", listen]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"Listening on (http://\S+)", log.read_text())):
            said = log.read_text()
            assert process.poll() is None, f"the tracker ended:\n{said}"
            assert time.monotonic() < deadline, f"the tracker did not start:\n{said}"
            time.sleep(0.05)
        yield found[1]
    finally:
        stop(process)


def fetch(
    url: str, link: str, folder: Path, *, engine: str = "aiortc", inside: Sequence[str] = ()
) -> dict[str, Any]:
    """Run ``swarm fetch`` to its end; what it says. Only the tracker at ``url`` leads to peers."""
    command = [*inside, *SWARM, "fetch", "--json", *TRACKER_ALONE, "--tracker", url, link]
    done = subprocess.run(
        [*command, str(folder)],
        env=_environment(folder, engine),
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
        check=False,
    )
    assert not done.returncode, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@contextmanager
def seeding(
    url: str, *paths: Path, engine: str = "aiortc", inside: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Run ``swarm seed`` until the block is left; what it says."""
    command = [*inside, *SWARM, "seed", "--json", *TRACKER_ALONE, "--tracker", url]
    with subprocess.Popen(
        [*command, *map(str, paths)],
        env=_environment(paths[-1], engine),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            yield Peer(process).hear()
        finally:
            stop(process)


def _environment(path: Path, engine: str) -> dict[str, str]:
    # A home of its own beside what is exchanged, where nothing of an earlier test is remembered.
    home = str(path.with_name(path.name + ".home"))
    return os.environ | {"SWARM_HOME": home, "SWARM_CACHE": home, "SWARM_ENGINE": engine}


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer of ours that runs."""

    process: subprocess.Popen[bytes]

    def hear(self) -> dict[str, Any]:
        """What it says next."""
        assert self.process.stdout
        ready, _, _ = select([self.process.stdout], [], [], ANSWER_SECONDS)
        assert ready, "the peer said nothing in time"
        line = self.process.stdout.readline()
        assert line, "the peer ended; see what it wrote"
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def peer(*arguments: str, inside: Sequence[str] = ()) -> Iterator[Peer]:
    """Run ``tests.interop.peer`` until the block is left."""
    with program("tests.interop.peer", *arguments, inside=inside) as running:
        yield running


@contextmanager
def program(module: str, *arguments: str, inside: Sequence[str] = ()) -> Iterator[Peer]:
    """Run a module of ours until the block is left."""
    command = [*inside, sys.executable, "-m", module, *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield Peer(process)
        finally:
            stop(process)


@contextmanager
def coturn(folder: Path, address: str, *, inside: Sequence[str] = ()) -> Iterator[None]:
    """Run a STUN and TURN server at ``address`` and ``STUN_PORT`` until the block is left."""
    programs.need("turnserver")
    folder.mkdir()
    options = [
        *("-n", "--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=openswarm"),
        *(f"--listening-ip={address}", f"--relay-ip={address}", f"--listening-port={STUN_PORT}"),
        *("--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout", "--simple-log"),
        *(f"--userdb={folder / 'users'}", f"--pidfile={folder / 'pid'}"),
    ]
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen(
            [*inside, "turnserver", *options],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        # As the kernel spells its address and port; the log is written late.
        wanted = f"{bytes(reversed(inet_aton(address))).hex().upper()}:{STUN_PORT:04X}"
        while wanted not in Path(f"/proc/{process.pid}/net/udp").read_text():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "coturn does not listen"
            time.sleep(0.05)
        yield
    finally:
        stop(process)
