"""The study behind ``docs/trust.md``: which cells are run, and what is kept of them.

``python -m simulator.study`` runs every cell that the file does not have yet, and adds its row as
soon as it is done: it may be stopped and started again.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from simulator import grid
from simulator.plot import plot
from simulator.scene import Scene
from simulator.table import Row
from tracker.garbage import collect_rarely
from workunits.verification import Policy

UNITS = 120_000
RATES = (0.003, 0.01, 0.03, 0.1, 1.0)
ECONOMY, STRICT = Policy.ECONOMY.value, Policy.STRICT.value
SMALL = (ECONOMY, STRICT, "pair", "trusted", "quorum-2", "quorum-3", "boinc-adaptive", "sarmenta")
DOCS = Path(__file__).parents[1] / "docs"
PLOTTED = ("saboteur", "clique", "sleeper")


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that are run alike."""

    policies: tuple[str, ...]
    attacks: tuple[str, ...]
    attackers: tuple[float, ...]
    seeds: int
    rates: tuple[float, ...] = RATES
    units: int = UNITS

    def scenes(self) -> list[Scene]:
        """One for each cell."""
        basis = Scene("", "none", units=self.units)
        return grid.cells(basis, self.policies, self.attacks, self.attackers, self.rates)


STUDY = (
    Group((ECONOMY,), ("clique",), (0.2,), 3),
    Group((STRICT,), ("clique",), (0.33,), 3),
    Group((ECONOMY,), ("none", "inflator", "freeloader", "lazy-validator", "copycat"), (0.2,), 1),
    Group((ECONOMY, STRICT), ("none", "withholder"), (0.33,), 1),
    Group((ECONOMY,), ("saboteur", "sleeper", "whitewasher"), (0.2,), 1),
    Group((STRICT,), ("whitewashing-clique",), (0.2,), 1, (0.003, 0.1, 1.0)),
    Group((STRICT,), ("saboteur", "sleeper"), (0.33,), 1, (0.003, 0.01)),
    Group((ECONOMY,), ("sleeping-clique", "recanter"), (0.2,), 1),
    Group((STRICT,), ("clique",), (0.2,), 1),
    Group((ECONOMY,), ("clique", "saboteur"), (0.1,), 1),
    Group(SMALL, ("saboteur", "clique", "sleeper"), (0.2,), 1, (0.01, 0.1), 20_000),
)


def read(path: Path) -> list[Row]:
    """The rows of a file, none when it is not there."""
    return [Row(**each) for each in json.loads(path.read_text())] if path.exists() else []


def write(path: Path, rows: list[Row]) -> None:
    """Keep rows, one to a line."""
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def missing(rows: list[Row]) -> Iterator[tuple[Group, Scene]]:
    """The cells that have no row yet."""
    known = {
        _cell(row.policy, row.attack, row.attackers, row.sabotage or 0.0, row.units) for row in rows
    }
    for group in STUDY:
        for scene in group.scenes():
            cell = _cell(scene.policy, scene.attack, scene.attackers, scene.sabotage, scene.units)
            if cell not in known:
                known.add(cell)
                yield group, scene


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--rows", type=Path, default=DOCS / "trust.json", help="where rows are")
    args = parser.parse_args()
    collect_rarely()
    rows = read(args.rows)
    for group, scene in list(missing(rows)):
        print(f"{scene.policy}, {scene.attack}, f = {scene.attackers}, s = {scene.sabotage}")
        rows += grid.rows([scene], group.seeds, args.jobs)
        write(args.rows, rows)
    shown = [row for row in rows if row.attack in PLOTTED and row.units < UNITS]
    args.rows.with_suffix(".svg").write_text(plot(shown), encoding="utf-8")


def _cell(
    policy: str, attack: str, attackers: float, sabotage: float, units: int
) -> tuple[object, ...]:
    return policy, attack, 0.0 if attack == "none" else attackers, sabotage, units


if __name__ == "__main__":
    main()
