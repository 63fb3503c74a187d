"""Strict reading of JSON that a tracker sent. Unknown keys are ignored: answers may grow."""

import json
import math
from typing import Any, Self

from workunits.errors import LimitError, MalformedError

MAX_INTEGER = 2**63 - 1
_COMMANDS = {at: None for at in (*range(32), *range(0x7F, 0xA0)) if chr(at) not in "\n\t"}


def decode_object(raw: bytes | str, *, limit: int, what: str) -> "JsonFields":
    """Decode a JSON object of at most ``limit`` bytes.

    Raises ``LimitError`` and ``MalformedError``.
    """
    if len(raw) > limit:
        raise LimitError(f"{what} of {len(raw):,} bytes is over the limit of {limit:,}")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise MalformedError(
            f"{what} is not JSON", hint="Check that the address is that of a tracker."
        ) from None
    return JsonFields.of(value, what)


class JsonFields:
    """A JSON object. Every getter raises ``MalformedError`` that names the message and the key."""

    __slots__ = ("_items", "_what")

    def __init__(self, items: dict[str, Any], what: str) -> None:
        self._items = items
        self._what = what

    @classmethod
    def of(cls, value: object, what: str) -> Self:
        """Wrap ``value``, which must be an object."""
        if not isinstance(value, dict):
            raise MalformedError(f"{what} is not a JSON object")
        return cls(value, what)

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and not null."""
        return self._items.get(key) is not None

    def integer(
        self, key: str, low: int = 0, high: int = MAX_INTEGER, *, default: int | None = None
    ) -> int:
        """An integer in ``[low, high]``."""
        value = self._get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(key, f"an integer from {low} to {high}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._get(key, None)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self._wrong(key, "a number")
        return float(value)

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """A boolean."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def text(self, key: str, *, limit: int = 1000, default: str | None = None) -> str:
        """Printable text of at most ``limit`` characters; control characters are replaced."""
        value = self._get(key, default)
        if not isinstance(value, str) or len(value) > limit:
            raise self._wrong(key, f"text of at most {limit} characters")
        return value if value.isprintable() else _printable(value)

    def prose(self, key: str, *, limit: int) -> str:
        """Text of any lines; other control characters than tabs and line ends are left out."""
        value = self._get(key, None)
        if not isinstance(value, str) or len(value) > limit:
            raise self._wrong(key, f"text of at most {limit} characters")
        return value.translate(_COMMANDS)

    def octets(self, key: str, length: int) -> bytes:
        """Exactly ``length`` bytes, as hex digits."""
        return self._hex(key, self._get(key, None), length)

    def octets_list(self, key: str, length: int, count: int) -> tuple[bytes, ...]:
        """A list of at most ``count`` byte strings, as hex digits."""
        return tuple(self._hex(key, item, length) for item in self.items(key, count))

    def items(self, key: str, count: int) -> list[Any]:
        """A list of at most ``count`` values."""
        value = self._get(key, None)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        if len(value) > count:
            raise LimitError(f"{self._what}: {key} has {len(value)} entries, more than {count}")
        return value

    def groups(self, key: str, count: int) -> list["JsonFields"]:
        """A list of at most ``count`` objects."""
        return [JsonFields.of(item, f"{self._what}: {key}") for item in self.items(key, count)]

    def group(self, key: str) -> "JsonFields":
        """An object."""
        return JsonFields.of(self._get(key, None), f"{self._what}: {key}")

    def texts(self, key: str, count: int, limit: int) -> dict[str, str]:
        """An object of at most ``count`` texts."""
        value = self._get(key, None)
        if not isinstance(value, dict) or len(value) > count:
            raise self._wrong(key, f"an object of at most {count} texts")
        group = JsonFields.of(value, f"{self._what}: {key}")
        return {name: group.text(name, limit=limit) for name in value}

    def integers(self, key: str, count: int) -> dict[str, int]:
        """An object of at most ``count`` integers, 0 or more."""
        value = self._get(key, None)
        if not isinstance(value, dict) or len(value) > count:
            raise self._wrong(key, f"an object of at most {count} integers")
        group = JsonFields.of(value, f"{self._what}: {key}")
        return {name: group.integer(name) for name in value}

    def _get(self, key: str, default: Any) -> Any:
        value = self._items.get(key)
        if value is None and default is None:
            raise MalformedError(f"{self._what} lacks {key!r}")
        return default if value is None else value

    def _hex(self, key: str, value: object, length: int) -> bytes:
        try:
            raw = bytes.fromhex(value) if isinstance(value, str) else b""
        except ValueError:
            raw = b""
        if not isinstance(value, str) or len(raw) != length or len(value) != 2 * length:
            raise self._wrong(key, f"{2 * length} hex digits")
        return raw

    def _wrong(self, key: str, wanted: str) -> MalformedError:
        return MalformedError(f"{self._what}: {key} must be {wanted}")


def _printable(text: str) -> str:
    """Terminals obey control characters; what a remote sent must not speak to them."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text
    )
