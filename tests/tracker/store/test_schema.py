"""The database file: durable settings, and migrations that can be applied again."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tracker.rows import TABLES
from tracker.store.schema import connect, migrate
from workunits.errors import LocalError


def test_commits_outlive_a_power_cut(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_migrations_apply_twice(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "db")) as connection:
        migrate(connection)
        first = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        connection.execute("INSERT INTO ledger VALUES (0, x'00', x'01')")
        migrate(connection)
        again = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        assert first == again
        assert connection.execute("SELECT count(*) FROM ledger").fetchone() == (1,)


def test_every_kind_of_row_has_its_table_with_the_same_columns_and_key(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "db")) as connection:
        migrate(connection)
        for kind, table in TABLES.items():
            columns = connection.execute(f"PRAGMA table_info({table.name})").fetchall()
            assert tuple(column[1] for column in columns) == kind._fields
            assert [column[5] for column in columns[: table.keys]] == list(range(1, table.keys + 1))
            assert not any(column[5] for column in columns[table.keys :])


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "db")) as connection:
        migrate(connection)
        with (
            closing(connect(tmp_path / "db", read_only=True)) as reader,
            pytest.raises(sqlite3.OperationalError, match="readonly"),
        ):
            reader.execute("DELETE FROM ledger")


def test_a_database_that_cannot_be_opened_says_what_to_check(tmp_path: Path) -> None:
    for read_only in (False, True):
        with pytest.raises(LocalError, match="cannot open the database") as caught:
            connect(tmp_path / "nowhere" / "db", read_only=read_only)
        assert "directory exists" in caught.value.hint


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"no database at all" * 100)
    with pytest.raises(LocalError, match="not a database"):
        connect(tmp_path / "db")
