"""The header of a GGUF file, parsed strictly: what stands between a hostile file and native code.

GGUF versions 2 and 3, little-endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
Every count and size has a limit, every tensor lies where the one before it ends, and the model's
own numbers are sane (``workunits.models.anatomy``). Nothing is read beyond the header.
"""

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, TypeAlias

from workunits.errors import LimitError, MalformedError
from workunits.models.anatomy import Anatomy
from workunits.models.tensors import Tensor, check_layout, padded, size_of

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MAX_HEADER: Final = 64 << 20
"""Most bytes before the data of the tensors."""

MAX_FILE: Final = 64 << 30
MAX_ENTRIES: Final = 4096
MAX_TENSORS: Final = 1 << 15
MAX_KEY: Final = 200
MAX_NAME: Final = 63
MAX_STRING: Final = 1 << 20
MAX_ARRAY: Final = 1 << 20
MAX_ITEMS: Final = 3 << 20
"""Most items of all arrays together."""

ALIGNMENT: Final = 32
MAX_ALIGNMENT: Final = 4096
_FIRST_READ: Final = 1 << 20
_NAME = re.compile(rb"[A-Za-z0-9_.\-]+")
_COUNTS = struct.Struct("<IQQ")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

Scalar: TypeAlias = int | float | bool | str
MetaValue: TypeAlias = Scalar | tuple[Scalar, ...]


class Kind(IntEnum):
    """``gguf_type``: what a value of the metadata is."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


CODES: Final[Mapping[Kind, str]] = {
    Kind.UINT8: "B",
    Kind.INT8: "b",
    Kind.UINT16: "H",
    Kind.INT16: "h",
    Kind.UINT32: "I",
    Kind.INT32: "i",
    Kind.FLOAT32: "f",
    Kind.BOOL: "B",
    Kind.UINT64: "Q",
    Kind.INT64: "q",
    Kind.FLOAT64: "d",
}
"""Codes of ``struct`` for numbers."""

_FLOATS = (Kind.FLOAT32, Kind.FLOAT64)


@dataclass(frozen=True, slots=True)
class Gguf:
    """A checked header. ``data_offset``, ``alignment`` and ``length`` (of the file) are bytes.

    ``kinds`` says what each value is; for an array, which is a tuple, what its items are.
    """

    version: int
    metadata: Mapping[str, MetaValue]
    kinds: Mapping[str, Kind]
    tensors: tuple[Tensor, ...]
    data_offset: int
    alignment: int
    length: int
    anatomy: Anatomy


class _CutError(MalformedError):
    """The bytes end before the header does."""


def read_header(path: Path) -> Gguf:
    """Read and check the header of the file ``path``, and no more of it than that.

    Raises ``MalformedError``, ``LimitError`` and ``OSError``.
    """
    with path.open("rb") as stream:
        length = stream.seek(0, 2)
        most = min(length, MAX_HEADER)
        take = _FIRST_READ
        while True:
            stream.seek(0)
            head = stream.read(min(take, most))
            try:
                return parse_header(head, length)
            except _CutError:
                if take >= most:
                    raise
            take *= 4


def parse_header(head: bytes, length: int) -> Gguf:
    """Check the header of a file of ``length`` bytes that begins with ``head``.

    ``head`` must have the whole header, and may have more. Raises ``MalformedError`` or
    ``LimitError``.
    """
    if length > MAX_FILE:
        raise LimitError(f"GGUF: a file of {length:,} bytes is over the limit of {MAX_FILE:,}")
    if head[:4] != MAGIC:
        raise MalformedError(
            "this is not a GGUF file", hint="Name a .gguf file, or convert the model to GGUF first."
        )
    reader = _Reader(head[: min(length, MAX_HEADER)])
    version, tensor_count, entry_count = reader.take(_COUNTS)
    if version not in VERSIONS:
        big = int.from_bytes(version.to_bytes(4, "big"), "little") in VERSIONS
        raise MalformedError(
            "GGUF: the file is big-endian" if big else f"GGUF: version {version} is not supported",
            hint="Convert the model to GGUF version 3, little-endian.",
        )
    if entry_count > MAX_ENTRIES:
        raise LimitError(f"GGUF: {entry_count} entries of metadata are over {MAX_ENTRIES}")
    if not 1 <= tensor_count <= MAX_TENSORS:
        raise LimitError(f"GGUF: {tensor_count} tensors; there must be 1 to {MAX_TENSORS}")
    metadata, kinds = _read_metadata(reader, entry_count)
    tensors = _read_tensors(reader, tensor_count)
    alignment = _alignment(metadata.get("general.alignment", ALIGNMENT))
    start = padded(reader.at, alignment)
    check_layout(tensors, start, alignment, length)
    return Gguf(
        version,
        metadata,
        kinds,
        tensors,
        start,
        alignment,
        length,
        Anatomy.of(metadata, tensors),
    )


def _read_metadata(reader: "_Reader", count: int) -> tuple[dict[str, MetaValue], dict[str, Kind]]:
    metadata: dict[str, MetaValue] = {}
    kinds: dict[str, Kind] = {}
    for _ in range(count):
        key = reader.name(MAX_KEY, "key")
        if key in metadata:
            raise MalformedError(f"GGUF: the key {key} is there twice")
        kind = reader.kind(key)
        if kind is Kind.ARRAY:
            kind = reader.kind(key)
            metadata[key] = reader.array(kind, key)
        else:
            (metadata[key],) = reader.values(kind, 1, key)
        kinds[key] = kind
    return metadata, kinds


def _read_tensors(reader: "_Reader", count: int) -> tuple[Tensor, ...]:
    tensors: dict[str, Tensor] = {}
    for _ in range(count):
        name = reader.name(MAX_NAME, "name of a tensor")
        if name in tensors:
            raise MalformedError(f"GGUF: the tensor {name} is there twice")
        dimensions = reader.u32()
        if not 1 <= dimensions <= 4:
            raise MalformedError(f"GGUF: tensor {name} has {dimensions} dimensions")
        shape = reader.numbers("Q", dimensions)
        number, offset = reader.u32(), reader.u64()
        size = size_of(name, shape, number)
        tensors[name] = Tensor(name, shape, number, offset, size)
    return tuple(tensors.values())


def _alignment(value: MetaValue) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 8 <= value <= MAX_ALIGNMENT or value & (value - 1):  # type: ignore[operator]
        raise MalformedError(
            f"GGUF: general.alignment must be a power of two from 8 to {MAX_ALIGNMENT}"
        )
    assert isinstance(value, int)
    return value


class _Reader:
    """Takes values one after the other, and never more than there are bytes for."""

    __slots__ = ("_items", "_raw", "at")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._items = 0
        self.at = len(MAGIC)

    def take(self, form: struct.Struct) -> tuple[int, ...]:
        start = self._advance(form.size)
        return form.unpack_from(self._raw, start)

    def u32(self) -> int:
        return self.take(_U32)[0]

    def u64(self) -> int:
        return self.take(_U64)[0]

    def numbers(self, code: str, count: int) -> tuple[int, ...]:
        start = self._advance(struct.calcsize(f"<{code}") * count)
        return struct.unpack_from(f"<{count}{code}", self._raw, start)

    def kind(self, key: str) -> Kind:
        number = self.u32()
        try:
            return Kind(number)
        except ValueError:
            raise MalformedError(f"GGUF: {key} has the unknown type {number}") from None

    def name(self, limit: int, what: str) -> str:
        size = self.u64()
        if size > limit:
            raise LimitError(f"GGUF: a {what} of {size} bytes is over {limit}")
        start = self._advance(size)
        raw = self._raw[start : self.at]
        if not _NAME.fullmatch(raw):
            raise MalformedError(f"GGUF: the {what} {raw[:40]!r} has characters that none has")
        return raw.decode("ascii")

    def array(self, kind: Kind, key: str) -> tuple[Scalar, ...]:
        if kind is Kind.ARRAY:
            raise MalformedError(f"GGUF: {key} is an array of arrays")
        count = self.u64()
        self._items += count
        if count > MAX_ARRAY or self._items > MAX_ITEMS:
            raise LimitError(f"GGUF: {key} with {count} items is over the limit of {MAX_ARRAY}")
        return self.values(kind, count, key)

    def values(self, kind: Kind, count: int, key: str) -> tuple[Scalar, ...]:
        if kind is Kind.STRING:
            return self._strings(count, key)
        if kind is Kind.ARRAY:
            raise MalformedError(f"GGUF: {key} is an array of arrays")
        numbers: tuple[Scalar, ...] = self.numbers(CODES[kind], count)
        if kind is Kind.BOOL:
            if any(number not in (0, 1) for number in numbers):
                raise MalformedError(f"GGUF: {key} must be 0 or 1")
            return tuple(map(bool, numbers))
        if kind in _FLOATS and not all(map(math.isfinite, numbers)):  # type: ignore[arg-type]
            raise MalformedError(f"GGUF: {key} is not a finite number")
        return numbers

    def _strings(self, count: int, key: str) -> tuple[str, ...]:
        raw, at, end = self._raw, self.at, len(self._raw)
        found: list[str] = []
        try:
            for _ in range(count):
                if at + 8 > end:
                    raise _cut()
                size = int.from_bytes(raw[at : at + 8], "little")
                if size > MAX_STRING:
                    raise LimitError(f"GGUF: {key} of {size} bytes is over {MAX_STRING}")
                at += 8 + size
                if at > end:
                    raise _cut()
                found.append(raw[at - size : at].decode())
                if "\0" in found[-1]:  # an engine would see another text: what is before it
                    raise MalformedError(f"GGUF: {key} has a zero byte")
        except UnicodeDecodeError:
            raise MalformedError(f"GGUF: {key} is not UTF-8") from None
        self.at = at
        return tuple(found)

    def _advance(self, size: int) -> int:
        start = self.at
        if size > len(self._raw) - start:
            raise _cut()
        self.at = start + size
        return start


def _cut() -> _CutError:
    return _CutError(
        "GGUF: the header is cut off, or over the limit",
        hint=f"The file is damaged: fetch it again. A header has at most {MAX_HEADER:,} bytes.",
    )
