"""Sizes and durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.jobs.quantities import format_seconds, format_size, parse_seconds, parse_size, plural


def test_sizes_have_powers_of_1000_and_of_1024() -> None:
    assert parse_size("256MB") == 256_000_000
    assert parse_size(" 1.5 GiB ") == 3 << 29
    assert parse_size("10") == 10


def test_durations_have_units() -> None:
    assert [parse_seconds(text) for text in ("90", "90s", "1.5min", "2h", "1d")] == [
        90, 90, 90, 7200, 86400,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "MB", "-1s", "1e3", "1.5", "1 parsec", "1.1B", "\u0661s"])
def test_what_is_neither_says_what_is_wanted(text: str) -> None:
    for parse in (parse_size, parse_seconds):
        with pytest.raises(ValueError, match="such as"):
            parse(text)


@given(st.text())
def test_any_text_is_a_whole_number_or_refused(text: str) -> None:
    for parse in (parse_size, parse_seconds):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert str(error)


def test_amounts_are_shown_short() -> None:
    sizes = (999, 1536, 300 << 20, 5 << 40)
    assert [format_size(size) for size in sizes] == ["999 B", "1.5 KiB", "300 MiB", "5.0 TiB"]
    times = (5, 65, 3900, 90000)
    assert [format_seconds(each) for each in times] == ["5 s", "1 min 5 s", "1 h 5 min", "1 d 1 h"]
    assert [plural(1, "unit"), plural(1200, "unit")] == ["1 unit", "1,200 units"]
