"""The command: a table, JSON, a plot."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from simulator import grid
from simulator.attackers import ATTACKS
from simulator.commands import simulate
from simulator.plot import plot
from simulator.scene import Scene
from simulator.table import to_json, to_table, to_text
from workunits.verification import Policy

SMALL = ("--units", "200", "--peers", "20")


def test_the_table_names_every_policy_and_attack() -> None:
    said = CliRunner().invoke(simulate, SMALL)
    assert said.exit_code == 0, said.output
    for name in (*grid.POLICIES, "saboteur", "clique", "sleeper", "wrong accepted"):
        assert name in said.output


def test_json_is_the_same_when_it_is_run_again() -> None:
    words = (*SMALL, "--policy", "pair", "--policy", "sarmenta", "--attack", "clique", "--json")
    first, again = (CliRunner().invoke(simulate, words).stdout for _ in "ab")
    assert first == again
    rows = json.loads(first)
    assert [row["policy"] for row in rows] == ["pair", "sarmenta"]
    assert rows[0]["executions"] >= 2


def test_the_plot_has_a_mark_for_each_row(tmp_path: Path) -> None:
    file = tmp_path / "trust.svg"
    said = CliRunner().invoke(simulate, (*SMALL, "--plot", str(file), "--policy", "quorum-2"))
    assert said.exit_code == 0, said.output
    root = ElementTree.parse(file).getroot()
    assert len(root.findall("{http://www.w3.org/2000/svg}g")) == 3


def test_a_plot_without_a_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "trust.svg"
    said = CliRunner().invoke(simulate, ("--units", "10000000", "--plot", str(file)))
    assert said.exit_code == 2
    assert "no file can be written" in said.output


def test_a_narrow_terminal_gets_paragraphs_in_which_nothing_is_cut() -> None:
    scenes = grid.cells(
        Scene("", "none", units=50, peers=10, lies=5),
        ["pair", "strict"],
        ["clique", "lying-tracker"],
        [0.2],
        [0.1],
    )
    rows = list(grid.rows(scenes, 1))
    text = to_text(rows, 40)
    assert max(map(len, text.splitlines())) <= 40
    words = text.replace(",", "").split()
    for row in rows:
        assert {row.policy, row.attack, f"{row.executions:.3f}"} <= set(words)
    assert "\u2026" not in text


def test_a_column_that_says_nothing_is_left_out() -> None:
    scenes = grid.cells(Scene("", "none", units=20, peers=5), ["pair"], ["none"], [0.2], [0.1])
    table = to_table(list(grid.rows(scenes, 1)))
    names = [str(column.header) for column in table.columns]
    assert "lies" not in names
    assert "copies" not in names
    assert "failed" in names
    assert not [each for each in to_table([]).columns if each.header == "lies"]


@pytest.mark.parametrize(
    "words",
    [
        ("--policy", "blind"),
        ("--attack", "love"),
        ("--attackers", "1"),
        ("--sabotage", "2"),
        ("--peers", "1"),
        ("--units", "0"),
    ],
)
def test_a_wrong_setting_is_a_usage_error(words: tuple[str, ...]) -> None:
    said = CliRunner().invoke(simulate, words)
    assert said.exit_code == 2
    assert words[0] in said.output


def test_our_policies_and_the_baselines_are_there() -> None:
    assert set(grid.POLICIES) > {each.value for each in Policy}
    assert len(set(grid.POLICIES)) == len(grid.POLICIES)


def test_a_rate_makes_cells_only_where_it_matters() -> None:
    basis = Scene("", "none", units=10, peers=5)
    made = grid.cells(basis, ["pair"], list(ATTACKS), [0.1, 0.2], [0.01, 0.1, 1])
    counts = {name: sum(each.attack == name for each in made) for name in ATTACKS}
    assert (counts["none"], counts["clique"], counts["copycat"]) == (1, 6, 2)


def test_the_plot_has_a_place_for_nothing_wrong_and_for_everything_wrong() -> None:
    scenes = grid.cells(Scene("", "none", units=20, peers=5), ["quorum-2"], ["none"], [0.2], [0.1])
    (row,) = grid.rows(scenes, 1)
    assert row.wrong_accepted == 0
    ElementTree.fromstring(plot([row, replace(row, wrong_accepted=1.0, policy="a<b")]))
    ElementTree.fromstring(plot([]))
    assert json.loads(to_json([row]))[0]["sabotage"] is None


def test_progress_counts_all_runs() -> None:
    told: list[int] = []
    scenes = grid.cells(
        Scene("", "none", units=30, peers=5), ["trusted", "quorum-2"], ["none"], [0.2], [0.1]
    )
    assert len(list(grid.rows(scenes, 2, tell=told.append))) == 2
    assert told == sorted(told)
    assert told[-1] == 120


def test_runs_side_by_side_give_the_rows_that_they_give_one_by_one() -> None:
    scenes = grid.cells(
        Scene("", "none", units=60, peers=8), ["economy", "quorum-2"], ["clique"], [0.2], [0.1, 1]
    )
    assert list(grid.rows(scenes, 2, jobs=2)) == list(grid.rows(scenes, 2))
