"""The ``[parameters]`` table of a job file: what differs between the units."""

import csv
from pathlib import Path
from typing import Any

from client.jobs.files import JobFiles
from client.jobs.table import Notes, Table
from client.jobs.toml_lines import KeyPath
from workunits.errors import MalformedError, SwarmError
from workunits.names import parameter_name, plain_text
from workunits.parameters import (
    MAX_AXES,
    MAX_UNITS,
    MAX_VALUE_BYTES,
    MAX_VALUES,
    Axis,
    Combine,
    Files,
    Range,
    Sweep,
    Values,
)

MAX_TABLE = 64 << 20
"""Bytes of a CSV or a list of lines."""

_FORMS = (
    'Write a list, { range = [start, stop, step] }, { files = "*.csv" } or { lines = "list.txt" }.'
)


class SpelledFloat(float):
    """A float that remembers how it was written: a parameter of ``0.10`` stays ``0.10``."""

    text: str

    def __new__(cls, text: str) -> "SpelledFloat":
        value = super().__new__(cls, text)
        value.text = text.replace("_", "")
        return value


def read_sweep(table: Table, files: JobFiles) -> Sweep:
    """Read ``[parameters]``. Mistakes are noted; the sweep is what was right."""
    notes = table.notes
    combine = table.text("combine", "product") if "combine" in table else "product"
    if combine not in list(Combine):
        table.wrong("combine", 'must be "product" or "zip"')
        combine = "product"
    if "rows" in table:
        axes = _rows(table)
        combine = Combine.ZIP
        for name in table.rest():
            notes.add((*table.path, name), "rows stand alone: put this parameter into the table")
    else:
        axes = _axes(table.rest(), table.path, notes, files)
    sweep = Sweep(tuple(axes), Combine(combine))
    if not notes:
        if len(axes) > MAX_AXES:
            notes.add(table.path, f"{len(axes)} parameters are more than {MAX_AXES}")
        try:
            sweep.check()
        except SwarmError as error:
            notes.add_error(table.path, error)
    return sweep


def _axes(items: dict[str, Any], path: KeyPath, notes: Notes, files: JobFiles) -> list[Axis]:
    axes = []
    for name, value in items.items():
        try:
            parameter_name(name, "parameter")
        except MalformedError as error:
            notes.add_error((*path, name), error)
        axis = _axis(name, value, (*path, name), notes, files)
        if axis is not None:
            axes.append(axis)
    return axes


def _axis(name: str, value: Any, path: KeyPath, notes: Notes, files: JobFiles) -> Axis | None:
    if isinstance(value, list):
        return _listed(name, value, path, notes)
    if not isinstance(value, dict):
        notes.add(path, f"parameter {name} must be a list or a table", f"For one value: [{value}].")
        return None
    form = Table(value, path, notes)
    axis: Axis | None = None
    if "range" in form:
        axis = _range(name, form)
    elif "files" in form:
        if pattern := form.text("files"):
            axis = Files(name, files.matching(pattern, (*path, "files")))
            _unique_names(axis, path, notes)
    elif "lines" in form:
        axis = _lines(name, form)
    else:
        notes.add(path, f"parameter {name} has no values", _FORMS)
        return None
    form.end()
    return axis


def _unique_names(axis: Files, path: KeyPath, notes: Notes) -> None:
    names = [file.name for file in axis.files]
    for name in sorted({name for name in names if names.count(name) > 1})[:5]:
        notes.add(
            path, f"two files of parameter {axis.name} are named {name!r}", "Rename one of them."
        )


def _listed(name: str, value: list[Any], path: KeyPath, notes: Notes) -> Values:
    texts = []
    if not value:
        notes.add(path, f"parameter {name} has no values")
    for at, item in enumerate(value):
        text = _spell(item)
        problem = "must be strings, numbers or booleans" if text is None else _problem(text)
        if problem:
            notes.add((*path, at), f"the values of {name} {problem}")
        texts.append(text or "")
    if len(value) > MAX_VALUES:
        notes.add(path, f"{len(value):,} values of {name} are more than {MAX_VALUES:,}")
    return Values(name, tuple(texts))


def _spell(value: Any) -> str | None:
    """How a TOML value is written on a command line."""
    match value:
        case bool():
            return "true" if value else "false"
        case SpelledFloat():
            return value.text
        case str() | int():
            return str(value)
    return None


def _problem(text: str) -> str:
    try:
        plain_text(text, "a value")
        size = len(text.encode())
    except MalformedError:
        return "must not hold control characters"
    return f"must have at most {MAX_VALUE_BYTES} bytes" if size > MAX_VALUE_BYTES else ""


def _range(name: str, form: Table) -> Range | None:
    value = form.take("range")
    if (
        not isinstance(value, list)
        or len(value) not in (2, 3)
        or not all(type(item) is int for item in value)
    ):
        form.wrong("range", "must be [start, stop] or [start, stop, step], whole numbers")
        return None
    start, stop, step = (*value, 1)[:3]
    if not (abs(start) <= 2**62 and abs(stop) <= 2**62 and 0 < abs(step) <= 2**40):
        form.wrong("range", "is out of bounds: up to 2^62, in steps of 1 to 2^40")
        return None
    count = len(range(start, stop, step))
    if not count:
        form.wrong("range", "has no values", "The stop is not included, as in Python.")
        return None
    if count > MAX_UNITS:
        form.wrong("range", f"has {count:,} values, more than {MAX_UNITS:,}")
        return None
    return Range(name, start, step, count)


def _lines(name: str, form: Table) -> Values | None:
    relative = form.text("lines")
    text = _read(relative, (*form.path, "lines"), form.notes)
    if text is None:
        return None
    file = form.notes.file.parent / relative
    values = []
    for number, line in enumerate(text.splitlines(), 1):
        value = line.strip()
        if value and (problem := _problem(value)):
            form.notes.add_at(file, number, f"the values of {name} {problem}")
        if value:
            values.append(value)
    if not values or len(values) > MAX_VALUES:
        form.wrong("lines", f"has {len(values):,} values, and must have 1 to {MAX_VALUES:,}")
    return Values(name, tuple(values))


def _rows(table: Table) -> list[Axis]:
    relative = table.text("rows")
    text = _read(relative, (*table.path, "rows"), table.notes)
    if text is None:
        return []
    file = table.notes.file.parent / relative
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        table.notes.add_at(file, reader.line_num, f"not CSV: {error}")
        return []
    if len(rows) < 2:
        table.wrong("rows", "needs a line of names and at least one line of values")
        return []
    if len(rows) > MAX_VALUES + 1:
        table.wrong("rows", f"has {len(rows) - 1:,} lines, more than {MAX_VALUES:,}")
        return []
    return _columns(file, rows, table.notes)


def _columns(file: Path, rows: list[tuple[int, list[str]]], notes: Notes) -> list[Axis]:
    (first, names), *body = rows
    for name in names:
        try:
            parameter_name(name, "column")
        except MalformedError as error:
            notes.add_at(file, first, error.message, error.hint)
    for line, row in body:
        if len(row) != len(names):
            notes.add_at(file, line, f"{len(row)} cells under {len(names)} names")
        for cell in row:
            if problem := _problem(cell):
                notes.add_at(file, line, f"cells {problem}")
    if notes:
        return []
    return [Values(name, tuple(row[at] for _, row in body)) for at, name in enumerate(names)]


def _read(relative: str, key: KeyPath, notes: Notes) -> str | None:
    try:
        if not relative:
            return None
        path = notes.file.parent / relative
        if path.stat().st_size > MAX_TABLE:
            notes.add(key, f"{relative!r} is over {MAX_TABLE:,} bytes")
            return None
        return path.read_text("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "Paths are relative to the directory of the job file."
        notes.add(key, f"cannot read {relative!r}: {reason}", hint)
    except ValueError:
        notes.add(key, f"{relative!r} is not UTF-8 text")
    return None
