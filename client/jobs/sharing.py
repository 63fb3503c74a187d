"""The layers of images that are on this machine, as files that can be served."""

import os
from pathlib import Path

from client.config import Config
from sandbox import engine, image
from workunits.errors import MalformedError
from workunits.images import chain_id

Say = image.Say
LAYERS = "layers"
_RUNTIMES = "runtime-*.tar"


def layers_of(config: Config, name: str, say: Say) -> list[tuple[bytes, Path]] | None:
    """Diff id and file of each layer of an image, lowest first; None when it is not here.

    ``name`` is a content hash. A runtime image that was built here is its own layer; any other is
    taken out of the Docker engine, once: its layers stay in the cache. Raises ``UnavailableError``
    when the engine fails, ``MalformedError`` or ``LimitError`` when the image cannot travel, and
    ``LocalError`` when the disk fails.
    """
    for tar in config.images.glob(_RUNTIMES):
        if image.tar_hash(tar) == name:
            return [(bytes.fromhex(name.removeprefix("sha256:")), tar)]
    folder = config.images / LAYERS
    if kept := _kept(folder, name):
        return kept
    found = engine.find(os.environ, config.engine)
    if found is None:
        return None
    try:
        return save(config, found.url, name, say)[1]
    except image.NoImageError:
        return None


def save(config: Config, url: str, wanted: str, say: Say) -> tuple[str, list[tuple[bytes, Path]]]:
    """Take the layers of an image out of the engine at ``url`` into the cache.

    ``wanted`` is a content hash, or a name that the engine knows. Returns its content hash and its
    layers. Raises like ``layers_of``, and ``UnavailableError`` when the engine does not have it.
    """
    folder = config.images / LAYERS
    name, layers = image.save(url, wanted, folder, say)
    note = folder / name.removeprefix("sha256:")
    note.write_text("\n".join(diff.hex() for diff, _ in layers), encoding="ascii")
    return name, layers


def _kept(folder: Path, name: str) -> list[tuple[bytes, Path]] | None:
    """What an earlier call left, if all of it is still there."""
    try:
        words = (folder / name.removeprefix("sha256:")).read_text(encoding="ascii").split()
        diffs = [bytes.fromhex(word) for word in words]
        if chain_id(diffs) != name:
            return None
    except (OSError, ValueError, MalformedError):
        return None
    layers = [(diff, folder / f"{diff.hex()}.tar") for diff in diffs]
    return layers if all(path.is_file() for _, path in layers) else None
