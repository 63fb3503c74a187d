"""Arrays in NumPy's ``.npy`` files, read without NumPy, and when two of them are close.

Source: the format's description in NumPy's documentation (``numpy.lib.format``). Its header is a
Python literal; here it is matched by a pattern, so nothing in it is evaluated.
"""

import math
import re
import struct
from dataclasses import dataclass
from enum import Enum

from validators.closeness import Tolerance
from workunits.errors import MalformedError

MAX_HEADER = 4096
"""Bytes of the header, without the ten or twelve before it."""

MAX_DIMENSIONS = 64
_MAGIC = b"\x93NUMPY"
_LENGTH_SIZE = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}

_ENTRY = r" *+'(descr|fortran_order|shape)' *+: *+('[^'\\]*+'|True|False|\([0-9, ]*+\)) *+"
_HEADER = re.compile(rf"\{{{_ENTRY},{_ENTRY},{_ENTRY}(?:, *+)?\}} *+\n")
_DESCR = re.compile(r"'(?:[<>](?P<wide>[a-z][0-9]{1,2})|\|(?P<byte>[a-z]1))'")
_EXTENT = r"(?:0|[1-9][0-9]{0,18})"
_SHAPE = re.compile(rf"\((?:{_EXTENT},|{_EXTENT}(?:, *{_EXTENT})+,?)?\)")


class Kind(Enum):
    """What an array is made of. Width, sign and byte order are no part of it."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"
    COMPLEX = "complex"


_KINDS = {
    "b": Kind.BOOLEAN,
    "i": Kind.INTEGER,
    "u": Kind.INTEGER,
    "f": Kind.FLOAT,
    "c": Kind.COMPLEX,
}
_CODES = (
    {"b1": "?", "f2": "e", "f4": "f", "f8": "d", "c8": "f", "c16": "d"}
    | {"i1": "b", "i2": "h", "i4": "i", "i8": "q"}
    | {"u1": "B", "u2": "H", "u4": "I", "u8": "Q"}
)


@dataclass(frozen=True, slots=True)
class Array:
    """Values in logical order: the last index varies fastest."""

    kind: Kind
    shape: tuple[int, ...]
    values: tuple[complex, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a header says of the bytes after it."""

    order: str
    dtype: str
    fortran: bool
    shape: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        return _KINDS[self.dtype[0]]

    @property
    def item_size(self) -> int:
        return int(self.dtype[1:])


def close(one: bytes, other: bytes, tolerance: Tolerance) -> bool:
    """Whether two ``.npy`` files hold arrays of one kind and shape with close values everywhere.

    Width, byte order, memory order and format version do not matter; booleans must be equal.
    Raises ``MalformedError`` as ``parse`` does.
    """
    left, right = parse(one), parse(other)
    if (left.kind, left.shape) != (right.kind, right.shape):
        return False
    if left.kind is Kind.BOOLEAN:
        return left.values == right.values
    near = tolerance.close_complex if left.kind is Kind.COMPLEX else tolerance.close
    return all(
        near(a, b)  # type: ignore[arg-type]  # the kind says which
        for a, b in zip(left.values, right.values, strict=True)
        if a != b
    )


def parse(raw: bytes) -> Array:
    """Read a ``.npy`` file of format 1.0, 2.0 or 3.0. Takes time and space linear in its length.

    Raises ``MalformedError`` for everything but booleans, integers of 1, 2, 4, 8 bytes, floats of
    2, 4, 8 and complex numbers of 8, 16: for objects, records, strings, dates, extended doubles.
    Also for a byte missing or left over, and for a boolean that is neither 0 nor 1.
    """
    header, start = _header(raw)
    layout = _layout(header)
    count = math.prod(layout.shape)
    if count * layout.item_size != len(raw) - start:
        raise MalformedError("npy: the data is not as long as the header says")
    values = _values(layout, raw[start:], count)
    return Array(layout.kind, layout.shape, values)


def _header(raw: bytes) -> tuple[str, int]:
    """The header's text, and where the data starts."""
    size = _LENGTH_SIZE.get(raw[6:8])
    if raw[:6] != _MAGIC or size is None:
        raise MalformedError("npy: not a .npy file of format 1.0, 2.0 or 3.0")
    begin = len(_MAGIC) + 2 + size
    length = int.from_bytes(raw[begin - size : begin], "little")
    if length > MAX_HEADER or begin + length > len(raw):
        raise MalformedError("npy: the header is cut off or too long")
    try:
        return raw[begin : begin + length].decode("ascii"), begin + length
    except UnicodeDecodeError:
        raise MalformedError("npy: the header is not ASCII") from None


def _layout(header: str) -> _Layout:
    match = _HEADER.fullmatch(header)
    fields = dict(zip(match.groups()[::2], match.groups()[1::2], strict=True)) if match else {}
    if len(fields) != 3 or fields["fortran_order"] not in ("True", "False"):
        raise MalformedError("npy: the header is not descr, fortran_order and shape")
    descr = _DESCR.fullmatch(fields["descr"])
    dtype = (descr["wide"] or descr["byte"]) if descr else ""
    if dtype not in _CODES:
        raise MalformedError(f"npy: no array of plain numbers: {fields['descr'][:40]}")
    if not _SHAPE.fullmatch(fields["shape"]):
        raise MalformedError("npy: the shape is not a tuple of whole numbers")
    shape = tuple(map(int, re.findall("[0-9]+", fields["shape"])))
    if len(shape) > MAX_DIMENSIONS:
        raise MalformedError(f"npy: more than {MAX_DIMENSIONS} dimensions")
    order = ">" if fields["descr"][1] == ">" else "<"
    return _Layout(order, dtype, fields["fortran_order"] == "True", shape)


def _values(layout: _Layout, data: bytes, count: int) -> tuple[complex, ...]:
    if layout.kind is Kind.BOOLEAN and data.translate(None, b"\x00\x01"):
        raise MalformedError("npy: a boolean is neither 0 nor 1")
    parts = 2 if layout.kind is Kind.COMPLEX else 1
    values: tuple[complex, ...]
    values = struct.unpack(f"{layout.order}{count * parts}{_CODES[layout.dtype]}", data)
    if layout.kind is Kind.COMPLEX:
        values = tuple(map(complex, values[::2], values[1::2]))
    if layout.fortran and count > 1:
        values = tuple(values[place] for place in _places(layout.shape))
    return values


def _places(shape: tuple[int, ...]) -> list[int]:
    """Where the elements stand in Fortran order, listed in C order. No extent may be 0."""
    places, stride = [0], 1
    for extent in shape:
        if extent > 1:
            places = [place + stride * at for place in places for at in range(extent)]
            stride *= extent
    return places
