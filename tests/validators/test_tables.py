"""Tables and text, as strangers write them."""

import csv
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.closeness import Tolerance
from validators.tables import csv_close, parse, text_close, tsv_close
from workunits.errors import MalformedError

SOME = Tolerance(1e-6, 1e-9)
cells = st.text(st.characters(codec="utf-8"), max_size=4) | st.floats().map(repr)
raws = st.binary(max_size=40) | st.text(' ",\t\r\n19.x', max_size=40).map(str.encode)


def test_rows_and_cells_keep_their_places() -> None:
    for close in (csv_close, text_close):
        assert close(b"x,1.0,2\ny,3,4\n", b"x,1.0000001, 2.0\r\ny,3,4", SOME)
        assert not close(b"x,1\ny,2\n", b"y,2\nx,1\n", SOME)
        assert not close(b"1,,2\n", b"1,2,\n", SOME)
        assert not close(b"1,,2\n", b"1,2\n", SOME)
        assert not close(b"1,2\n", b"1,2\n\n", SOME)
        assert not close(b"x,1\n", b"z,1\n", SOME)
        assert not close(b"1\n", b"one\n", SOME)


def test_white_space_only_separates_the_words_of_a_cell() -> None:
    for close in (csv_close, text_close):
        assert close(b"mean  1.5 m\n", b" mean 1.5000001 m \n", SOME)
        assert not close(b"1 2\n", b"12\n", SOME)
        assert not close(b"1 2\n", b"1,2\n", SOME)


def test_a_cell_in_quotes_is_the_cell() -> None:
    assert csv_close(b'"a,b",1\n', b'"a,b",1.0\n', SOME)
    assert csv_close(b'"1","x"\n', b"1.0,x\n", SOME)
    assert csv_close(b'"a\nb ""c""",1\n', b'"a\nb ""c""",1.0\n', SOME)
    assert not csv_close(b'"a,b",1\n', b"a,b,1\n", SOME)
    assert not text_close(b'"1"\n', b'"1.0"\n', SOME)


def test_tabs_separate_the_cells_of_a_tsv() -> None:
    assert tsv_close(b"a, b\t1\n", b"a, b\t1.0\n", SOME)
    assert not tsv_close(b"1\t\t2\n", b"1\t2\t\n", SOME)
    assert not tsv_close(b"1,0\n", b"1,0.0\n", SOME)


def test_long_integers_are_compared_by_all_their_digits() -> None:
    exact = Tolerance(0, 0)
    assert not text_close(b"9007199254740993", b"9007199254740992", exact)
    assert not text_close(b"1" * 400, b"2" * 400, SOME)
    assert not text_close(b"1e400", b"2e400", SOME)
    assert text_close(b"1e400 1", b"1e400 1.0", SOME)


@pytest.mark.parametrize(
    "raw", [b"\xff", b'"open', b'"a"b,1\n', b'"' * 3, b"x" * (1 << 18)], ids=lambda raw: raw[:8]
)
def test_what_is_not_a_table_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(raw, ",")


@given(st.lists(st.lists(cells, min_size=1, max_size=3), max_size=4))
def test_what_csv_writes_is_read_as_it_was(rows: list[list[str]]) -> None:
    out = StringIO(newline="")
    csv.writer(out).writerows(rows)
    assert parse(out.getvalue().encode(), ",") == rows


@given(raws, raws)
def test_any_bytes_compare_symmetrically_or_are_malformed(one: bytes, other: bytes) -> None:
    for close in (csv_close, tsv_close, text_close):
        try:
            forth, back = close(one, other, SOME), close(other, one, SOME)
        except MalformedError:
            continue
        assert forth == back
        assert close(one, one, SOME)


def test_reading_takes_time_in_proportion_to_length() -> None:
    hostile = b" " * 60_000 + b"1" * 60_000 + b"x," + b"e" * 60_000 + b"." * 60_000
    assert not text_close(hostile, hostile + b"1", SOME)
    assert not csv_close(hostile, hostile + b"1", SOME)


def test_the_limit_of_a_cell_does_not_depend_on_what_else_the_process_reads() -> None:
    before = csv.field_size_limit(1 << 30)
    try:
        with pytest.raises(MalformedError, match="a cell has more than 131072"):
            parse(b"x" * ((1 << 17) + 1), ",")
        assert parse(b"x" * (1 << 17), ",") == [["x" * (1 << 17)]]
    finally:
        csv.field_size_limit(before)
