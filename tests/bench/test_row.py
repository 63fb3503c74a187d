"""What a score says, and how the table looks."""

from io import StringIO

import pytest
from rich.console import Console

from bench.row import Row, milliseconds, spread, table, verdict


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (None, "no budget"),
        (2.0, "met (2 x)"),
        (1.0, "met (1 x)"),
        (0.996, "met (0.996 x)"),
        (0.66, "short by 34 %"),
        (0.0, "short by 100 %"),
    ],
)
def test_a_score_is_put_in_words(score: float | None, words: str) -> None:
    assert verdict(score) == words


def test_a_row_keeps_notes_for_people_and_facts_for_scripts() -> None:
    row = Row.of("speed", "2/s", "1/s", 0.5, "slow today", per_second=1.0)
    assert row.verdict == "short by 50 %"
    assert row.notes == ("slow today",)
    assert dict(row.facts) == {"per_second": 1.0}


def test_what_was_not_measured_says_why() -> None:
    row = Row.skipped("speed", "2/s", "there is no engine")
    assert (row.verdict, row.score, row.notes) == ("skipped", None, ("there is no engine",))


def test_the_table_shows_every_row_whatever_is_in_it() -> None:
    rows = [
        Row.of("a", "2/s", "3/s", 1.5, "with [brackets] and [/]"),
        Row.of("b", "2/s", "1/s", 0.5),
        Row.skipped("c", "1 s", "no engine"),
    ]
    out = StringIO()
    Console(file=out, width=120).print(table(rows))
    text = out.getvalue()
    for words in ("met (1.5 x)", "short by 50 %", "skipped", "no engine", "[brackets] and [/]"):
        assert words in text


def test_samples_are_summed_up_by_their_median() -> None:
    assert spread([5.0, 1.0, 2.0]) == (1.0, 2.0, 5.0)
    assert milliseconds(0.0123) == "12.3 ms"
