"""The study: every bar has its cells, and what the page says follows from the rows."""

from dataclasses import replace
from pathlib import Path

from simulator import findings, grid, study
from simulator.scene import Scene
from simulator.table import Row


def row(**changes: object) -> Row:
    """A row of a run of ours."""
    scene = Scene("economy", "clique", units=60, peers=8, sabotage=0.1)
    (made,) = grid.rows([scene], 1)
    return replace(made, units=study.UNITS, **changes)  # type: ignore[arg-type]


def test_every_bar_is_about_cells_of_the_study() -> None:
    asked = [scene for group in study.STUDY for scene in group.scenes()]
    for bar in findings.BARS:
        about = [
            scene
            for scene in asked
            if (scene.policy, scene.attackers) == (bar.policy, bar.attackers)
            and scene.attack in bar.attacks
        ]
        assert about, bar.name


def test_rows_come_back_from_their_file_and_are_not_run_again(tmp_path: Path) -> None:
    rows = [row(), row(sabotage=None, attack="none", attackers=0.0)]
    study.write(tmp_path / "rows.json", rows)
    assert study.read(tmp_path / "rows.json") == rows
    assert study.read(tmp_path / "none.json") == []
    left = [scene for _, scene in study.missing(rows)]
    assert len(left) == len(list(study.missing([]))) - 2
    assert not [s for s in left if (s.policy, s.attack) == ("economy", "none")]


def test_a_bar_that_does_not_hold_says_so() -> None:
    good, bad = row(wrong_accepted=1e-5, executions=1.1), row(wrong_accepted=1e-2, executions=1.1)
    assert "**no**" not in findings.bars([good])
    assert "**no**" in findings.bars([good, bad])
    assert "**no**" in findings.bars([row(wrong_accepted=0.0, executions=1.5)])


def test_the_table_has_a_column_for_each_rate() -> None:
    table = findings.cells([row(), row(sabotage=0.01)], ("economy",), large=True)
    header, _, line = table.splitlines()
    assert "*s* 0.01 | *s* 0.1" in header
    assert line.count(" at ") == 2
    assert "banned" in findings.counts([row(honest_banned=3)])
