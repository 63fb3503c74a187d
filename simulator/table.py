"""The table: what each policy lets through under each attack, and what it costs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from textwrap import fill
from typing import TYPE_CHECKING

from simulator.scene import Scene, Tally

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """The runs of one cell, all seeds together: a line of the table."""

    policy: str
    attack: str
    attackers: float
    sabotage: float | None
    seeds: int
    units: int
    peers: int
    wrong_accepted: float
    """Share of the accepted units."""

    executions: float
    """For each unit, those without a result included."""

    failed: int
    honest_banned: int
    unearned: float
    """Share of the credit that was paid."""

    identities: int
    copies: int
    copies_accepted: int
    makespan: float
    """Virtual seconds, the mean of the seeds."""

    lies: int = 0
    """Lies that a lying tracker told about its ledger."""

    lies_found: int = 0
    lies_by_kind: dict[str, dict[str, int]] = field(default_factory=dict)


def summary(scene: Scene, tallies: list[Tally], *, sabotages: bool) -> Row:
    """The line for runs that differ in their seed only."""

    def total(name: str) -> int:
        return sum(getattr(each, name) for each in tallies)

    accepted, paid = total("accepted"), total("paid")
    lies: dict[str, dict[str, int]] = {}
    for kind, told, found in (each for tally in tallies for each in tally.lies):
        count = lies.setdefault(kind, {"told": 0, "found": 0})
        count["told"] += told
        count["found"] += found
    return Row(
        policy=scene.policy,
        attack=scene.attack,
        attackers=scene.attackers,
        sabotage=scene.sabotage if sabotages else None,
        seeds=len(tallies),
        units=scene.units,
        peers=scene.peers,
        wrong_accepted=total("wrong") / accepted if accepted else 0.0,
        executions=total("executions") / (scene.units * len(tallies)),
        failed=total("failed") + total("unfinished"),
        honest_banned=total("honest_banned"),
        unearned=total("unearned") / paid if paid else 0.0,
        identities=total("identities"),
        copies=total("copies"),
        copies_accepted=total("copies_accepted"),
        lies=sum(count["told"] for count in lies.values()),
        lies_found=sum(count["found"] for count in lies.values()),
        lies_by_kind=lies,
        makespan=sum(each.makespan for each in tallies) / len(tallies),
    )


def to_json(rows: Sequence[Row]) -> str:
    """The rows as one line of JSON."""
    return json.dumps([asdict(row) for row in rows])


def to_table(rows: Sequence[Row]) -> "Table":
    """The rows for people. Columns that say nothing in any row are left out."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("policy", "attack"):
        table.add_column(name, no_wrap=True)
    lines = [_numbers(row) for row in rows]
    columns = [name for name in (lines or [{}])[0] if any(line[name] != "-" for line in lines)]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for row, line in zip(rows, lines, strict=True):
        if before not in ("", row.policy):
            table.add_section()
        before = row.policy
        table.add_row(row.policy, row.attack, *(line[name] for name in columns))
    if missed := [text for row in rows if (text := _missed(row))]:
        table.caption = "\n".join(missed)
        table.caption_justify = "left"
    return table


def to_text(rows: Sequence[Row], width: int) -> str:
    """The rows for people whose terminal is too narrow for the table: a paragraph for each."""
    parts = []
    for row in rows:
        numbers = _numbers(row).items()
        line = ", ".join(f"{name} {value}" for name, value in numbers if value != "-")
        indent = "  "
        parts.append(f"{row.policy}, {row.attack}")
        parts.append(fill(line, max(width, 20), initial_indent=indent, subsequent_indent=indent))
    parts += [fill(text, max(width, 20)) for row in rows if (text := _missed(row))]
    return "\n".join(parts)


def _numbers(row: Row) -> dict[str, str]:
    """The cells of a row under the names of their columns; ``-`` where there is nothing to say."""
    return {
        "f": f"{row.attackers:g}",
        "s": "-" if row.sabotage is None else f"{row.sabotage:g}",
        "wrong accepted": share(row.wrong_accepted),
        "executions": f"{row.executions:.3f}",
        "failed": f"{row.failed:,}",
        "honest banned": f"{row.honest_banned:,}",
        "unearned": share(row.unearned),
        "keys": f"{row.identities:,}",
        "copies": f"{row.copies_accepted:,}/{row.copies:,}" if row.copies else "-",
        "lies": f"{row.lies_found:,}/{row.lies:,}" if row.lies else "-",
        "makespan": f"{row.makespan:,.0f} s",
    }


def _missed(row: Row) -> str:
    """The kinds of lies that were not all found."""
    kinds = ", ".join(
        f"{kind} {count['found']:,}/{count['told']:,}"
        for kind, count in row.lies_by_kind.items()
        if count["found"] < count["told"]
    )
    return f"Lies told under {row.policy} and not all found: {kinds}." if kinds else ""


def share(value: float) -> str:
    """A share that may be tiny; a zero is a zero."""
    return f"{value:.1e}" if value else "0"
