"""Trackers of others, to measure ours beside: npm's bittorrent-tracker, Debian's opentracker.

npm's is installed once into the cache; opentracker is installed with apt-get where we are root.
"""

import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, Child, free_port, program
from bench.row import Setting

VERSION = "11.2.3"
PACKAGES = {
    "private": True,
    "dependencies": {"bittorrent-tracker": VERSION},
    # This release carries its native part in the package, so no install script has to run.
    "overrides": {"node-datachannel": "0.33.4"},
}
INSTALL_SECONDS = 300.0
START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Rival:
    """A tracker of others that answers on ``port``, TCP and UDP."""

    child: Child
    port: int

    @property
    def url(self) -> str:
        """Its HTTP address."""
        return f"http://127.0.0.1:{self.port}"


def fetch_bittorrent_tracker(setting: Setting) -> Path:
    """Where npm's bittorrent-tracker is installed. Raises ``BenchError`` when it cannot be."""
    if not shutil.which("npm"):
        raise BenchError("node and npm are not installed: apt-get install nodejs npm")
    folder = setting.cache / "bittorrent-tracker"
    folder.mkdir(parents=True, exist_ok=True)
    wanted, file = json.dumps(PACKAGES), folder / "package.json"
    done = folder / "installed"
    if not done.exists() or done.read_text() != wanted:
        setting.say(f"installing bittorrent-tracker {VERSION} with npm into {folder}")
        file.write_text(wanted)
        _install(folder, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund")
        done.write_text(wanted)
    return folder / "node_modules" / "bittorrent-tracker" / "bin" / "cmd.js"


def fetch_opentracker(setting: Setting) -> str:
    """The path of opentracker. Raises ``BenchError`` when it is not there and cannot be."""
    if found := shutil.which("opentracker"):
        return found
    if os.geteuid() or not shutil.which("apt-get"):
        raise BenchError("opentracker is not installed: sudo apt-get install opentracker")
    setting.say("installing opentracker with apt-get")
    _install(setting.folder, "apt-get", "update", "-qq")
    _install(setting.folder, "apt-get", "install", "-y", "-qq", "opentracker")
    if found := shutil.which("opentracker"):
        return found
    raise BenchError("apt-get has installed opentracker, but it is not on the PATH")


@contextmanager
def bittorrent_tracker(setting: Setting) -> Iterator[Rival]:
    """Run npm's bittorrent-tracker, all of its protocols, for the length of the block."""
    script, port = fetch_bittorrent_tracker(setting), free_port()
    flags = ("--http-hostname", "127.0.0.1", "--udp-hostname", "127.0.0.1")
    command = ("node", str(script), "--silent", "--stats", "false", "--port", str(port), *flags)
    with _running(setting.folder / "bittorrent-tracker.log", command, port) as rival:
        yield rival


@contextmanager
def opentracker(setting: Setting, hashes: Sequence[bytes]) -> Iterator[Rival]:
    """Run opentracker for ``hashes`` (Debian's takes only listed ones), for the block."""
    path, port = fetch_opentracker(setting), free_port()
    folder = setting.folder / "opentracker"
    folder.mkdir(exist_ok=True)
    (folder / "hashes").write_text("".join(each.hex() + "\n" for each in hashes))
    user = "nobody" if not os.geteuid() else getpass.getuser()
    # It changes its root to the folder when it may, and then reads the list from there.
    listed = "hashes" if not os.geteuid() else str(folder / "hashes")
    flags = ("-i", "127.0.0.1", "-p", str(port), "-P", str(port), "-u", user, "-d", str(folder))
    with _running(setting.folder / "opentracker.log", (path, *flags, "-w", listed), port) as rival:
        yield rival


def _install(folder: Path, *command: str) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, timeout=INSTALL_SECONDS, capture_output=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise BenchError(f"{command[0]} cannot install it: {last or error}") from None


@contextmanager
def _running(log: Path, command: Sequence[str], port: int) -> Iterator[Rival]:
    with program(command, log=log) as process:
        _await(process, lambda: _answers(port))
        yield Rival(process, port)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _await(process: Child, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.process.poll() is not None:
            raise BenchError(process.last_words())
        if time.monotonic() > deadline:
            raise BenchError(f"{process.log.stem} did not answer for {START_SECONDS:.0f} s")
        time.sleep(0.02)
