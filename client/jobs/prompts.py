"""Files of prompts: one a line, a column of a CSV table, or JSON objects, one a line.

An object has a ``prompt``, or ``messages`` as the OpenAI API has them.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.jobs.table import Notes
from client.jobs.toml_lines import KeyPath
from workunits.errors import MalformedError
from workunits.models.template import MAX_MESSAGES, Message

MAX_FILE = 256 << 20
MAX_PROMPTS = 1_000_000
MAX_FIELD = 4 << 20
COLUMN = "prompt"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one unit asks, and the line that it comes from."""

    line: int
    messages: tuple[Message, ...]


def read_prompts(path: Path, column: str, key: KeyPath, notes: Notes) -> list[Prompt]:
    """The prompts in the file ``path``; what cannot be read is noted, with its line there.

    ``column`` names a column of a CSV table, or a key of the objects of a ``.jsonl`` file.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            notes.add(key, f"{path.name} has more than {MAX_FILE:,} bytes", "Split it.")
            return []
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "Paths are relative to the directory of the job file."
        notes.add(key, f"cannot read {path.name!r}: {reason}", hint)
        return []
    except UnicodeDecodeError:
        notes.add(key, f"{path.name} is not UTF-8 text")
        return []
    reader = {".csv": _rows, ".jsonl": _objects}.get(path.suffix, _lines)
    found: list[Prompt] = []
    try:
        for prompt in reader(text, column):
            found.append(prompt)
            if len(found) > MAX_PROMPTS:
                notes.add(key, f"more than {MAX_PROMPTS:,} prompts", "Split the file.")
                return []
    except _WrongError as error:
        notes.add_at(path, error.line, error.message, error.hint)
        return []
    if not found:
        notes.add(key, f"{path.name} has no prompts")
    return found


class _WrongError(MalformedError):
    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.line = line


def _lines(text: str, column: str) -> Iterator[Prompt]:
    if column:
        raise _WrongError(1, "a column is of a .csv or a .jsonl file")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield _asked(number, line.strip())


def _rows(text: str, column: str) -> Iterator[Prompt]:
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = next(reader, [])
        name = column or (COLUMN if COLUMN in header else "")
        if not name and len(header) == 1:
            (name,) = header
        if name not in header:
            known = ", ".join(header[:20]) or "none"
            raise _WrongError(
                1,
                f"there is no column {name or COLUMN!r}",
                f'There are: {known}. Say column = "…".',
            )
        at = header.index(name)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise _WrongError(
                    reader.line_num, f"{len(row)} fields, and the first line has {len(header)}"
                )
            yield _asked(reader.line_num, row[at])
    except csv.Error as error:
        raise _WrongError(reader.line_num, f"not a CSV table: {error}") from None


def _objects(text: str, column: str) -> Iterator[Prompt]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise _WrongError(number, "not JSON", "Write one object a line.") from None
        if not isinstance(value, dict):
            raise _WrongError(number, "not an object", 'For example: {"prompt": "Hello!"}')
        if not column and "messages" in value:
            yield Prompt(number, _messages(number, value["messages"]))
        elif isinstance(value.get(column or COLUMN), str):
            yield _asked(number, value[column or COLUMN])
        else:
            raise _WrongError(number, f"no text under {column or COLUMN!r}")


def _messages(number: int, value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_MESSAGES:
        raise _WrongError(number, f"messages must be a list of 1 to {MAX_MESSAGES:,}")
    found = []
    for each in value:
        role, content = (
            (each.get("role"), each.get("content")) if isinstance(each, dict) else (None, None)
        )
        if not isinstance(role, str) or not isinstance(content, str):
            raise _WrongError(number, "a message must have role and content, both text")
        found.append(Message(role, content))
    return tuple(found)


def _asked(number: int, text: str) -> Prompt:
    if not text.strip():
        raise _WrongError(number, "the prompt is empty")
    return Prompt(number, (Message("user", text),))
