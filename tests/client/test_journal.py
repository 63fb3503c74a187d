"""A journal says what is on disk, whatever became of its end, and nothing that it does not know."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.folders import FolderShelf, places_of
from client.journal import (
    SALT_SIZE,
    Journal,
    encode_head,
    encode_record,
    parse_journal,
    read_journal,
)
from tests.client.receiving import info_of
from workunits.errors import LocalError, MalformedError
from workunits.torrents import of_blob

V2 = bytes(range(32))
SALT = b"s" * SALT_SIZE
HEAD = encode_head(V2, SALT)
kept = st.tuples(st.integers(0, 99), st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)))


def journal_of(entries: list[tuple[int, bytes]], salt: bytes = SALT) -> bytes:
    return encode_head(V2, salt) + b"".join(encode_record(salt, each) for each in entries)


@given(st.lists(kept))
def test_what_was_written_is_read(entries: list[tuple[int, bytes]]) -> None:
    entries = [(piece, b"" if digest == bytes(32) else digest) for piece, digest in entries]
    raw = journal_of(entries)
    assert parse_journal(raw, V2, 100) == (SALT, dict(entries), len(raw))


@given(st.lists(kept, min_size=1), st.integers(1, 39), st.binary(max_size=100))
def test_a_torn_end_costs_only_the_last_record(
    entries: list[tuple[int, bytes]], lost: int, rest: bytes
) -> None:
    raw = journal_of(entries)
    whole = parse_journal(raw[:-lost], V2, 100)
    assert whole == parse_journal(raw[:-40], V2, 100)
    assert parse_journal(raw[:-40] + bytes(len(rest)), V2, 100) == whole


@given(st.lists(kept, min_size=1), st.data())
def test_after_a_wrong_bit_nothing_is_believed(
    entries: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    raw = bytearray(journal_of(entries))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    found = parse_journal(bytes(raw), V2, 100)
    if at < len(HEAD):
        assert found is None
    else:
        good = (at - len(HEAD)) // 40
        assert found == parse_journal(journal_of(entries[:good]), V2, 100)


@given(st.binary(max_size=500))
def test_any_bytes_are_read_without_an_error(raw: bytes) -> None:
    parse_journal(raw, V2, 5)
    found = parse_journal(HEAD + raw, V2, 5)
    assert found is not None and all(piece < 5 for piece in found[1])


def test_records_of_another_journal_and_pieces_that_do_not_exist_are_not_believed() -> None:
    stale = encode_record(b"t" * SALT_SIZE, (1, V2))
    assert parse_journal(journal_of([(0, V2)]) + stale, V2, 5) == (SALT, {0: V2}, len(HEAD) + 40)
    assert parse_journal(journal_of([(0, V2), (5, V2), (1, V2)]), V2, 5) == (
        *(SALT, {0: V2}),
        len(HEAD) + 40,
    )
    assert parse_journal(journal_of([]), bytes(32), 5) is None


def test_a_journal_is_gone_on_with_after_its_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal.create(path, V2)
    journal.append([(1, V2), (2, b"")])
    journal.close()
    with path.open("ab") as stream:
        stream.write(b"torn")
    journal, pieces = Journal.resume(path, V2, 10)
    assert pieces == {1: V2, 2: b""}
    journal.append([(3, V2)])
    journal.close()
    assert read_journal(path, V2, 10) == {1: V2, 2: b"", 3: V2}
    assert read_journal(path, bytes(32), 10) is None
    assert read_journal(tmp_path / "none", V2, 10) is None
    with pytest.raises(OSError, match="not the journal"):
        Journal.resume(path, bytes(32), 10)
    with pytest.raises(FileExistsError):
        Journal.create(path, V2)


def test_a_disk_that_takes_a_part_is_an_error_and_the_part_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal.create(path, V2)
    write = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda number, data, at: write(number, data[:10], at))
        with pytest.raises(OSError, match="part"):
            journal.append([(1, V2)])
    journal.append([(2, V2)])
    journal.close()
    assert read_journal(path, V2, 10) == {2: V2}


def test_no_torrent_may_be_called_like_a_journal() -> None:
    info = of_blob(info_of(b"content"))
    for name in (".D.swarm", ".d.SWARM"):
        files = (replace(info.files[0], path=(name,)),)
        with pytest.raises(MalformedError, match="look like"):
            places_of(replace(info, name=name, files=files))
        with pytest.raises(MalformedError, match="look like"):
            places_of(info, name)


def test_a_journal_of_somebody_else_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = of_blob(info_of(b"content"))
    shelf = FolderShelf(tmp_path, info)
    storage = shelf.begin(info)
    storage.close()
    storage.wait()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(LocalError, match="somebody else"):
        shelf.begin(info)
