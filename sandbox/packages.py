"""Installing Debian packages, as root and never silently."""

import os
import shutil
from collections.abc import Callable, Sequence
from subprocess import CompletedProcess

from sandbox import programs
from workunits.errors import UnavailableError


def install(packages: Sequence[str], say: Callable[[str], None]) -> None:
    """Install ``packages`` with apt-get, after saying so.

    Raises ``UnavailableError`` where that cannot be done: not root, no apt-get, no network.
    """
    command = f"apt-get install {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise UnavailableError(
            f"{' and '.join(packages)} must be installed first",
            hint=f"On Debian and Ubuntu run `{command}` as root, then try again.",
        )
    say(f"installing {', '.join(packages)} with apt-get")
    # A stale list of one foreign source fails the update and hurts nobody.
    _apt("update")
    done = _apt("install", "--yes", "--no-install-recommends", *packages)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UnavailableError(
            f"apt-get could not install {', '.join(packages)}: {' '.join(last)[:300]}",
            hint=f"Run `{command}` and see what it says.",
        )


def _apt(*words: str) -> "CompletedProcess[bytes]":
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # Another process may be installing the same thing.
    command = ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300", *words]
    return programs.run(command, environment, finish=True)
