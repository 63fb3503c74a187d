"""One line of the table, where a measurement works, and how the table looks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table
from rich.text import Text

TITLE = "Open-Swarm: budgets and what was measured"
LEEWAY = 0.005
"""A score this close to 1 counts as met: rounding must not decide."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured beside its budget.

    ``score`` says how many times the budget was met (0.5: half of it); None where there is no
    budget or no measurement. ``facts`` are the numbers for scripts, ``notes`` say how it was done.
    """

    what: str
    budget: str
    measured: str
    score: float | None = None
    verdict: str = ""
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(
        cls,
        what: str,
        budget: str,
        measured: str,
        score: float | None,
        *notes: str,
        **facts: float,
    ) -> "Row":
        """A row whose verdict follows from ``score``."""
        return cls(what, budget, measured, score, verdict(score), notes, tuple(facts.items()))

    @classmethod
    def skipped(cls, what: str, budget: str, reason: str) -> "Row":
        """A row that could not be measured here, and why."""
        return cls(what, budget, "not measured", None, "skipped", (reason,))


def verdict(score: float | None) -> str:
    """The score in words."""
    if score is None:
        return "no budget"
    if score >= 1 - LEEWAY:
        return f"met ({score:.3g} x)"
    return f"short by {100 * (1 - score):.0f} %"


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a measurement works. ``folder`` is its own and is removed after it, ``cache`` keeps
    the engine and its image, ``say`` shows what is going on."""

    folder: Path
    cache: Path
    say: Callable[[str], None]
    quick: bool = False


def spread(samples: Iterable[float]) -> tuple[float, float, float]:
    """Lowest, median and highest of ``samples``."""
    ordered = sorted(samples)
    return ordered[0], median(ordered), ordered[-1]


def milliseconds(seconds: float) -> str:
    """Seconds as text in milliseconds."""
    return f"{1000 * seconds:.3g} ms"


def table(rows: Iterable[Row], caption: str = "") -> Table:
    """The table as people see it; ``caption`` is about the machine."""
    shown = Table(title=TITLE, caption=caption or None, show_lines=True)
    shown.add_column("what")
    shown.add_column("budget", justify="right")
    shown.add_column("measured", justify="right", style="bold")
    shown.add_column("verdict")
    for row in rows:
        colour = "dim" if row.score is None else "green" if "met" in row.verdict else "red"
        what = Text(row.what).append("".join(f"\n{note}" for note in row.notes), "dim")
        shown.add_row(what, row.budget, row.measured, Text(row.verdict, colour))
    return shown
