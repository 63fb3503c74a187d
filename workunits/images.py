"""Images as blobs: the layers of a root file system, lowest first, and the name that they make.

An image is named by the ChainID of its layers (OCI image specification), so whoever has a manifest
can tell whether the layers that it lists are that image, before a byte of them is fetched.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import HASH_SIZE, BlobRef

MAX_LAYERS = 125
"""Most layers of an image; the Docker engine's own limit."""

MAX_IMAGE = 64 << 30
"""Most bytes of all layers of an image together."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: an uncompressed tar file. ``diff`` is the SHA-256 of its bytes (the diff id of the
    OCI image specification), ``ref`` the same bytes as a blob."""

    diff: bytes
    ref: BlobRef

    def value(self) -> dict[str, object]:
        """The canonical form."""
        ref = self.ref
        return {"diff": self.diff, "length": ref.length, "v1": ref.v1, "v2": ref.v2}

    @classmethod
    def parse(cls, fields: Fields) -> "Layer":
        """Read one layer. A tar file has at least one block, so it is never empty."""
        layer = cls(
            fields.octets("diff", length=HASH_SIZE),
            BlobRef(
                v2=fields.octets("v2", length=32),
                v1=fields.octets("v1", length=20),
                length=fields.integer("length", 1, MAX_IMAGE),
            ),
        )
        fields.end()
        return layer


@dataclass(frozen=True)
class Image:
    """An image that travels through the swarm: its content hash, and the layers that it is of."""

    name: str
    layers: tuple[Layer, ...]

    def __hash__(self) -> int:
        return hash(self.name)

    @cached_property
    def refs(self) -> tuple[BlobRef, ...]:
        """The blobs of the layers, each once: an image may have one layer twice."""
        return tuple(dict.fromkeys(layer.ref for layer in self.layers))

    @cached_property
    def length(self) -> int:
        """Bytes of the layers, each once."""
        return sum(ref.length for ref in self.refs)

    def check(self) -> None:
        """Raise ``MalformedError`` unless the layers are the image, and within bounds."""
        if chain_id([layer.diff for layer in self.layers]) != self.name:
            raise MalformedError(
                "the layers are not those of the image",
                hint="List the layers that `swarm image save` prints, lowest first.",
            )
        known: dict[bytes, BlobRef] = {}
        for layer in self.layers:
            if known.setdefault(layer.diff, layer.ref) != layer.ref:
                raise MalformedError("one layer of the image is two different blobs")
        if self.length > MAX_IMAGE:
            raise MalformedError(
                f"the layers of the image have {self.length:,} bytes, more than {MAX_IMAGE:,}",
                hint="Make the image smaller.",
            )


def chain_id(diffs: Sequence[bytes]) -> str:
    """The name of an image: the ChainID of its layers' diff ids (32 bytes each), lowest first.

    For one layer it is the diff id itself. Raises ``MalformedError`` without layers.
    """
    if not diffs:
        raise MalformedError("an image must have layers")
    chain = _name(diffs[0])
    for diff in diffs[1:]:
        chain = _name(hashlib.sha256(f"{chain} {_name(diff)}".encode()).digest())
    return chain


def _name(diff: bytes) -> str:
    return "sha256:" + diff.hex()
