"""Writes the header of a GGUF file, which ``workunits.models.gguf`` reads."""

import struct
from collections.abc import Iterable, Mapping, Sequence

from workunits.models.gguf import CODES, MAGIC, Kind, MetaValue, Scalar
from workunits.models.tensors import Tensor, padded, size_of


def lay_out(shapes: Iterable[tuple[str, tuple[int, ...], int]], alignment: int) -> list[Tensor]:
    """Tensors of the given names, shapes and types, one after the other."""
    tensors = []
    at = 0
    for name, shape, number in shapes:
        size = size_of(name, shape, number)
        tensors.append(Tensor(name, shape, number, at, size))
        at += padded(size, alignment)
    return tensors


def encode_header(
    version: int,
    metadata: Mapping[str, MetaValue],
    kinds: Mapping[str, Kind],
    tensors: Sequence[Tensor],
    alignment: int,
) -> bytes:
    """The header, padded to where the data begin. Equal arguments give equal bytes."""
    parts = [MAGIC, struct.pack("<IQQ", version, len(tensors), len(metadata))]
    for key, value in metadata.items():
        kind = kinds[key]
        parts.append(_string(key))
        if isinstance(value, tuple):
            parts.append(struct.pack("<IIQ", Kind.ARRAY, kind, len(value)))
            parts.append(_items(kind, value))
        else:
            parts += (struct.pack("<I", kind), _items(kind, (value,)))
    for tensor in tensors:
        rank = len(tensor.shape)
        parts.append(_string(tensor.name))
        parts.append(struct.pack(f"<I{rank}QIQ", rank, *tensor.shape, tensor.number, tensor.offset))
    raw = b"".join(parts)
    return raw.ljust(padded(len(raw), alignment), b"\0")


def _items(kind: Kind, values: tuple[Scalar, ...]) -> bytes:
    if kind is Kind.STRING:
        return b"".join(_string(str(value)) for value in values)
    return struct.pack(f"<{len(values)}{CODES[kind]}", *values)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
