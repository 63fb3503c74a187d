"""A smaller quantisation of a GGUF file: what a cheat would run instead of the model.

Weights in Q4_1 (32 of them in 20 bytes: scale, least value, 4 bits each) become Q4_0 (18 bytes:
scale, 4 bits each), as in ggml's reference quantiser.
"""

from pathlib import Path

import numpy as np

from workunits.models.gguf import read_header
from workunits.models.header import encode_header, lay_out
from workunits.models.tensors import padded

Q4_0, Q4_1 = 2, 3
BLOCKS = 1 << 18
"""Blocks that are worked on at once."""

_OLD = np.dtype([("scale", "<f2"), ("least", "<f2"), ("bits", "u1", 16)])
_NEW = np.dtype([("scale", "<f2"), ("bits", "u1", 16)])


def make_smaller(source: Path, target: Path) -> Path:
    """Write the smaller file; returns ``target``."""
    gguf = read_header(source)
    kinds = [Q4_0 if tensor.number == Q4_1 else tensor.number for tensor in gguf.tensors]
    shapes = (
        (tensor.name, tensor.shape, kind) for tensor, kind in zip(gguf.tensors, kinds, strict=True)
    )
    tensors = lay_out(shapes, gguf.alignment)
    with source.open("rb") as read, target.open("wb") as written:
        header = encode_header(gguf.version, gguf.metadata, gguf.kinds, tensors, gguf.alignment)
        written.write(header)
        for old, new in zip(gguf.tensors, tensors, strict=True):
            read.seek(gguf.data_offset + old.offset)
            data = read.read(old.size)
            if old.number == Q4_1:
                blocks = np.frombuffer(data, _OLD)
                parts = (blocks[at : at + BLOCKS] for at in range(0, len(blocks), BLOCKS))
                data = b"".join(_rounded(part).tobytes() for part in parts)
            written.write(data + bytes(padded(new.size, gguf.alignment) - new.size))
    return target


def _rounded(blocks: np.ndarray) -> np.ndarray:
    scale, least = (blocks[name].astype("f4")[:, None] for name in ("scale", "least"))
    bits = np.concatenate([blocks["bits"] & 15, blocks["bits"] >> 4], axis=1)
    weights = bits * scale + least
    largest = np.take_along_axis(weights, np.abs(weights).argmax(1)[:, None], 1)
    step = largest / -8
    inverse = np.divide(1, step, out=np.zeros_like(step), where=step != 0)
    rounded = np.clip(weights * inverse + 8.5, 0, 15).astype("u1")
    made = np.empty(len(blocks), _NEW)
    made["scale"] = step[:, 0]
    made["bits"] = rounded[:, :16] | rounded[:, 16:] << 4
    return made
