"""Finding a Docker engine, or installing and starting one that belongs to us alone.

A machine's own engine is always preferred. A private one is started as root on Debian and Ubuntu
only, never without saying so, and keeps everything under one data folder and one run folder.

Several processes may want the private engine at once. Whoever holds ``start.lock`` may start or
stop it; everybody who uses it shares ``users.lock``; the last one out stops it.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
import requests
from docker.errors import DockerException

from sandbox import packages
from sandbox.address import is_listening
from sandbox.locks import Lock
from workunits.errors import UnavailableError

Say = Callable[[str], None]

PACKAGES = ("docker.io", "mmdebstrap", "debian-archive-keyring")
START_SECONDS = 60.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_PING_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker engine that answers. ``url`` is what DOCKER_HOST would be."""

    url: str
    version: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a private engine keeps its things. The run folder is short: socket paths must be."""

    data: Path

    @property
    def run(self) -> Path:
        """Sockets, pid file and state that does not survive a boot."""
        name = hashlib.sha256(str(self.data.absolute()).encode()).hexdigest()[:8]
        return Path("/run") / f"openswarm-{name}"

    @property
    def socket(self) -> Path:
        """The API socket."""
        return self.run / "docker.sock"

    @property
    def url(self) -> str:
        """The API address."""
        return f"unix://{self.socket}"

    @property
    def pid_file(self) -> Path:
        """Written by the engine."""
        return self.run / "docker.pid"

    @property
    def log(self) -> Path:
        """What the engine prints."""
        return self.data / "dockerd.log"


def ping(url: str) -> Engine | None:
    """The engine at ``url``, or None when nothing answers there."""
    if not is_listening(url):
        return None
    try:
        with docker.APIClient(base_url=url, timeout=_PING_SECONDS, version="auto") as api:
            return Engine(url, str(api.version().get("Version", "unknown")))
    except (DockerException, requests.RequestException, OSError, ValueError):
        return None


def candidates(environment: Mapping[str, str], data: Path | None = None) -> tuple[str, ...]:
    """Addresses where an engine may be, best first. DOCKER_HOST, when set, is the only one."""
    if environment.get("DOCKER_HOST"):
        return (environment["DOCKER_HOST"],)
    places = ["unix:///var/run/docker.sock"]
    if environment.get("XDG_RUNTIME_DIR"):
        places.append(f"unix://{environment['XDG_RUNTIME_DIR']}/docker.sock")
    if environment.get("HOME"):
        places.append(f"unix://{environment['HOME']}/.docker/run/docker.sock")
    if data is not None:
        places.append(Place(data).url)
    return tuple(places)


def find(environment: Mapping[str, str], data: Path | None = None) -> Engine | None:
    """The first engine that answers; ``data`` is the folder of a private one. Starts nothing."""
    for url in candidates(environment, data):
        found = ping(url)
        if found is not None:
            private = data is not None and url == Place(data).url
            return Engine(found.url, found.version, private)
    return None


@contextlib.contextmanager
def engine(
    data: Path, say: Say, *, environment: Mapping[str, str] | None = None, install: bool = True
) -> Iterator[Engine]:
    """An engine for the length of the block: the machine's, or a private one under ``data``.

    ``say`` hears one line about everything that is done to the machine. With ``install`` missing
    packages are installed. Raises ``UnavailableError`` when there is no engine to be had.
    """
    environment = os.environ if environment is None else environment
    found = find(environment)
    if found is not None:
        yield found
        return
    if environment.get("DOCKER_HOST"):
        raise UnavailableError(
            f"no Docker engine answers at DOCKER_HOST={environment['DOCKER_HOST']}",
            hint="Start that engine, or unset DOCKER_HOST.",
        )
    _require_root()
    if shutil.which("dockerd") is None:
        _install(install, say)
        # A machine with systemd has started the packaged engine by now.
        found = find(environment)
        if found is not None:
            yield found
            return
    with private_engine(data, say) as own:
        yield own


@contextlib.contextmanager
def private_engine(data: Path, say: Say) -> Iterator[Engine]:
    """Our own engine under ``data``, shared by every process that asks for the same folder.

    Needs root and an installed dockerd. Raises ``UnavailableError`` when it does not start.
    """
    place = Place(data.absolute())
    place.data.mkdir(parents=True, exist_ok=True)
    with Lock(place.data / "users.lock") as users:
        with Lock(place.data / "start.lock") as start:
            start.take()
            users.share()
            own = ping(place.url) or _start(place, say)
        try:
            yield Engine(own.url, own.version, private=True)
        finally:
            with Lock(place.data / "start.lock") as start:
                start.take()
                if users.try_take():  # nobody else uses it
                    _stop(place)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise UnavailableError(
            "no Docker engine answers, and only root may start one",
            hint="Install Docker and add yourself to the group docker, or run this as root.",
        )


def _install(allowed: bool, say: Say) -> None:
    if not allowed:
        raise UnavailableError(
            "no Docker engine answers, and none is installed",
            hint="Install Docker Engine (on Debian and Ubuntu: `apt-get install docker.io "
            "mmdebstrap`) and try again.",
        )
    say("no Docker engine was found on this machine")
    packages.install(PACKAGES, say)


def _start(place: Place, say: Say) -> Engine:
    """Start the engine; the caller holds the start lock."""
    _stop(place)
    say(f"starting a private Docker engine under {place.data}")
    place.run.mkdir(parents=True, exist_ok=True, mode=0o711)
    # A session and a parent of its own: Ctrl-C must reach us first, so that containers are
    # removed, and whoever starts the engine need not be the one who stops it.
    command = [
        "setsid",
        "--fork",
        "dockerd",
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        f"--data-root={place.data / 'docker'}",
        f"--exec-root={place.run / 'exec'}",
        f"--host={place.url}",
        f"--pidfile={place.pid_file}",
    ]
    with place.log.open("wb") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
    launched = time.monotonic()
    deadline = time.monotonic() + START_SECONDS
    try:
        while time.monotonic() < deadline:
            found = ping(place.url) if place.socket.exists() else None
            if found is not None:
                return found
            if time.monotonic() > launched + 1 and not _processes(place):
                break
            time.sleep(_POLL_SECONDS)
    except BaseException:
        _stop(place)
        raise
    _stop(place)
    lines = place.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise UnavailableError(
        f"the private Docker engine did not start: {' '.join(lines[-1:])[:300]}",
        hint=f"Read {place.log}; a machine without overlay file systems or control groups cannot "
        "run one.",
    )


def _stop(place: Place) -> None:
    """Stop whatever of our engine runs, kindly at first, and remove its sockets."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _processes(place):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if not _processes(place):
                break
            time.sleep(_POLL_SECONDS)
    for mount in _mounts(place):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    shutil.rmtree(place.run, ignore_errors=True)


def _processes(place: Place) -> list[int]:
    """Every process of our engine: all of them name the run folder in their command line."""
    mark = str(place.run).encode() + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                name = os.fsdecode(words.split(b"\0", 1)[0]).rpartition("/")[2]
                if mark in words and name.startswith(("dockerd", "containerd")):
                    found.append(int(entry.name))
    return found


def _mounts(place: Place) -> list[str]:
    """Mount points that a killed engine left under its folders, innermost first."""
    roots = (f"{place.run}/", f"{place.data / 'docker'}/")
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    return [point for point in reversed(points) if f"{point}/".startswith(roots)]
