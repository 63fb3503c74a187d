"""Reading a JSON object strictly: every field is named, typed and bounded; what is left is told.

Errors are ``ApiError`` with the path of the field, such as ``messages[2].content``.
"""

from collections.abc import Collection
from typing import Any

import orjson

from tracker.endpoint.errors import ApiError, Fault, invalid

MAX_BODY = 10_000_000
"""Bytes of a request's body."""

_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def read_object(raw: bytes, *, limit: int = MAX_BODY) -> "Fields":
    """Parse a body. Raises ``ApiError`` unless it is one JSON object of at most ``limit`` bytes."""
    if len(raw) > limit:
        raise too_large(limit)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(value, dict):
        raise invalid(f"The body must be a JSON object, but it is {kind_of(value)}.")
    return Fields(value)


def too_large(limit: int) -> ApiError:
    """The body is over ``limit`` bytes."""
    return ApiError(
        Fault.LARGE, f"The request is larger than {limit:,} bytes. Send less.", tag="too_large"
    )


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return _NAMES.get(type(value), "something else")


class Fields:
    """A JSON object that is read field by field. ``null`` is the same as not there."""

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        self._left = {name: value for name, value in values.items() if value is not None}
        self._path = path

    def name(self, field: str) -> str:
        """The path of a field."""
        return f"{self._path}.{field}" if self._path else field

    def has(self, field: str) -> bool:
        """Whether it is there, and was not read yet."""
        return field in self._left

    def raw(self, field: str) -> Any:
        """A field of any type; None if it is not there."""
        return self._left.pop(field, None)

    def missing(self, field: str) -> ApiError:
        """The error of a field that must be there."""
        name = self.name(field)
        return invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")

    def wrong(self, field: str, wanted: str, value: object) -> ApiError:
        """The error of a field of another type."""
        name = self.name(field)
        return invalid(
            f"Invalid type for '{name}': expected {wanted}, but got {kind_of(value)} instead.",
            name,
            "invalid_type",
        )

    def bad(self, field: str, why: str) -> ApiError:
        """The error of a field whose value is not allowed."""
        name = self.name(field)
        return invalid(f"Invalid value for '{name}': {why}.", name, "invalid_value")

    def text(self, field: str, *, limit: int, default: str | None = None) -> str:
        """A string of at most ``limit`` letters; it must be there unless there is a default."""
        value = self.raw(field)
        if value is None:
            if default is None:
                raise self.missing(field)
            return default
        if not isinstance(value, str):
            raise self.wrong(field, "a string", value)
        if len(value) > limit:
            raise self.bad(field, f"it is longer than {limit:,} letters")
        return value

    def flag(self, field: str, *, default: bool = False) -> bool:
        """A boolean."""
        value = self.raw(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(field, "a boolean", value)
        return value

    def integer(self, field: str, low: int, high: int) -> int | None:
        """An integer in the bounds, or None."""
        value = self.raw(field)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)  # JSON does not tell 5.0 from 5
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(field, "an integer", value)
        self._check(field, value, low, high)
        return value

    def number(self, field: str, low: float, high: float) -> float | None:
        """A number in the bounds, or None."""
        value = self.raw(field)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(field, "a number", value)
        self._check(field, value, low, high)
        return float(value)

    def items(self, field: str, most: int) -> list[Any] | None:
        """An array of at most ``most`` values of any type, or None."""
        value = self.raw(field)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.wrong(field, "an array", value)
        if len(value) > most:
            raise self.bad(field, f"it has more than {most:,} items")
        return value

    def group(self, field: str) -> "Fields | None":
        """An object, or None."""
        value = self.raw(field)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(field, "an object", value)
        return Fields(value, self.name(field))

    def groups(self, field: str, most: int) -> "list[Fields] | None":
        """An array of objects, or None."""
        values = self.items(field, most)
        if values is None:
            return None
        return [self.element(field, at, value) for at, value in enumerate(values)]

    def element(self, field: str, at: int, value: object) -> "Fields":
        """One object of an array."""
        place = f"{field}[{at}]"
        if not isinstance(value, dict):
            raise self.wrong(place, "an object", value)
        return Fields(value, self.name(place))

    def ignore(self, *fields: str) -> None:
        """Fields that change nothing about an answer."""
        for field in fields:
            self._left.pop(field, None)

    def end(self, known: Collection[str] = ()) -> None:
        """Raise if there are fields that nobody read."""
        for field in self._left:
            if field not in known:
                name = self.name(field)[:200]
                raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")

    def _check(self, field: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:
            raise self.bad(field, f"expected a value from {low} to {high}, but got {value}")
