"""Tensors of a GGUF file: their types, how many bytes they take, where they lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workunits.errors import LimitError, MalformedError

MAX_DIMENSION = 2**32
MAX_ELEMENTS = 2**42
MAX_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class TensorType:
    """``size`` bytes hold ``block`` elements (``ggml_type`` of ggml.h)."""

    name: str
    block: int
    size: int


TYPES = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
}
"""Types that weights have in files. Those of intermediate results are refused."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. ``offset`` is in bytes from the start of the data, ``size`` in bytes; ``shape``
    begins with the dimension that is contiguous."""

    name: str
    shape: tuple[int, ...]
    number: int
    offset: int
    size: int

    @property
    def type(self) -> TensorType:
        """Its type."""
        return TYPES[self.number]

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


def size_of(name: str, shape: Sequence[int], number: int) -> int:
    """Bytes of a tensor. Raises ``MalformedError`` or ``LimitError``."""
    kind = TYPES.get(number)
    if kind is None:
        raise MalformedError(
            f"GGUF: tensor {name} has the unknown type {number}",
            hint="Quantise the model to a current type, such as Q4_K_M or Q8_0.",
        )
    if not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise MalformedError(f"GGUF: tensor {name} has {len(shape)} dimensions")
    if not all(1 <= extent <= MAX_DIMENSION for extent in shape):
        raise LimitError(f"GGUF: tensor {name} has an empty or an enormous dimension")
    elements = math.prod(shape)
    if elements > MAX_ELEMENTS:
        raise LimitError(f"GGUF: tensor {name} has more than {MAX_ELEMENTS} elements")
    if shape[0] % kind.block:
        raise MalformedError(
            f"GGUF: tensor {name} has rows of {shape[0]}, which are no whole blocks of {kind.name}"
        )
    return elements // kind.block * kind.size


def check_layout(tensors: Sequence[Tensor], start: int, alignment: int, length: int) -> None:
    """Raise ``MalformedError`` unless ``tensors`` lie one after the other, each aligned, and end
    where the file of ``length`` bytes ends; ``start`` is where the data begin."""
    at = 0
    for tensor in tensors:
        if tensor.offset != at:
            raise MalformedError(
                f"GGUF: tensor {tensor.name} is at {tensor.offset} of the data, not at {at}"
            )
        at += padded(tensor.size, alignment)
        if start + tensor.offset + tensor.size > length:
            raise MalformedError(
                f"GGUF: tensor {tensor.name} ends beyond the end of the file",
                hint="The file is cut off; fetch it again.",
            )
    if start + at < length:
        raise MalformedError(f"GGUF: {length - start - at} bytes follow the last tensor")


def padded(size: int, alignment: int) -> int:
    """``size`` rounded up to a multiple of ``alignment``."""
    return -(-size // alignment) * alignment
