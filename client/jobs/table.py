"""Reading one table of a job file: every mistake is noted with its line, none ends the reading."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from client.jobs.quantities import plural
from client.jobs.toml_lines import KeyPath, line_of
from workunits.errors import LocalError, SwarmError

MAX_MISTAKES = 50
REQUIRED: Any = object()
"""As a default: the key must be there."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to correct: where, what, and how."""

    file: Path
    line: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class JobFileError(LocalError):
    """A job file, or a file that it names, is wrong. Carries every mistake that was found."""

    code = "job-file"

    def __init__(self, file: Path, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__(
            f"{plural(len(mistakes), 'mistake')} in {file}",
            hint="The format is described in docs/jobs.md.",
        )
        self.mistakes = mistakes


class Notes:
    """Collects mistakes in one job file."""

    def __init__(self, file: Path, lines: dict[KeyPath, int]) -> None:
        self.file = file
        self._lines = lines
        self._mistakes: list[Mistake] = []

    def add(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Note a mistake in the value at ``path``."""
        self.add_at(self.file, line_of(self._lines, path), message, hint)

    def add_error(self, path: KeyPath, error: SwarmError) -> None:
        """Note an error that a check of the value at ``path`` raised."""
        self.add(path, error.message, error.hint)

    def add_at(self, file: Path, line: int, message: str, hint: str = "") -> None:
        """Note a mistake in any file."""
        self._mistakes.append(Mistake(file, line, message, hint))

    def __bool__(self) -> bool:
        return bool(self._mistakes)

    def check(self) -> None:
        """Raise ``JobFileError`` when there are mistakes, in the order of the file."""
        if self._mistakes:
            ordered = sorted(self._mistakes, key=lambda each: (each.file != self.file, each.line))
            raise JobFileError(self.file, tuple(ordered[:MAX_MISTAKES]))


class Table:
    """One TOML table. Getters note mistakes and return the default; ``end`` notes the rest.

    A getter for a ``REQUIRED`` key returns its type's empty value after noting its absence.
    """

    def __init__(self, items: dict[str, Any], path: KeyPath, notes: Notes) -> None:
        self._items = dict(items)
        self._known: list[str] = []
        self.path = path
        self.notes = notes

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def wrong(self, key: str, message: str, hint: str = "") -> None:
        """Note a mistake in the value of ``key``."""
        self.notes.add((*self.path, key), f"{self._name(key)} {message}", hint)

    def take(self, key: str, default: Any = REQUIRED, hint: str = "") -> Any:
        """Take any value."""
        self._known.append(key)
        if key in self._items:
            return self._items.pop(key)
        if default is REQUIRED:
            self.notes.add(self.path, f"{self._name(key)} is missing", hint)
        return default

    def text(self, key: str, default: str = REQUIRED, hint: str = "") -> str:
        """Take a string."""
        value = self.take(key, default, hint)
        default = "" if default is REQUIRED else default
        return str(self._typed(key, value, str, "a string", default))

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Take an integer in ``[low, high]``."""
        value = int(self._typed(key, self.take(key, default), int, "a whole number", default))
        if not low <= value <= high:
            self.wrong(key, f"must be from {low:,} to {high:,}, and is {value:,}")
            return default
        return value

    def number(self, key: str, default: float) -> float:
        """Take a float or an integer."""
        value = self._typed(key, self.take(key, default), (int, float), "a number", default)
        try:
            return float(value)
        except OverflowError:
            self.wrong(key, "is too large")
            return default

    def flag(self, key: str, default: bool) -> bool:
        """Take a boolean."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            self.wrong(key, "must be true or false")
            return default
        return value

    def quantity(
        self,
        key: str,
        default: int,
        low: int,
        high: int,
        parse: Callable[[str], int],
        show: Callable[[int], str],
    ) -> int:
        """Take a whole number in ``[low, high]``, or a string that ``parse`` makes one of.

        ``parse`` raises ``ValueError`` that says what is accepted.
        """
        value = self.take(key, default)
        if isinstance(value, str):
            try:
                value = parse(value)
            except ValueError as error:
                self.notes.add((*self.path, key), f"{self._name(key)}: {error}")
                return default
        if type(value) is not int:
            self.wrong(key, "must be a whole number, or a string such as '90s' or '512MiB'")
            return default
        if not low <= value <= high:
            self.wrong(key, f"must be from {show(low)} to {show(high)}, and is {show(value)}")
            return default
        return value

    def texts(self, key: str, default: list[str] = REQUIRED) -> list[str]:
        """Take a list of strings."""
        value = self._typed(key, self.take(key, default), list, "a list of strings", [])
        for at, item in enumerate(value):
            if not isinstance(item, str):
                self.notes.add((*self.path, key, at), f"{self._name(key)} must hold strings only")
        return [item for item in value if isinstance(item, str)]

    def table(self, key: str, *, optional: bool = False) -> Self:
        """Take a table."""
        empty: dict[str, Any] = {}
        value = self._typed(
            key, self.take(key, empty if optional else REQUIRED), dict, "a table", empty
        )
        return type(self)(value, (*self.path, key), self.notes)

    def rest(self) -> dict[str, Any]:
        """Take everything that is left."""
        items, self._items = self._items, {}
        return items

    def end(self, hints: dict[str, str] | None = None) -> None:
        """Note every key that was not taken, with what may have been meant."""
        for key in self.rest():
            close = difflib.get_close_matches(key, self._known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(self._known)}."
            self.notes.add(
                (*self.path, key), f"unknown key {self._name(key)}", (hints or {}).get(key, hint)
            )

    def _name(self, key: str) -> str:
        return ".".join(str(part) for part in (*self.path, key))

    def _typed(self, key: str, value: Any, kind: Any, wanted: str, default: Any) -> Any:
        if value is REQUIRED:
            return default
        if value is default or (isinstance(value, kind) and not isinstance(value, bool)):
            return value
        self.wrong(key, f"must be {wanted}")
        return default
