"""Results on disk: whole or not there, and nothing that was damaged is believed."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.stash import Entry, Stash
from workunits.errors import LocalError, RemoteError
from workunits.ids import JobId, LeaseToken, UnitId
from workunits.results import Ending, Result

RESULT = Result(Ending.EXITED, 0, ()).encode()


def entry_of(token: int, *contents: bytes) -> Entry:
    return Entry(LeaseToken(token), UnitId(JobId(bytes(32)), 7), RESULT, contents)


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    stash = Stash(tmp_path / "a" / "b")
    entries = [entry_of(1, b"one"), entry_of(2**63 - 1, b""), entry_of(3)]
    for entry in entries:
        stash.put(entry)
        assert stash.get(entry.token) == entry
    found, broken = Stash(tmp_path / "a" / "b").load()
    assert {entry.token: entry for entry in found} == {each.token: each for each in entries}
    assert broken == 0


def test_what_was_removed_is_gone(tmp_path: Path) -> None:
    stash = Stash(tmp_path)
    stash.put(entry_of(1))
    stash.remove(LeaseToken(1))
    stash.remove(LeaseToken(1))
    assert stash.get(LeaseToken(1)) is None
    assert stash.load() == ([], 0)


@pytest.mark.parametrize("damage", [b"", b"d", b"de", b"i1e", entry_of(9).encode()])
def test_damaged_and_misplaced_files_are_counted_and_removed(tmp_path: Path, damage: bytes) -> None:
    stash = Stash(tmp_path)
    stash.put(entry_of(1))
    stash.put(entry_of(2))
    (path,) = tmp_path.glob("*1.result")
    path.write_bytes(damage)
    (tmp_path / "half.new").write_bytes(b"half")
    found, broken = Stash(tmp_path).load()
    assert [entry.token for entry in found] == [2]
    assert broken == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError) as caught:
        Stash(tmp_path / "file")
    assert caught.value.hint
    stash = Stash(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(LocalError):
        stash.put(entry_of(1))


@given(
    token=st.integers(0, 2**63 - 1),
    index=st.integers(0, 2**63 - 1),
    contents=st.lists(st.binary(max_size=50), max_size=16),
)
def test_an_entry_reads_back_as_itself(token: int, index: int, contents: list[bytes]) -> None:
    unit = UnitId(JobId(b"j" * 32), index)
    entry = Entry(LeaseToken(token), unit, RESULT, tuple(contents))
    assert Entry.parse(entry.encode()) == entry


@given(raw=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        Entry.parse(raw)
