"""A report survives its file, and its table counts mistakes."""

import math
from pathlib import Path

import pytest

from client import terminal
from client.calibration import report as paper
from client.calibration.measuring import Cost, Series
from client.calibration.report import COLUMNS, Report
from validators.calibration import HONEST


def made(**changes: object) -> Report:
    series = (
        Series(HONEST, "fast", "fast", 3, 3, (0.0, 0.0, 0.001), (0.0, 0.0, 0.1)),
        Series(HONEST, "pinned", "fast", 2, 2, (0.002, 0.5), (0.2, 9.0)),
        Series("cut off", "fast", "fast", 2, 0, (math.inf, math.inf), (math.inf, math.inf)),
        Series("Q2_K", "fast", "fast", 2, 0, (0.001, 3.0), (0.1, 4.0)),
        Series("Q3_K_M", "fast", "fast", 4, 1),
    )
    values: dict[str, object] = {
        "model": "smollm2",
        "sha256": "ab" * 32,
        "quantisation": "Q8_0",
        "command": "swarm model calibrate model.gguf",
        "machine": "a machine",
        "builds": {"fast": "sha256:00"},
        "answers": 3,
        "tokens": 128,
        "temperature": 0,
        "confirmed": 1,
        "disagreed": 2,
        "mean_gap": 10,
        "most_gap": 1000,
        "series": series,
        "costs": (Cost("fast", "fast", 2, 32.0, 128.0, 4.0, 1.0),),
    }
    return Report(**values | changes)  # type: ignore[arg-type]


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    paper.add(path, made())
    assert paper.read(path) == [made()]


def test_the_smallest_gap_is_still_one_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    paper.add(path, made(series=(Series(HONEST, "fast", "fast", 2, 2, (0.0, 1e-7), (0.0, 1e-6)),)))
    (once,) = paper.read(path)
    assert once.series[0].exact == 1
    paper.add(path, once)
    assert paper.read(path) == [once]


def test_a_report_of_the_same_command_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    for report in (made(), made(command="another"), made(answers=7)):
        paper.add(path, report)
    assert {(each.command, each.answers) for each in paper.read(path)} == {
        ("another", 3),
        ("swarm model calibrate model.gguf", 7),
    }


def test_the_table_counts_honest_answers_that_are_rejected_and_lies_that_are_not() -> None:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in paper.rows(made())]
    found = [
        (row["claims"], row["mistake"], row["exact"][:2], row["by margins"][:2]) for row in rows
    ]
    assert found == [
        ("honest", "rejected", "1 ", "0 "),
        ("honest, pinned", "rejected", "", "1 "),
        ("cut off", "accepted", "0 ", "0 "),
        ("Q2_K", "accepted", "0 ", "1 "),
        ("Q3_K_M", "accepted", "1 ", ""),
    ]


def test_the_table_of_a_terminal_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    gaps = (0.0,) * 999
    claimed = Series("one plausible token", "a", "a", 1000, 1000, (*gaps, 12.0), (*gaps, 88.0))
    same = Series("Q8_0", "a", "a", 1000, 1000, (*gaps, 0.0), (*gaps, 0.0))
    report = made(answers=200, series=(claimed, same))
    terminal.show_table(*paper.filled(paper.BRIEF_COLUMNS, paper.brief_rows(report)))
    terminal.show_facts(paper.brief_facts(report))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "1000 (100 %)" in said
    assert "less than 1.9 %" in said
    assert "mean gap 10, largest gap 1000 thousandths" in said
    assert "exactly" in paper.brief_facts(made(mean_gap=0, most_gap=0))["margins"]


def test_near_misses_do_not_decide_the_thresholds() -> None:
    honest = Series(HONEST, "a", "a", 2, 2, (0.001, 0.002), (0.1, 0.2))
    far = Series("far", "a", "a", 1, 0, (2.0,), (5.0,))
    near = Series("near", "a", "a", 1, 0, (0.0021,), (0.21,), near=True)
    with_it, without = paper.choose((honest, far, near)), paper.choose((honest, far))
    assert with_it == without == (3, 300)


def test_costs_are_told_as_a_share() -> None:
    (row,) = paper.cost_rows(made().costs)
    assert row == ("32", "128", "2", "2.00 s", "0.50 s", "0.25")


def test_the_page_has_a_table_for_each_report_and_one_of_costs() -> None:
    text = paper.page([made(), made(command="another", disagreed=0, mean_gap=0, most_gap=0)])
    tables = [part for part in text.split("\n\n") if part.startswith("| ")]
    assert [len(table.splitlines()) - 2 for table in tables] == [5, 5, 2]
    assert "| Q8_0 | by margins | 32 | 128 | 2 | 2.00 s | 0.50 s | 0.25 |" in tables[2]
    assert "thresholds 10 and 1000 thousandths" in text
    assert "`another`" in text


def test_columns_that_say_nothing_are_left_out() -> None:
    columns, lines = paper.filled(("a", "b", "c"), [("1", "", ""), ("", "", "2")])
    assert (columns, lines) == (["a", "c"], [["1", ""], ["", "2"]])
