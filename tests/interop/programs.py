"""Programs that other people wrote, installed once and never silently.

Debian's come with apt-get where we are root; npm's go into the cache folder of the tests, with
their install scripts left out. A test that cannot have its program is skipped, with the reason.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox import packages
from sandbox.locks import Lock
from tests.engine import cache_folder
from workunits.errors import UnavailableError

INSTALL_SECONDS = 300.0
DEBIAN = {
    "aria2c": "aria2",
    "chromium": "chromium",
    "ip": "iproute2",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
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

AGENT = "@continuedev/cli@1.5.47"
"""A coding agent of npm: the command line of Continue, which is an editor's extension too."""

NEXT = ("trixie", "aria2", "transmission-cli")
MIRROR = "http://deb.debian.org/debian"
"""The Debian whose programs know hybrid torrents, which of them, and from where."""


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


def of_debian_13(name: str) -> list[str]:
    """A command that runs a program of the next Debian, whatever this one is.

    Debian 12's aria2 and transmission cannot read hybrid torrents: they stumble over the empty
    keys of BEP 52 (aria2 issue 1903, transmission issue 1339).
    """
    root = _install("debian-13", NEXT, _extract)
    loader = next(root.glob("root/usr/lib*/**/ld-linux-*.so.*"))
    libraries = next(root.glob("root/usr/lib/*-linux-gnu"))
    return [str(loader), "--library-path", str(libraries), str(root / "root/usr/bin" / name)]


def bundles() -> Path:
    """The folder with ``BUNDLES``, each under its name without the version."""
    need("node", "npm")
    return _install("bundles", BUNDLES, _unpack)


def agent() -> Path:
    """The program of ``AGENT``."""
    need("node", "npm")
    program = _install("agent", AGENT, _add_agent) / "node_modules" / ".bin" / "cn"
    done = subprocess.run([program, "--version"], capture_output=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"{AGENT} does not start with node {version('node', '--version')}")
    return program


def _add_agent(folder: Path) -> None:
    _npm(folder, "install", "--ignore-scripts", "--no-audit", "--no-fund", AGENT)


def _extract(folder: Path) -> None:
    need("mmdebstrap")
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    # Files only: no script of any package runs, and nothing in there is ever root's business.
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(NEXT[1:])}"]
    print(f"unpacking {' and '.join(NEXT[1:])} of Debian {NEXT[0]} into {root}")
    done = subprocess.run(
        [*command, NEXT[0], str(root), MIRROR],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"nothing of Debian {NEXT[0]} could be had: {done.stderr.strip()[-300:]}")


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
    with Lock(folder / "lock") as lock:
        lock.take()
        yield folder
