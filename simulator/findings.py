"""What the study says: its rows as a table for a page, and whether the bars hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulator.study import ECONOMY, RATES, STRICT, UNITS
from simulator.table import Row, share

WAKING = ("saboteur", "clique")
SLEEPING = ("sleeper", "sleeping-clique", "recanter")
WHITEWASHERS = ("whitewasher", "whitewashing-clique")
IDLE = ("inflator", "freeloader", "lazy-validator")


@dataclass(frozen=True, slots=True)
class Bar:
    """What must hold in every cell that it is about: at most so many wrong, at such a cost."""

    name: str
    policy: str
    attacks: tuple[str, ...]
    attackers: float
    least: float
    wrong: float
    executions: float

    def cells(self, rows: Iterable[Row]) -> list[Row]:
        """The rows that it is about."""
        return [
            row
            for row in rows
            if row.units >= UNITS
            and row.policy == self.policy
            and row.attack in self.attacks
            and row.attackers <= self.attackers
            and (row.sabotage or 0.0) >= self.least
        ]

    def holds(self, row: Row) -> bool:
        """Whether a row keeps to it."""
        return row.wrong_accepted <= self.wrong and row.executions <= self.executions


BARS = (
    Bar("economy, all rates", ECONOMY, (*WAKING, *SLEEPING), 0.2, 0.0, 3e-3, 1.45),
    Bar("economy, *s* of .1 and more, nobody sleeps", ECONOMY, WAKING, 0.2, 0.1, 1e-4, 1.2),
    Bar("economy, whitewashers", ECONOMY, WHITEWASHERS, 0.2, 0.0, 3e-3, 1.75),
    Bar("strict, all rates", STRICT, (*WAKING, *SLEEPING), 0.33, 0.0, 1e-4, 2.6),
    Bar("strict, whitewashers", STRICT, WHITEWASHERS, 0.2, 0.0, 1e-4, 3.3),
)


def bars(rows: Sequence[Row]) -> str:
    """Each bar, the worst of its cells, and whether all hold."""
    titles = ("bar", "wrong, at most", "executions, at most", "cells")
    lines = [f"| {' | '.join((*titles, 'worst wrong', 'worst executions', 'holds'))} |"]
    lines.append("|---" * 7 + "|")
    for bar in BARS:
        cells = bar.cells(rows)
        if not cells:
            continue
        wrong, cost = max(row.wrong_accepted for row in cells), max(row.executions for row in cells)
        held = "yes" if all(map(bar.holds, cells)) else "**no**"
        lines.append(
            f"| {bar.name} | {bar.wrong:.0e} | {bar.executions} | {len(cells)} "
            f"| {share(wrong)} | {cost:.3f} | {held} |"
        )
    return "\n".join(lines)


def counts(rows: Sequence[Row]) -> str:
    """What must be zero, and how long withholding takes."""
    ours = [row for row in rows if row.policy in (ECONOMY, STRICT)]
    banned = sum(row.honest_banned for row in ours)
    units = sum(row.units * row.seeds for row in ours)
    copies = [row for row in ours if row.attack == "copycat"]
    idle = [row for row in ours if row.attack in IDLE]
    lines = [
        "| what | found |",
        "|---|---|",
        f"| honest peers banned | {banned:,} in {units:,} units |",
        (
            f"| copied commitments accepted | {sum(row.copies_accepted for row in copies):,} of "
            f"{sum(row.copies for row in copies):,} tried |"
        ),
        (
            f"| credit that inflators, freeloaders and lazy validators did not earn "
            f"| {share(max((row.unearned for row in idle), default=0.0))} of what was paid |"
        ),
        (
            f"| units that failed or never finished, in all of these runs "
            f"| {sum(row.failed for row in ours):,} of {units:,} |"
        ),
    ]
    for policy in (ECONOMY, STRICT):
        honest, held = (
            next((row for row in ours if (row.policy, row.attack) == (policy, attack)), None)
            for attack in ("none", "withholder")
        )
        if honest and held:
            lines.append(
                f"| `{policy}`: time until the last verdict when a third withholds "
                f"| {held.makespan / honest.makespan:.2f} x the honest time; "
                f"{held.failed:,} units failed |"
            )
    return "\n".join(lines)


def cells(rows: Sequence[Row], policies: Sequence[str], large: bool) -> str:
    """A line for each policy, attack and share, a column for each rate."""
    some = [
        row
        for row in rows
        if row.policy in policies and row.sabotage is not None and (row.units > 100_000) == large
    ]
    rates = [rate for rate in RATES if any(row.sabotage == rate for row in some)]
    lines = [f"| policy | attack | *f* | seeds | {' | '.join(f'*s* {rate:g}' for rate in rates)} |"]
    lines.append("|---|---|---|---|" + "---|" * len(rates))
    by: dict[tuple[str, str, float], dict[float, Row]] = {}
    for row in some:
        key = (row.policy, row.attack, row.attackers)
        by.setdefault(key, {})[row.sabotage or 0.0] = row
    for key in sorted(by, key=lambda key: (policies.index(key[0]), *key[1:])):
        found = by[key]
        shown = [_shown(found[rate]) if rate in found else "" for rate in rates]
        seeds = next(iter(found.values())).seeds
        lines.append(f"| `{key[0]}` | {key[1]} | {key[2]:g} | {seeds} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(row: Row) -> str:
    return f"{share(row.wrong_accepted)} at {row.executions:.2f}"
