"""What people and scripts see: tables, JSON, errors. Progress bars load ``rich`` when needed."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workunits.errors import SwarmError

if TYPE_CHECKING:
    from rich.console import Console


def color_choice(environment: Mapping[str, str]) -> bool | None:
    """Whether to colour: never with ``NO_COLOR`` (no-color.org); ``None`` asks the terminal."""
    return False if environment.get("NO_COLOR") else None


def plain(value: Any) -> Any:
    """``value`` as JSON types: dataclasses become objects, bytes hex, tuples lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def show_json(value: Any, *, error: bool = False) -> None:
    """Print ``value`` as one line of JSON."""
    click.echo(json.dumps(plain(value), ensure_ascii=False), err=error)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under bold columns. Numbers stand right, nothing is cut."""
    cells = [[_cell(value) for value in row] for row in rows]
    right = [
        all(text.lstrip("-")[:1].isdigit() or text in ("", "-") for text in column)
        for column in zip(*cells, strict=True)
    ] or [False] * len(columns)
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for number, line in enumerate([list(columns), *cells]):
        parts = [
            text.rjust(width) if number_like else text.ljust(width)
            for text, width, number_like in zip(line, widths, right, strict=True)
        ]
        text = "  ".join(parts).rstrip()
        click.echo(text if number else click.style(text, bold=True))


def show_facts(facts: Mapping[str, object]) -> None:
    """Print names and values under each other."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {_cell(value)}")


def note(text: str) -> None:
    """Tell a person something that is not the command's answer: to standard error."""
    click.echo(text, err=True)


def console() -> "Console":
    """A ``rich`` console on standard error, for live displays."""
    from rich.console import Console

    return Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))


def date(unix: float) -> str:
    """A time for people, in their own time zone."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(unix, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def day(unix: float, now: float) -> str:
    """A time for narrow tables: without the year if it is this year's, else without the hour."""
    text = date(unix)
    return text[5:16] if text[:4] == date(now)[:4] else text[:10]


def cut(text: str, room: int) -> str:
    """As much of ``text`` as fits into ``room`` columns; dots stand for the rest."""
    return text if len(text) <= room else f"{text[: room - 3]}..."


def error_value(error: SwarmError) -> dict[str, Any]:
    """An error as the JSON object that ``--json`` prints."""
    value: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "blame": error.blame.value,
    }
    if mistakes := getattr(error, "mistakes", ()):
        value["mistakes"] = plain(mistakes)
    return {"error": value}


def show_error(error: SwarmError, *, as_json: bool, color: bool | None = None) -> None:
    """Print an error with its hint to standard error."""
    if as_json:
        show_json(error_value(error), error=True)
        return
    lines = []
    for mistake in getattr(error, "mistakes", ()):
        lines.append(f"{mistake}")
        if mistake.hint:
            lines.append(f"    {mistake.hint}")
    lines.append(f"{click.style('error:', fg='red', bold=True)} {error.message}")
    if error.hint:
        lines.append(f"{click.style('hint:', fg='cyan', bold=True)} {error.hint}")
    click.echo("\n".join(lines), err=True, color=color)


def _cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case None:
            return "-"
    return str(value)
