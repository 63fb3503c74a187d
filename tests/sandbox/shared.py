"""Layers made by hand: small images of one family, without any engine."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from workunits.images import chain_id


def make_layer(folder: Path, files: Mapping[str, bytes]) -> tuple[bytes, Path]:
    """A layer with ``files``: its diff id, and the tar file, which is named by it."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    diff = hashlib.sha256(raw.getvalue()).digest()
    path = folder / f"{diff.hex()}.tar"
    path.write_bytes(raw.getvalue())
    return diff, path


def name_of(*layers: tuple[bytes, Path]) -> str:
    """The image that layers make."""
    return chain_id([diff for diff, _ in layers])
