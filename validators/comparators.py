"""When two results count as the same. Pure functions over bytes that strangers sent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from validators import arrays, documents, tables
from validators.closeness import Tolerance
from workunits.errors import MalformedError
from workunits.results import Result
from workunits.verification import Comparator, Comparison

_FORMATS = {
    ".json": documents.close,
    ".csv": tables.csv_close,
    ".tsv": tables.tsv_close,
    ".npy": arrays.close,
}


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
    """The same ending, exit status and output names, and numbers that are close everywhere.

    The ending of an output's name, in lower or upper case, says how to read it: ``.json`` as
    JSON, ``.csv`` and ``.tsv`` as a table, ``.npy`` as an array, anything else as lines of text.
    Structure and order must be the same, and so must all that is not a number. Two numbers are
    close if ``|a - b| <= max(rtol * max(|a|, |b|), atol)``; NaN is close to NaN, an infinity to
    itself. Files that cannot be read agree only when their bytes are equal. ``docs/comparing.md``
    has every rule. Symmetric and reflexive, not transitive.
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
    tolerance = Tolerance(rtol, atol)
    return all(
        a == b or _file_close(output.name, a, b, tolerance)
        for output, a, b in zip(left.outputs, one.contents, other.contents, strict=True)
    )


def _file_close(name: str, one: bytes, other: bytes, tolerance: Tolerance) -> bool:
    lower = name.lower()
    kinds = (close for ending, close in _FORMATS.items() if lower.endswith(ending))
    close = next(kinds, tables.text_close)
    try:
        return close(one, other, tolerance)
    except MalformedError:
        return False
