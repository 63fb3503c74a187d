"""Images by content: their hash, and the runtime image that is built without any registry."""

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import docker
import requests
from docker.errors import DockerException

from sandbox import layers, packages, programs
from sandbox.address import is_listening
from workunits.errors import LocalError, MalformedError, UnavailableError
from workunits.images import chain_id

Say = Callable[[str], None]

SUITE = "bookworm"
PACKAGES = ("python3", "dash")
EPOCH = 1_700_000_000
"""Time stamp of every file in the image, in seconds since 1970: same packages, same bytes."""
_COMPILE = (
    'chroot "$1" python3 -I -S -B -c "import compileall, os, py_compile; compileall.compile_dir('
    "os.path.dirname(os.__file__), quiet=1, force=True, "
    'invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"'
)
"""Compiled modules halve the start of every Python unit, and no unit could keep them."""
_RECIPE = (
    "--variant=extract",
    "--include=" + ",".join(PACKAGES),
    "--extract-hook=" + _COMPILE,
    SUITE,
)
_DROPPED = re.compile(
    # What differs from machine to machine, or is made by the engine.
    r"(dev|proc|run|sys|tmp|var)/.|etc/(hostname|resolv\.conf|apt|cron\.daily|dpkg|logrotate\.d)(/|$)"
    # What no unit needs. Copyright notices stay.
    r"|usr/share/(info|lintian|locale|man)/.|usr/share/doc/.*/(?!copyright$)[^/]+$|usr/bin/dpkg"
)
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_CHUNK = 1 << 20
_REPOSITORY = "openswarm/image"


class NoImageError(UnavailableError):
    """The engine answers, and does not have an image."""


def content_hash(diffs: Sequence[str]) -> str:
    """Hash of an image's root file system, from the diff ids of its layers, lowest first.

    It is the ChainID of the OCI image specification: SHA-256 over the diff ids, and the diff id
    itself for one layer, so an imported tar file has the SHA-256 of its bytes. Configuration and
    creation time do not count. Raises ``MalformedError`` when ``diffs`` are not diff ids.
    """
    return chain_id(diff_ids(diffs))


def diff_ids(diffs: Sequence[str]) -> list[bytes]:
    """Diff ids, ``sha256:`` and 64 hex digits each, as bytes; raises ``MalformedError``."""
    if not all(_DIFF_ID.fullmatch(diff) for diff in diffs):
        raise MalformedError("an image must have layers that are named by sha256")
    return [bytes.fromhex(diff.removeprefix("sha256:")) for diff in diffs]


def hash_of(inspected: dict[str, Any]) -> str:
    """Content hash of an image from the engine's description of it."""
    return content_hash((inspected.get("RootFS") or {}).get("Layers") or ())


def tar_hash(tar: Path) -> str:
    """Content hash that an uncompressed tar file will have as an image of one layer."""
    with tar.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def find(api: docker.APIClient, image: str) -> dict[str, Any] | None:
    """The engine's description of an image with content hash ``image``, one without declared
    volumes if there is a choice; None when the engine has none."""
    best = None
    for identity in {entry["Id"] for entry in api.images()}:
        try:
            found = describe(api, identity)
            if hash_of(found) != image:
                continue
        except (MalformedError, docker.errors.ImageNotFound):
            continue
        if not volumes(found):
            return found
        best = found
    return best


def describe(api: docker.APIClient, identity: str) -> dict[str, Any]:
    """The engine's description of an image; raises ``ImageNotFound`` without one."""
    return cast("dict[str, Any]", api.inspect_image(identity))  # type: ignore[no-untyped-call]


def volumes(inspected: dict[str, Any]) -> tuple[str, ...]:
    """Folders that the image declares as volumes; the engine would put them on the host's disk."""
    return tuple((inspected.get("Config") or {}).get("Volumes") or ())


def load(engine: str, tar: Path, say: Say) -> str:
    """Import the root file system in ``tar`` into the engine, unless it is there; returns its hash.

    Raises ``UnavailableError`` when the engine does not answer and ``LocalError`` when it refuses
    the file.
    """
    if not tarfile.is_tarfile(tar):
        raise LocalError(f"{tar} is not a tar file", hint="Give an uncompressed root file system.")
    wanted = tar_hash(tar)
    if not is_listening(engine):
        raise UnavailableError(
            f"the Docker engine at {engine} does not answer",
            hint="Check with `swarm doctor` that the engine is running, and start it.",
        )
    try:
        with docker.APIClient(base_url=engine, timeout=600, version="auto") as api:
            found = find(api, wanted)
            if found is not None:
                return wanted
            say(f"importing the image {wanted[7:19]} into the engine")
            reply = json.loads(
                api.import_image_from_file(
                    str(tar), repository=_REPOSITORY, tag=wanted[7:19]
                ).splitlines()[-1]
            )
            if "error" in reply:
                raise LocalError(
                    f"the engine refused the image {tar}: {reply['error']}",
                    hint="Check the disk space of the engine with `docker system df`.",
                )
            got = hash_of(describe(api, reply["status"]))
    except (DockerException, requests.RequestException) as error:
        raise UnavailableError(
            f"the Docker engine at {engine} could not import an image: {error}",
            hint="Check with `swarm doctor` that the engine is running.",
        ) from None
    if got != wanted:
        raise LocalError(
            f"{tar} became the image {got}, not {wanted}",
            hint="Give the tar file uncompressed, as it was hashed.",
        )
    return got


def save(engine: str, image: str, folder: Path, say: Say) -> tuple[str, list[tuple[bytes, Path]]]:
    """Write the layers of an image of the engine into ``folder``, unless they are there.

    ``image`` is a content hash, or a name or id that the engine knows. Returns the content hash,
    and diff id and file of each layer, lowest first. Raises ``UnavailableError`` when the engine
    does not answer or does not have it, ``MalformedError`` or ``LimitError`` when it cannot travel
    through the swarm, and ``LocalError`` when the disk fails.
    """
    if not is_listening(engine):
        raise UnavailableError(
            f"the Docker engine at {engine} does not answer",
            hint="Check with `swarm doctor` that the engine is running, and start it.",
        )
    try:
        with docker.APIClient(base_url=engine, timeout=600, version="auto") as api:
            found = find(api, image) if _DIFF_ID.fullmatch(image) else None
            found = found or describe(api, image)
            name = hash_of(found)
            diffs = diff_ids(found["RootFS"]["Layers"])
            if declared := volumes(found):
                say(f"the image declares volumes ({', '.join(declared)}), which are left out")
            say(f"taking {len(diffs)} layers of the image {name[7:19]} out of the engine")
            files = layers.split(api.get_image(found["Id"]), diffs, folder)
    except docker.errors.NotFound:
        raise NoImageError(
            f"the engine has no image {image[:100]}",
            hint="Look for it with `swarm image list`.",
        ) from None
    except (DockerException, requests.RequestException) as error:
        raise UnavailableError(
            f"the Docker engine at {engine} could not give an image: {error}",
            hint="Check with `swarm doctor` that the engine is running.",
        ) from None
    for file in dict.fromkeys(files):
        layers.check(file)
    return name, list(zip(diffs, files, strict=True))


def runtime(engine: str, cache: Path, say: Say) -> str:
    """Make sure that the engine has the runtime image (Debian with Python); returns its hash."""
    return load(engine, build(cache, say), say)


def build(cache: Path, say: Say) -> Path:
    """The runtime image as a tar file in ``cache``, made with mmdebstrap if it is not there yet.

    Raises ``UnavailableError`` where it cannot be made.
    """
    words = (*_RECIPE, _DROPPED.pattern, str(EPOCH))
    tar = cache / f"runtime-{SUITE}-{recipe_hash(words)}.tar"
    if not tar.exists():
        require_mmdebstrap(tar, say)
        say(f"building the runtime image (Debian {SUITE} with {', '.join(PACKAGES)})")
        bootstrap(_RECIPE, tar, _is_needed)
    return tar


def recipe_hash(words: Sequence[str]) -> str:
    """What tells one way to build something from another, in names of files."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def require_mmdebstrap(tar: Path, say: Say) -> None:
    """Install mmdebstrap if it is not there. Raises ``UnavailableError``: ``tar`` cannot be."""
    if shutil.which("mmdebstrap") is None:
        try:
            packages.install(("mmdebstrap", "debian-archive-keyring"), say)
        except UnavailableError as error:
            raise UnavailableError(
                f"{tar.name} cannot be built: {error.message}",
                hint=f"{error.hint} Elsewhere copy that file from such a machine to {tar.parent}.",
            ) from None


def bootstrap(words: Sequence[str], tar: Path, keep: Callable[[str], bool]) -> None:
    """Make ``tar`` with mmdebstrap: those files for whose names ``keep`` is true, without traces
    of this machine. Raises ``UnavailableError``."""
    tar.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=tar.parent, prefix="building-") as folder,
        tempfile.TemporaryDirectory(prefix="openswarm-image-", ignore_cleanup_errors=True) as root,
    ):
        Path(root).chmod(0o755)  # apt reads there as another user
        raw, tidy = Path(folder) / "raw.tar", Path(folder) / "tidy.tar"
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": root}
        # What is mounted in there goes with the process, even when that is killed.
        alone = ("unshare", "--mount") if os.geteuid() == 0 else ()
        done = programs.run([*alone, "mmdebstrap", "--quiet", *words, str(raw)], environment)
        if done.returncode or not raw.exists():
            raise UnavailableError(
                f"{tar.name} could not be built: " + _last_error(done.stderr),
                hint="Check the network and the package sources with `apt-get update`, "
                "then try again.",
            )
        _tidy(raw, tidy, keep)
        tidy.replace(tar)


def _is_needed(name: str) -> bool:
    return not _DROPPED.match(name)


def _tidy(raw: Path, tidy: Path, keep: Callable[[str], bool] = _is_needed) -> None:
    """Copy a tar file without what is not needed, and without traces of this machine."""
    with tarfile.open(raw) as source, tarfile.open(tidy, "w", format=tarfile.GNU_FORMAT) as target:
        for member in source:
            programs.heed()
            if not keep(member.name.removeprefix("./")):
                continue
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = EPOCH
            member.pax_headers = {}
            target.addfile(member, source.extractfile(member) if member.isreg() else None)


def _last_error(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")] or lines
    return (errors[-1] if errors else "mmdebstrap gave no reason")[:300]
