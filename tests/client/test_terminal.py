"""Tables, JSON and errors on a terminal."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from client import terminal
from client.jobs.table import JobFileError, Mistake
from workunits.errors import LocalError
from workunits.verification import Policy


@dataclass(frozen=True)
class Thing:
    key: bytes
    policy: Policy
    path: Path
    parts: tuple[int, ...]


def test_values_become_plain_json(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_json({"thing": Thing(b"\x01\xff", Policy.PAIR, Path("a/b"), (1, 2))})
    assert json.loads(capsys.readouterr().out) == {
        "thing": {"key": "01ff", "policy": "pair", "path": "a/b", "parts": [1, 2]}
    }


def test_numbers_stand_right_and_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 200
    terminal.show_table(("name", "count"), [("a", 5), (long, 1200), ("b", -7)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "count"]
    assert lines[2] == f"{long}  1,200"
    assert lines[1].endswith("    5")
    assert lines[3].endswith("   -7")


def test_a_table_without_rows_has_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_table(("name", "count"), [])
    assert capsys.readouterr().out == "name  count\n"


def test_long_text_is_cut_to_its_room() -> None:
    assert terminal.cut("sixteen letters.", 16) == "sixteen letters."
    assert terminal.cut("sixteen letters..", 16) == "sixteen lette..."


def test_a_day_of_another_year_has_the_year() -> None:
    now = 1_750_000_000.0
    assert terminal.day(now, now) == terminal.date(now)[5:16]
    before = now - 400 * 86_400
    assert terminal.day(before, now) == terminal.date(before)[:10]


def test_mistakes_stand_before_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("JOB.toml")
    error = JobFileError(file, (Mistake(file, 3, "wrong", "Do this."), Mistake(file, 5, "bad")))
    terminal.show_error(error, as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        "JOB.toml:3: wrong",
        "    Do this.",
        "JOB.toml:5: bad",
        "error: 2 mistakes in JOB.toml",
        "hint: The format is described in docs/jobs.md.",
    ]
    terminal.show_error(error, as_json=True)
    shown = json.loads(capsys.readouterr().err)["error"]
    assert shown["mistakes"][0] == {
        "file": "JOB.toml",
        "line": 3,
        "message": "wrong",
        "hint": "Do this.",
    }


def test_colour_is_off_with_no_color_only_when_it_is_not_empty() -> None:
    assert terminal.color_choice({"NO_COLOR": "1"}) is False
    assert terminal.color_choice({"NO_COLOR": ""}) is None


def test_a_forced_colour_marks_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_error(LocalError("broken"), as_json=False, color=True)
    assert "\x1b[31m" in capsys.readouterr().err
