"""On which line a TOML key stands. ``tomllib`` says what a document means, not where.

A small scanner over text that ``tomllib`` has already accepted (TOML 1.0). It follows only what
moves a key: tables, arrays of tables, dotted keys, inline tables, arrays and strings.
"""

import re
import tomllib
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: table names, and positions inside of arrays."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_ERROR_PLACE = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)\s*$")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every key, table and array entry of valid TOML ``text``.

    A table that is only implied by its children has the line of the first of them. Text that
    ``tomllib`` refuses gives an incomplete answer, never an exception.
    """
    return _Scanner(text).scan()


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of ``path``, or of the nearest table around it that has one; 1 at the top."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


def error_line(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """The line that a syntax error of ``tomllib`` names, and its message without the place."""
    message = str(error)
    match = _ERROR_PLACE.search(message)
    if match is None:
        return 1, message
    line = int(match[1]) if match[1] else text.count("\n") + 1
    return line, message[: match.start()].rstrip()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = 0
        self._line = 1
        self._lines: dict[KeyPath, int] = {}
        self._arrays: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self._text):
            start = self._at
            if self._next("[["):
                table = self._entry(self._key())
                self._next("]]")
            elif self._next("["):
                table = self._resolve(self._key())
                self._note(table)
                self._next("]")
            else:
                self._pair(table)
            if self._at == start:  # not TOML: step over it
                self._at += 1
        return self._lines

    def _entry(self, names: tuple[str, ...]) -> KeyPath:
        array = (*self._resolve(names[:-1]), *names[-1:])
        position = self._arrays.get(array, -1) + 1
        self._arrays[array] = position
        self._note(array)
        self._note((*array, position))
        return (*array, position)

    def _resolve(self, names: tuple[str, ...]) -> KeyPath:
        """A header names the last entry of an array of tables by the array's name."""
        path: KeyPath = ()
        for name in names:
            path = (*path, name)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._here()
        names = self._key()
        path: KeyPath = (*table, *names)
        self._note(path, line)
        self._skip(_SPACE)
        if self._next("="):
            self._skip(_SPACE)
            self._value(path)

    def _key(self) -> tuple[str, ...]:
        names = []
        while True:
            self._skip(_SPACE)
            if string := self._string():
                names.append(_text_of(string))
            elif match := _BARE_KEY.match(self._text, self._at):
                self._at = match.end()
                names.append(match[0])
            else:
                break
            self._skip(_SPACE)
            if not self._next("."):
                break
        return tuple(names)

    def _value(self, path: KeyPath) -> None:
        if self._string():
            return
        if self._next("["):
            self._array(path)
        elif self._next("{"):
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        position = 0
        while self._skip(_BLANK) < len(self._text) and not self._next("]"):
            start = self._at
            self._note((*path, position))
            self._value((*path, position))
            position += 1
            self._skip(_BLANK)
            self._next(",")
            if self._at == start:
                return

    def _inline_table(self, path: KeyPath) -> None:
        while self._skip(_SPACE) < len(self._text) and not self._next("}"):
            start = self._at
            self._pair(path)
            self._skip(_SPACE)
            self._next(",")
            if self._at == start:
                return

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _note(self, path: KeyPath, line: int = 0) -> None:
        line = line or self._here()
        for size in range(1, len(path) + 1):
            self._lines.setdefault(path[:size], line)

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _next(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at


def _text_of(quoted: str) -> str:
    """The name that a quoted key spells."""
    try:
        return next(iter(tomllib.loads(f"{quoted} = 1")))
    except tomllib.TOMLDecodeError:
        return quoted
