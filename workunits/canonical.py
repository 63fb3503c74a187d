"""Canonical bencode: one value, one encoding (BEP 3).

What we hash and sign must have one spelling, so decoding refuses every other one as it goes:
unsorted or duplicate keys, leading zeros, bytes after the end. The library writes; reading is
ours, because its decoder takes more than one spelling, and goes round for ever on a key of negative
length.
"""

from typing import TypeAlias, cast

import bencodepy

from workunits.errors import LimitError, MalformedError

Value: TypeAlias = int | bytes | list["Value"] | dict[bytes, "Value"]
"""What canonical bencode can hold. Text is UTF-8 bytes."""

MAX_DEPTH = 16
MAX_INTEGER = 2**63 - 1
MAX_DIGITS = 22
_ZERO, _NINE, _INTEGER, _DICTIONARY, _LIST, _END = b"09idle"


def encode(value: object) -> bytes:
    """Return the canonical bencoding of ``value`` (int, bytes, str, list, tuple, dict)."""
    return cast("bytes", bencodepy.encode(value))


def decode(raw: bytes, *, limit: int, what: str = "message", depth: int = MAX_DEPTH) -> Value:
    """Decode ``raw`` strictly.

    Raises ``LimitError`` above ``limit`` bytes, and ``MalformedError`` for anything that is not
    the one canonical encoding of its value, is nested deeper than ``depth``, or holds an integer
    beyond 64 bits.
    """
    if len(raw) > limit:
        raise LimitError(f"{what} of {len(raw)} bytes is over the limit of {limit}")
    try:
        value, end = _read(raw, 0, depth)
    except IndexError:
        raise MalformedError(f"{what} is not canonical bencode: it is cut off") from None
    except ValueError as error:
        raise MalformedError(f"{what} is not canonical bencode: {error}") from None
    if end != len(raw):
        raise MalformedError(f"{what} is not canonical bencode: bytes after the end")
    return value


def _read(raw: bytes, at: int, left: int) -> tuple[Value, int]:
    head = raw[at]
    if _ZERO <= head <= _NINE:
        return _read_string(raw, at)
    if head == _INTEGER:
        end = raw.index(b"e", at, at + MAX_DIGITS)
        number = int(raw[at + 1 : end])
        if b"%d" % number != raw[at + 1 : end] or abs(number) > MAX_INTEGER:
            raise ValueError("an integer has a second spelling, or is beyond 64 bits")
        return number, end + 1
    if not left:
        raise ValueError("nested too deep")
    if head == _DICTIONARY:
        return _read_dictionary(raw, at + 1, left - 1)
    if head == _LIST:
        items: list[Value] = []
        at += 1
        while raw[at] != _END:
            item, at = _read(raw, at, left - 1)
            items.append(item)
        return items, at + 1
    raise ValueError(f"no value starts with {raw[at : at + 1]!r}")


def _read_dictionary(raw: bytes, at: int, left: int) -> tuple[Value, int]:
    items: dict[bytes, Value] = {}
    before: bytes | None = None
    while raw[at] != _END:
        key, at = _read_string(raw, at)
        if before is not None and key <= before:
            raise ValueError("unsorted or duplicate keys")
        before = key
        if _ZERO <= raw[at] <= _NINE:
            items[key], at = _read_string(raw, at)
        else:
            items[key], at = _read(raw, at, left)
    return items, at + 1


def _read_string(raw: bytes, at: int) -> tuple[bytes, int]:
    colon = raw.index(b":", at, at + MAX_DIGITS)
    digits = raw[at:colon]
    if not digits.isdigit() or (digits[0] == _ZERO and len(digits) > 1):
        raise ValueError("a string's length is not a plain number")
    start = colon + 1
    end = start + int(digits)
    if end > len(raw):
        raise ValueError("a string ends beyond the end")
    return raw[start:end], end


def decode_fields(raw: bytes, *, limit: int, what: str) -> "Fields":
    """Decode a canonical dictionary and return it ready for strict reading."""
    return Fields.of(decode(raw, limit=limit, what=what), what)


class Fields:
    """A decoded dictionary, read key by key; what was not read at ``end`` is refused.

    Every getter raises ``MalformedError`` that names the message and the field.
    """

    __slots__ = ("_items", "_what")

    def __init__(self, items: dict[bytes, Value], what: str) -> None:
        self._items = dict(items)
        self._what = what

    @classmethod
    def of(cls, value: Value, what: str) -> "Fields":
        """Wrap ``value``, which must be a dictionary."""
        if not isinstance(value, dict):
            raise MalformedError(f"{what} is not a dictionary")
        return cls(value, what)

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and not read yet."""
        return key.encode() in self._items

    def integer(self, key: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Take an integer in ``[low, high]``."""
        value = self._take(key)
        if not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(key, f"an integer from {low} to {high}")
        return value

    def flag(self, key: str) -> bool:
        """Take 0 or 1."""
        return self.integer(key, 0, 1) == 1

    def octets(self, key: str, *, length: int | None = None, limit: int = 2**31) -> bytes:
        """Take a byte string of exactly ``length`` bytes, or of at most ``limit``."""
        value = self._take(key)
        if not isinstance(value, bytes):
            raise self._wrong(key, "a byte string")
        if length is not None and len(value) != length:
            raise self._wrong(key, f"{length} bytes, and is {len(value)}")
        if len(value) > limit:
            raise LimitError(f"{self._what}: {key} of {len(value)} bytes is over {limit}")
        return value

    def text(self, key: str, *, limit: int) -> str:
        """Take UTF-8 text of at most ``limit`` bytes."""
        return self._text(key, self.octets(key, limit=limit))

    def texts(self, key: str, *, count: int, limit: int) -> tuple[str, ...]:
        """Take a list of at most ``count`` texts of at most ``limit`` bytes each."""
        return tuple(self._text(key, block) for block in self.blocks(key, count, limit))

    def items(self, key: str, count: int) -> list[Value]:
        """Take a list of at most ``count`` values."""
        value = self._take(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        if len(value) > count:
            raise LimitError(f"{self._what}: {key} has {len(value)} entries, more than {count}")
        return value

    def groups(self, key: str, count: int) -> list["Fields"]:
        """Take a list of at most ``count`` dictionaries."""
        return [Fields.of(item, f"{self._what}: {key}") for item in self.items(key, count)]

    def group(self, key: str) -> "Fields":
        """Take a dictionary."""
        return Fields.of(self._take(key), f"{self._what}: {key}")

    def blocks(self, key: str, count: int, limit: int) -> tuple[bytes, ...]:
        """Take a list of at most ``count`` byte strings of at most ``limit`` bytes each."""
        return tuple(self._bounded(key, item, limit) for item in self.items(key, count))

    def keys(self) -> tuple[str, ...]:
        """The keys that were not read yet, in order."""
        return tuple(self._text("key", key) for key in self._items)

    def end(self) -> None:
        """Refuse whatever was not read."""
        if self._items:
            extra = ", ".join(sorted(repr(key)[1:] for key in self._items))
            raise MalformedError(f"{self._what} has unknown fields: {extra[:200]}")

    def _take(self, key: str) -> Value:
        try:
            return self._items.pop(key.encode())
        except KeyError:
            raise MalformedError(f"{self._what} lacks the field {key!r}") from None

    def _wrong(self, key: str, wanted: str) -> MalformedError:
        return MalformedError(f"{self._what}: {key} must be {wanted}")

    def _bounded(self, key: str, value: Value, limit: int) -> bytes:
        if not isinstance(value, bytes):
            raise self._wrong(key, "byte strings")
        if len(value) > limit:
            raise LimitError(f"{self._what}: {key} of {len(value)} bytes is over {limit}")
        return value

    def _text(self, key: str, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise self._wrong(key, "UTF-8 text") from None
