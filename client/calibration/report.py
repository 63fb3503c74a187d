"""One calibration on paper: strict JSON, and the tables that people read."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from client.calibration.measuring import Cost, Series
from validators import calibration
from validators.calibration import HONEST

DIGITS = 4
"""Decimals of a gap that are kept."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, of what, and where.

    ``temperature`` is per mille; the gaps are thresholds in thousandths. ``confirmed`` and
    ``disagreed`` count exact checks of a build's honest answers by itself.
    """

    model: str
    sha256: str
    quantisation: str
    command: str
    machine: str
    builds: Mapping[str, str]
    answers: int
    tokens: int
    temperature: int
    confirmed: int
    disagreed: int
    mean_gap: int
    most_gap: int
    series: tuple[Series, ...]
    costs: tuple[Cost, ...]

    def value(self) -> dict[str, Any]:
        """For JSON; a gap that is infinite is null."""
        value = asdict(self)
        for each in value["series"]:
            for key in ("means", "mosts"):
                each[key] = [_rounded(gap) for gap in each[key]]
        return value

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Report":
        """The reverse of ``value``."""
        series = tuple(
            Series(
                **{
                    **each,
                    **{
                        key: tuple(math.inf if gap is None else gap for gap in each[key])
                        for key in ("means", "mosts")
                    },
                }
            )
            for each in value["series"]
        )
        costs = tuple(Cost(**each) for each in value["costs"])
        return cls(**{**value, "series": series, "costs": costs})


def _rounded(gap: float) -> float | None:
    """Never to 0, which means that an exact check accepts."""
    if not math.isfinite(gap):
        return None
    return max(round(gap, DIGITS), 10**-DIGITS) if gap else 0.0


def read(path: Path) -> list[Report]:
    """The reports in a file."""
    return [Report.of(each) for each in json.loads(path.read_text(encoding="utf-8"))]


def add(path: Path, report: Report) -> None:
    """Put ``report`` into a file, in the place of one that was made by the same command."""
    reports = read(path) if path.exists() else []
    kept = [each for each in reports if each.command != report.command]
    lines = (json.dumps(each.value(), allow_nan=False) for each in (*kept, report))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def choose(series: Sequence[Series]) -> tuple[int, int]:
    """Thresholds for the card, in thousandths: mean and largest gap; 0 and 0 are exact."""
    far = [sample for each in series if not each.near for sample in each.samples()]
    found = calibration.choose(far)
    return found.mean_gap, found.most_gap


def rows(report: Report) -> list[tuple[str, ...]]:
    """One for each series: what was claimed, how many, and what a check got wrong by either rule.

    A share has the bound under which it is with 97.5 % certainty.
    """
    return [_row(report, each) for each in report.series]


def brief_rows(report: Report) -> list[tuple[str, ...]]:
    """The same for a terminal: without the bounds, and without saying what a mistake is."""
    found = (_row(report, each, bounds=False) for each in report.series)
    return [(*row[:3], *row[4:]) for row in found]


def brief_facts(report: Report) -> dict[str, str]:
    """What is to be known of ``brief_rows``, and what was measured beside."""
    most = _percent(calibration.wilson(0, report.answers)[1])
    margins = f"mean gap {report.mean_gap}, largest gap {report.most_gap} thousandths"
    return {
        "model": f"{report.model} ({report.quantisation})",
        "a mistake": "an honest answer that is rejected, another one that is accepted",
        f"0 of {report.answers}": f"less than {most} with 97.5 % certainty",
        "exact checks": f"{report.confirmed} confirmed, {report.disagreed} not",
        "margins": margins if report.most_gap else "none, answers are compared exactly",
    }


def _row(report: Report, series: Series, *, bounds: bool = True) -> tuple[str, ...]:
    honest = series.claims == HONEST
    exact = series.count - series.exact if honest else series.exact
    own = series.maker == series.checker
    exactly = _share(exact, series.count, bounds) if own else ""
    by_margin, mean, most = "", "", ""
    if series.mosts and report.most_gap:
        found = calibration.judge(series.samples(), report.mean_gap, report.most_gap)
        within = found.rejected.found if honest else found.accepted[0].found
        by_margin = _share(within, series.count, bounds)
    if series.mosts and math.isfinite(max(series.mosts)):
        mean, most = f"{max(series.means):.4f}", f"{max(series.mosts):.3f}"
    claims = series.claims if own else f"honest, {series.maker}"
    mistake = "rejected" if honest else "accepted"
    return claims, str(series.count), str(series.same), mistake, exactly, by_margin, mean, most


COLUMNS = (
    "claims",
    "answers",
    "same tokens",
    "mistake",
    "exact",
    "by margins",
    "largest mean gap",
    "largest gap",
)


BRIEF_COLUMNS = ("claims", "answers", "same", "exact", "margins", "mean", "largest")


def _share(found: int, of: int, bounds: bool) -> str:
    if not of:
        return ""
    bound = f", < {_percent(calibration.wilson(found, of)[1])}" if bounds else ""
    return f"{found} ({_percent(found / of)}{bound})"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 99.5 else f"{percent:.2g} %"  # not 1e+02


def cost_rows(costs: Sequence[Cost]) -> list[tuple[str, ...]]:
    """One for each length of prompts."""
    return [
        (
            f"{each.prompt:.0f}",
            f"{each.tokens:.0f}",
            f"{each.answers}",
            f"{each.making / each.answers:.2f} s",
            f"{each.checking / each.answers:.2f} s",
            f"{each.share:.2f}",
        )
        for each in costs
    ]


COST_COLUMNS = ("prompt", "answer", "answers", "answering", "checking", "share")


def page(reports: Sequence[Report]) -> str:
    """All of it in Markdown: a table for each report, and one of what checks cost."""
    parts = [part for report in reports for part in _part(report)]
    priced = [(report, cost) for report in reports for cost in report.costs]
    if priced:
        head = ("model", "check", *COST_COLUMNS)
        rows_ = [
            (report.quantisation, _kind(report), *row)
            for report, cost in priced
            for row in cost_rows([cost])
        ]
        parts += ["What checks cost, in CPU seconds of one thread:", _markdown(head, rows_)]
    return "\n\n".join(parts)


def _part(report: Report) -> list[str]:
    if not report.series:
        return []
    drawn = f"temperature {report.temperature / 1000:g}" if report.temperature else "greedy"
    others = [name for name in report.builds if name != next(iter(report.builds))]
    also = f", answers of the build {', '.join(others)} too" if others else ""
    limits = (
        f"thresholds {report.mean_gap} and {report.most_gap} thousandths"
        if report.most_gap
        else "exact"
    )
    about = (
        f"`{report.model}` ({report.quantisation}), checked by the build "
        f"{next(iter(report.builds))}{also}: {report.answers} prompts, at most {report.tokens} "
        f"tokens, {drawn}; {limits}. An exact check by the same build confirmed "
        f"{report.confirmed} of {report.confirmed + report.disagreed}. "
        f"Made by `{report.command}` on {report.machine}."
    )
    return [about, _markdown(COLUMNS, rows(report))]


def _kind(report: Report) -> str:
    return "by margins" if report.disagreed else "exact"


def filled(
    columns: Sequence[str], lines: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """A table without the columns that say nothing."""
    kept = [at for at, _ in enumerate(columns) if any(line[at] for line in lines)]
    return [columns[at] for at in kept], [[line[at] for at in kept] for line in lines]


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    columns, lines = filled(columns, lines)
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines)])
