"""Command lines of other people's clients, with every way to meet peers off but the tracker."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from examples.demo.swarm import stop


def aria2(program: Sequence[str], torrent: str, folder: Path, *options: str) -> list[str]:
    """aria2: fetches ``torrent``, a file or a magnet link, into ``folder``, and ends.

    It seeds what it finds there, with ``--check-integrity``; ``--seed-time`` are its minutes.
    """
    quiet = (
        # Its UDP trackers need the socket of its DHT, which knows no node here.
        *("--no-conf", "--enable-dht=true", f"--dht-file-path={folder}.dht", "--disable-ipv6"),
        *("--bt-enable-lpd=false", "--enable-peer-exchange=false", "--follow-torrent=mem"),
        *("--bt-tracker-interval=2", "--summary-interval=0", "--console-log-level=notice"),
    )
    return [*program, *quiet, *(options or ("--seed-time=0",)), f"--dir={folder}", torrent]


def transmission(program: Sequence[str], torrent: str, folder: Path, port: int) -> list[str]:
    """transmission: fetches ``torrent`` into ``folder``, or finds it there, and seeds it."""
    home = folder.with_name(folder.name + "-settings")
    home.mkdir()
    quiet = {
        "dht-enabled": False,
        "lpd-enabled": False,
        "pex-enabled": False,
        "utp-enabled": False,
        "port-forwarding-enabled": False,
    }
    (home / "settings.json").write_text(json.dumps(quiet))
    where = ("--config-dir", str(home), "--download-dir", str(folder), "--port", str(port))
    return [*program, *where, "--no-portmap", torrent]


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a client until the block is left; what it says goes to ``log``."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=log.parent
        )
    try:
        yield process
    finally:
        stop(process)
