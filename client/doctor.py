"""What is wrong on this machine, and the command that fixes it."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from client.config import Config
from client.jobs.quantities import format_seconds, format_size, plural
from client.tracker_api import TrackerApi
from client.views import StatusView
from workunits.errors import SwarmError

MAX_SKEW = 60.0
"""Seconds that a clock may be off: statements are refused from ten minutes on."""

MIN_DISK = 2 << 30
MIN_MEMORY = 512 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``fix`` is what to do when it is not ``good``."""

    name: str
    good: bool
    found: str
    fix: str = ""


def check_engine(config: Config, environment: Mapping[str, str]) -> list[Finding]:
    """The Docker engine, and the runtime image in it."""
    import docker

    from sandbox import engine, image

    found = engine.find(environment, config.engine)
    if found is None:
        if environment.get("DOCKER_HOST"):
            fix = "start that engine, or unset DOCKER_HOST"
        elif os.geteuid() == 0:
            fix = "swarm volunteer --install   (or start the engine: systemctl start docker)"
        elif Path("/var/run/docker.sock").exists():
            fix = f"sudo usermod -aG docker {environment.get('USER', '$USER')}, then log in again"
        else:
            fix = "sudo apt-get install docker.io mmdebstrap"
        tried = ", ".join(engine.candidates(environment, config.engine))
        return [Finding("engine", False, f"no Docker engine answers (tried {tried})", fix)]
    good = Finding("engine", True, f"Docker {found.version} at {found.url}")
    try:
        # Recipes change with versions; the one that was built last is the one in use.
        tars = sorted(config.images.glob("runtime-*.tar"), key=lambda tar: tar.stat().st_mtime)
        wanted = image.tar_hash(tars[-1]) if tars else ""
        with docker.APIClient(base_url=found.url, version="auto", timeout=30) as api:
            there = bool(wanted) and image.find(api, wanted) is not None
    except (SwarmError, OSError, docker.errors.DockerException) as error:
        return [good, Finding("image", False, f"cannot look for images: {error}", "docker info")]
    if not there:
        found_text = "built, but not in the engine" if wanted else "the runtime image is not built"
        return [good, Finding("image", False, found_text, "swarm image build")]
    return [good, Finding("image", True, f"runtime image {wanted[7:19]}")]


def check_key(config: Config) -> Finding:
    """The key file: private, or not made yet."""
    try:
        mode = config.key.stat().st_mode
    except FileNotFoundError:
        return Finding("key", True, f"none yet; the first use makes {config.key}")
    except OSError as error:
        return Finding("key", False, f"cannot read {config.key}: {error.strerror}", _own(config))
    if stat.S_IMODE(mode) & 0o077:
        return Finding("key", False, "others can read your key file", f"chmod 600 {config.key}")
    from client import keys

    try:
        keys.load(config.key)
    except SwarmError as error:
        return Finding("key", False, error.message, error.hint)
    return Finding("key", True, str(config.key))


def check_disk(config: Config, usage: Callable[[Path], int] | None = None) -> Finding:
    """Free space where blobs and images go."""
    place = config.home
    while not place.exists():
        place = place.parent
    free = usage(place) if usage else shutil.disk_usage(place).free
    try:
        with TemporaryFile(dir=place):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Finding("disk", False, f"cannot write to {place}: {reason}", _own(config))
    if free < MIN_DISK:
        return Finding(
            "disk",
            False,
            f"{format_size(free)} free at {place}, at least {format_size(MIN_DISK)} are needed",
            "free some space, or set SWARM_HOME to a folder on a larger disk",
        )
    return Finding("disk", True, f"{format_size(free)} free at {place}")


def check_memory(total: int) -> Finding:
    """Enough memory for a unit."""
    good = total >= MIN_MEMORY
    fix = "" if good else f"use a machine with {format_size(MIN_MEMORY)} or more"
    return Finding("memory", good, format_size(total), fix)


def check_processor(*, has_avx2: bool) -> Finding:
    """Whether models can be run: without AVX2 all other work still can."""
    found = "AVX2, can run language models" if has_avx2 else "no AVX2, so no language models here"
    return Finding("processor", True, found)


async def check_tracker(config: Config, clock: Callable[[], float] = time.time) -> list[Finding]:
    """Whether the tracker answers, and how far the clock is from its clock."""
    try:
        async with TrackerApi.connect(config.tracker, attempts=2) as tracker:
            before = clock()
            status = await tracker.status()
            after = clock()
    except SwarmError as error:
        local = config.tracker.split("://")[-1].startswith(("127.", "localhost", "[::1]"))
        fix = "swarm tracker serve" if local else error.hint
        return [Finding("tracker", False, error.message, fix)]
    return [
        Finding(
            "tracker",
            True,
            f"{config.tracker}, version {status.version}, {plural(status.connected, 'peer')}, "
            f"{plural(status.jobs, 'active job')}",
        ),
        clock_finding(status, before, after),
    ]


def clock_finding(status: StatusView, before: float, after: float) -> Finding:
    """Compare clocks; the answer was made somewhere between ``before`` and ``after``."""
    off = (before + after) / 2 - status.time
    off = max(0.0, abs(off) - (after - before) / 2)
    if off > MAX_SKEW:
        return Finding(
            "clock",
            False,
            f"{format_seconds(off)} away from the tracker's clock",
            "sudo timedatectl set-ntp true",
        )
    return Finding("clock", True, f"agrees with the tracker's to {max(1, round(off))} s")


def _own(config: Config) -> str:
    return f"sudo chown -R $USER {config.home}"
