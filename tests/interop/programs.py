"""Programs that other people wrote, installed once and never silently.

Debian's come with apt-get where we are root; npm's go into the cache folder of the tests, with
their install scripts left out. A test that cannot have its program is skipped, with the reason.
"""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox import packages
from tests.engine import cache_folder
from workunits.errors import UnavailableError

INSTALL_SECONDS = 300.0
DEBIAN = {
    "aria2c": "aria2",
    "chromium": "chromium",
    "ip": "iproute2",
    "iptables": "iptables",
    "node": "nodejs",
    "npm": "npm",
    "transmission-cli": "transmission-cli",
    "turnserver": "coturn",
}
"""Which package has a program."""

BUNDLES = ("playwright-core@1.56.1", "webtorrent@2.8.5")
"""Packages of npm that need no others: the driver of Chromium, and WebTorrent built for browsers.

Later ones of playwright-core want a node that Debian 12 does not have.
"""

TRACKER_CLIENT: dict[str, Any] = {
    "private": True,
    "dependencies": {"bittorrent-tracker": "11.2.3"},
    # This release carries its native part in the package, so no install script has to run.
    "overrides": {"node-datachannel": "0.33.4"},
}


def need(*names: str) -> None:
    """Have Debian's programs ``names``, or skip the test."""
    with _lock("debian"):
        missing = [name for name in names if shutil.which(name) is None]
        if missing:
            try:
                packages.install([DEBIAN[name] for name in missing], print)
            except UnavailableError as error:
                pytest.skip(f"{error}. {error.hint}")


def version(*command: str) -> str:
    """What a program says of itself, first line."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def bundles() -> Path:
    """The folder with ``BUNDLES``, each under its name without the version."""
    need("node", "npm")
    return _install("bundles", BUNDLES, _unpack)


def tracker_client() -> Path:
    """The folder with the client of npm's bittorrent-tracker among its ``node_modules``."""
    need("node", "npm")
    return _install("tracker-client", TRACKER_CLIENT, _npm_install)


def _unpack(folder: Path) -> None:
    for bundle in BUNDLES:
        # Not by `npm install`: WebTorrent's build for browsers needs none of its 150 dependencies.
        packed = _npm(folder, "pack", "--silent", bundle).strip().splitlines()[-1]
        place = folder / bundle.partition("@")[0]
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        unpack = ["tar", "--extract", "--file", packed, "--strip-components", "1"]
        subprocess.run([*unpack, "--directory", str(place)], cwd=folder, check=True)
        (folder / packed).unlink()


def _npm_install(folder: Path) -> None:
    (folder / "package.json").write_text(json.dumps(TRACKER_CLIENT))
    _npm(folder, "install", "--ignore-scripts", "--no-audit", "--no-fund")


def _npm(folder: Path, *words: str) -> str:
    print(f"npm {' '.join(words)} in {folder}")
    try:
        done = subprocess.run(
            ["npm", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            timeout=INSTALL_SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm's registry gave nothing: {error}")
    return done.stdout


def _install(name: str, wanted: object, make: Any) -> Path:
    """``make`` a folder of the cache once, however many test processes want it."""
    with _lock(name) as folder:
        marker, text = folder / "done.json", json.dumps(wanted)
        if not marker.exists() or marker.read_text() != text:
            make(folder)
            marker.write_text(text)
        return folder


@contextmanager
def _lock(name: str) -> Iterator[Path]:
    folder = cache_folder() / "interop" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
