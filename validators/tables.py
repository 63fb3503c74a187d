"""Tables and other text that are the same but for numbers that are close."""

import csv
from collections.abc import Sequence
from io import StringIO
from typing import TypeAlias

from validators.closeness import Tolerance, number
from workunits.errors import MalformedError

Rows: TypeAlias = list[list[str]]

MAX_CELL = 1 << 17
"""Characters. Ours, because that of ``csv`` is one for the process, which anybody may raise."""


def csv_close(one: bytes, other: bytes, tolerance: Tolerance) -> bool:
    """Whether two ``.csv`` files have the same rows of close cells; a cell may be in quotes.

    Raises ``MalformedError`` for what is not CSV (RFC 4180) in UTF-8.
    """
    return _close(parse(one, ","), parse(other, ","), tolerance)


def tsv_close(one: bytes, other: bytes, tolerance: Tolerance) -> bool:
    """The same for ``.tsv`` files, whose cells end at tabs."""
    return _close(parse(one, "\t"), parse(other, "\t"), tolerance)


def text_close(one: bytes, other: bytes, tolerance: Tolerance) -> bool:
    """Whether two texts have the same lines of close cells, which end at commas.

    Raises ``MalformedError`` for what is not UTF-8.
    """
    left, right = (_lines(_text(each)) for each in (one, other))
    return _close(left, right, tolerance)


def parse(raw: bytes, delimiter: str) -> Rows:
    """The rows of a CSV file, cells without their quotes. Raises ``MalformedError``."""
    try:
        lines = StringIO(_text(raw), newline="")
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise MalformedError(f"not a table: {error}") from None
    if any(len(cell) > MAX_CELL for row in rows for cell in row):
        raise MalformedError(f"not a table: a cell has more than {MAX_CELL} characters")
    return rows


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"not UTF-8: {error}") from None


def _lines(text: str) -> Rows:
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.split(",") for line in lines]


def _close(one: Rows, other: Rows, tolerance: Tolerance) -> bool:
    return len(one) == len(other) and all(
        len(left) == len(right)
        and all(_cell_close(a, b, tolerance) for a, b in zip(left, right, strict=True))
        for left, right in zip(one, other, strict=True)
    )


def _cell_close(one: str, other: str, tolerance: Tolerance) -> bool:
    """A cell is its words: white space around and between them only separates."""
    return one == other or _words_close(one.split(), other.split(), tolerance)


def _words_close(one: Sequence[str], other: Sequence[str], tolerance: Tolerance) -> bool:
    return len(one) == len(other) and all(
        a == b or _word_close(a, b, tolerance) for a, b in zip(one, other, strict=True)
    )


def _word_close(one: str, other: str, tolerance: Tolerance) -> bool:
    left, right = number(one), number(other)
    return left is not None and right is not None and tolerance.close(left, right)
