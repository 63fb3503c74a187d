"""The ``[verification]`` table of a job file: how its results are checked."""

import difflib
import math
from enum import StrEnum
from typing import TypeVar

from client.jobs.command import check_word, read_command
from client.jobs.quantities import format_seconds, format_size, parse_seconds
from client.jobs.table import Table
from client.views import DemandsView
from validators.settings import BOUNDS, RATES, SETTINGS
from workunits.manifest import MAX_NUMERIC_OUTPUT, Limits
from workunits.verification import (
    MAX_COMPARE,
    MAX_REPUTATION,
    Comparator,
    Comparison,
    Demands,
    Policy,
)

_MILLE = 1000
_DURATIONS = frozenset({"final_after"})
_FOLDERS = ("a", "b")
_MISPLACED = dict.fromkeys(BOUNDS, "It belongs into the table [verification.settings].")
_Choice = TypeVar("_Choice", bound=StrEnum)


def read_verification(table: Table, limits: Limits) -> tuple[Policy, Comparator, Demands, str]:
    """Read ``[verification]``; last comes the folder of known answers, or nothing.

    The hash of the known answers is not among the demands yet.
    """
    policy = _choice(table, "policy", Policy.ECONOMY)
    comparator = _comparator(table, limits)
    same_platform = table.flag("same-platform", False)
    reputation = table.integer("reputation", 0, 0, MAX_REPUTATION)
    ringers = _ringers(table, comparator)
    settings = _settings(table.table("settings", optional=True))
    table.end(_MISPLACED)
    return policy, comparator, Demands(settings, same_platform, reputation), ringers


def describe(policy: str, comparator: str, demands: DemandsView) -> str:
    """How a job is checked, in one line for people."""
    parts = [policy, comparator]
    parts += [f"{name} {_spell(name, value)}" for name, value in demands.settings.items()]
    if demands.same_platform:
        parts.append("same platform")
    if demands.reputation:
        parts.append(f"reputation {demands.reputation:,}")
    if demands.ringers:
        parts.append("known answers")
    return ", ".join(parts)


def batch(policy: str, demands: DemandsView) -> int:
    """How many units of a job become final together."""
    known = SETTINGS[Policy(policy)].batch if policy in list(Policy) else 1
    return demands.settings.get("batch", known)


def _spell(name: str, value: int) -> str:
    """The value of a setting as a job file has it."""
    if name in _DURATIONS:
        return format_seconds(value)
    return f"{value / _MILLE:g}" if name in RATES else f"{value:,}"


def _ringers(table: Table, comparator: Comparator) -> str:
    value = table.take("ringers", None)
    if value is None:
        return ""
    if not isinstance(value, str) or not value:
        table.wrong("ringers", "must be the path of a folder", 'For example: ringers = "known".')
        return ""
    if comparator.kind is not Comparison.EXACT:
        table.wrong(
            "ringers",
            "are compared exactly, and this job's results are not",
            'Use comparator = "exact", or leave ringers out.',
        )
        return ""
    return value


def _comparator(table: Table, limits: Limits) -> Comparator:
    kind = _choice(table, "comparator", Comparison.EXACT)
    tolerances = {}
    for key in ("rtol", "atol"):
        if key in table and kind is not Comparison.NUMERIC:
            table.wrong(key, 'is for comparator = "numeric"')
        value = table.number(key, 0.0)
        if not (math.isfinite(value) and 0 <= value < 1e300):
            table.wrong(key, "must be a finite number, 0 or more")
            value = 0.0
        tolerances[key] = value
    if kind is Comparison.NUMERIC:
        if limits.output_bytes > MAX_NUMERIC_OUTPUT:
            table.notes.add(
                ("limits", "output"),
                f"numeric comparison allows at most {format_size(MAX_NUMERIC_OUTPUT)} of output",
                "Lower limits.output, or compare exactly.",
            )
        return Comparator(kind, tolerances["rtol"], tolerances["atol"])
    if kind is Comparison.PROGRAM:
        return Comparator(kind, command=_command(table))
    if table.take("command", None) is not None:
        hint = "The command of the units belongs into the table [program]."
        table.wrong("command", 'is for comparator = "program"', hint)
    return Comparator(kind)


def _command(table: Table) -> tuple[str, ...]:
    hint = 'For example: command = ["python3", "compare.py", "{a}", "{b}"].'
    words = read_command(table, MAX_COMPARE, hint)
    used = {
        name
        for at, word in enumerate(words)
        for name in check_word(
            table.notes,
            word,
            (*table.path, "command", at),
            _FOLDERS,
            "A comparator knows {a} and {b}, the folders of the two results.",
        )
    }
    if words and (missing := [f"{{{name}}}" for name in _FOLDERS if name not in used]):
        table.wrong(
            "command",
            f"does not use {' and '.join(missing)}",
            "{a} and {b} are the folders of the two results; name both.",
        )
    return tuple(words)


def _settings(table: Table) -> tuple[tuple[str, int], ...]:
    found = {}
    for name, (low, high) in BOUNDS.items():
        if name not in table:
            table.take(name, None)
        elif name in RATES:
            found[name] = _rate(table, name, low, high)
        elif name in _DURATIONS:
            found[name] = table.quantity(name, low, low, high, parse_seconds, format_seconds)
        else:
            found[name] = table.integer(name, low, low, high)
    table.end()
    return tuple(sorted(found.items()))


def _rate(table: Table, name: str, low: int, high: int) -> int:
    value = table.number(name, low / _MILLE)
    if not low / _MILLE <= value <= high / _MILLE:
        bounds = f"{low / _MILLE:g} to {high / _MILLE:g}"
        table.wrong(name, f"must be a share from {bounds}, and is {value:g}")
        return low
    rate = round(value * _MILLE)
    if not math.isclose(rate, value * _MILLE, abs_tol=1e-6):
        table.wrong(name, f"must be in steps of {1 / _MILLE:g}, and is {value:g}")
    return rate


def _choice(table: Table, key: str, default: _Choice) -> _Choice:
    text = table.text(key, default.value)
    try:
        return type(default)(text)
    except ValueError:
        values = [member.value for member in type(default)]
        *first, last = [f'"{value}"' for value in values]
        close = difflib.get_close_matches(text, values, n=1)
        table.wrong(
            key,
            f"must be {', '.join(first)} or {last}, and is {text[:40]!r}",
            f"Did you mean {close[0]!r}?" if close else "",
        )
        return default
