"""When two results count as the same. Pure functions over bytes that strangers sent."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from workunits.results import Result
from workunits.verification import Comparator, Comparison

_PARSE_ERRORS = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Finding:
    """A revealed result; ``contents`` are its outputs, where the comparator needs them."""

    result: Result
    contents: tuple[bytes, ...] = ()


Agree: TypeAlias = Callable[[Finding, Finding], bool]


def comparator(settings: Comparator) -> Agree:
    """The comparison that a manifest asks for. Symmetric; ``numeric`` is not transitive."""
    if settings.kind is not Comparison.NUMERIC:
        return exact
    return lambda one, other: numeric(one, other, settings.rtol, settings.atol)


def exact(one: Finding, other: Finding) -> bool:
    """The same digest: the same ending, exit status, names and bytes."""
    return one.result.digest == other.result.digest


def numeric(one: Finding, other: Finding, rtol: float, atol: float) -> bool:
    """The same ending and names, and numbers that are close everywhere.

    ``.json`` outputs are compared as JSON: same structure, same order, numbers close. Other
    outputs are compared as text: the same lines of the same cells (split at commas and white
    space), where two cells that are both numbers need only be close. Close means
    ``|a - b| <= max(rtol * max(|a|, |b|), atol)``; NaN is close to NaN, an infinity to itself.
    """
    if exact(one, other):
        return True
    left, right = one.result, other.result
    if (left.ending, left.exit_status) != (right.ending, right.exit_status):
        return False
    if [each.name for each in left.outputs] != [each.name for each in right.outputs]:
        return False
    if not len(left.outputs) == len(one.contents) == len(other.contents):
        return False
    return all(
        _file_close(output.name, a, b, rtol, atol)
        for output, a, b in zip(left.outputs, one.contents, other.contents, strict=True)
    )


def _file_close(name: str, one: bytes, other: bytes, rtol: float, atol: float) -> bool:
    if one == other:
        return True
    try:
        left, right = one.decode(), other.decode()
        if name.endswith(".json"):
            return _json_close(json.loads(left), json.loads(right), rtol, atol)
    except _PARSE_ERRORS:
        return False
    lines = left.splitlines(), right.splitlines()
    return len(lines[0]) == len(lines[1]) and all(
        _line_close(a, b, rtol, atol) for a, b in zip(*lines, strict=True)
    )


def _line_close(one: str, other: str, rtol: float, atol: float) -> bool:
    left, right = (line.replace(",", " ").split() for line in (one, other))
    return len(left) == len(right) and all(
        a == b or _cell_close(a, b, rtol, atol) for a, b in zip(left, right, strict=True)
    )


def _cell_close(one: str, other: str, rtol: float, atol: float) -> bool:
    try:
        return _close(float(one), float(other), rtol, atol)
    except ValueError:
        return False


def _json_close(one: object, other: object, rtol: float, atol: float) -> bool:
    if isinstance(one, bool) or isinstance(other, bool) or one is None or isinstance(one, str):
        return type(one) is type(other) and one == other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return _close(one, other, rtol, atol)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _json_close(a, b, rtol, atol) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(
            _json_close(one[key], other[key], rtol, atol) for key in one
        )
    return False


def _close(one: float, other: float, rtol: float, atol: float) -> bool:
    if one == other:
        return True
    try:
        one, other = float(one), float(other)
    except OverflowError:  # integers beyond a double: equal or not, nothing in between
        return False
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=rtol, abs_tol=atol)
