"""JSON documents that are the same but for numbers that are close."""

import json

from validators.closeness import Tolerance, number
from workunits.errors import MalformedError

MAX_DEPTH = 100
"""Lists and objects in each other."""


def close(one: bytes, other: bytes, tolerance: Tolerance) -> bool:
    """Whether two JSON files hold the same structure, in the same order, with close numbers.

    1 and 1.0 are the same number; true and 1 are not. Raises ``MalformedError`` as ``parse`` does.
    """
    return _close(parse(one), parse(other), tolerance)


def parse(raw: bytes) -> object:
    """Read a JSON document (RFC 8259) in UTF-8; NaN, Infinity and -Infinity are numbers.

    Raises ``MalformedError`` for anything else: a key twice in one object, a number that is none
    to ``closeness.number``, more than ``MAX_DEPTH`` levels.
    """
    try:
        value: object = json.loads(
            raw.decode(),
            object_pairs_hook=_object,
            parse_int=_number,
            parse_float=_number,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not a JSON document: {error}") from None
    _check_depth(value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _number(text: str) -> float:
    value = number(text)
    if value is None:
        raise ValueError("a number is too large or too long")
    return value


def _check_depth(value: object) -> None:
    """The parser's own limit moves with the stack that it is called from; this one does not."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for each in level:
            if isinstance(each, list):
                inner += each
            elif isinstance(each, dict):
                inner += each.values()
        if not inner:
            return
        level = inner
    raise MalformedError(f"JSON nested in more than {MAX_DEPTH} levels")


def _close(one: object, other: object, tolerance: Tolerance) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return tolerance.close(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _close(a, b, tolerance) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(
            _close(one[key], other[key], tolerance) for key in one
        )
    return type(one) is type(other) and one == other
