"""Results on disk: whole or not there, and nothing that was damaged is believed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.work.stash import Entry, Stash
from workunits.errors import LocalError, RemoteError
from workunits.ids import JobId, LeaseToken, UnitId
from workunits.results import Ending, Result

OPEN: list[Stash] = []
RESULT = Result(Ending.EXITED, 0, ()).encode()


def entry_of(token: int, *contents: bytes) -> Entry:
    return Entry(LeaseToken(token), UnitId(JobId(bytes(32)), 7), RESULT, contents)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def stash_in(folder: Path) -> Stash:
    """A stash that is closed after the test, as if it had been killed before."""
    OPEN.append(Stash(folder))
    return OPEN[-1]


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    stash = stash_in(tmp_path / "a" / "b")
    entries = [entry_of(1, b"one"), entry_of(2**63 - 1, b""), entry_of(3)]
    for entry in entries:
        stash.put(entry)
        assert stash.get(entry.token) == entry
    assert stash_in(tmp_path / "a" / "b").load() == (entries, 0)  # as after a crash
    stash.close()
    assert stash_in(tmp_path / "a" / "b").load() == (entries, 0)


def test_what_was_removed_is_gone_and_takes_no_space(tmp_path: Path) -> None:
    stash = stash_in(tmp_path)
    for token in range(10):
        stash.put(entry_of(token, bytes(100)))
    for token in range(0, 10, 2):
        stash.remove(LeaseToken(token))
        stash.remove(LeaseToken(token))
        assert stash.get(LeaseToken(token)) is None
    stash.put(entry_of(11))
    again = stash_in(tmp_path)
    assert [entry.token for entry in again.load()[0]] == [1, 3, 5, 7, 9, 11]
    for token in (1, 3, 5, 7, 9, 11):
        again.remove(LeaseToken(token))
    assert list(tmp_path.iterdir()) == []
    again.close()


def test_a_stash_that_was_emptied_leaves_no_file(tmp_path: Path) -> None:
    stash = stash_in(tmp_path)
    stash.put(entry_of(1))
    stash.remove(LeaseToken(1))
    stash.close()
    assert list(tmp_path.iterdir()) == []


def test_files_do_not_grow_without_end(tmp_path: Path) -> None:
    stash = stash_in(tmp_path)
    block = bytes(200_000)
    for token in range(60):
        stash.put(entry_of(token, block))
        if token >= 5:
            stash.remove(LeaseToken(token - 5))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000_000
    assert [entry.token for entry in stash_in(tmp_path).load()[0]][-5:] == [55, 56, 57, 58, 59]


def test_many_threads_share_the_file(tmp_path: Path) -> None:
    stash = stash_in(tmp_path)
    entries = [entry_of(token, bytes([token])) for token in range(64)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(stash.put, entries))
    assert [stash.get(entry.token) for entry in entries] == entries
    found, broken = stash_in(tmp_path).load()
    assert sorted(found, key=lambda entry: entry.token) == entries
    assert broken == 0


@pytest.mark.parametrize("place", range(0, 130, 7))
def test_damage_costs_no_more_than_what_was_damaged(tmp_path: Path, place: int) -> None:
    stash = stash_in(tmp_path)
    for token in (1, 2):
        stash.put(entry_of(token))
    (path,) = tmp_path.iterdir()
    raw = bytearray(path.read_bytes())
    half = len(raw) // 2
    raw[half + place % half] ^= 0x10  # in the second record
    path.write_bytes(raw)
    assert stash.get(LeaseToken(2)) is None
    found, broken = stash_in(tmp_path).load()
    assert [entry.token for entry in found] == [1]
    assert broken >= 1


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 60])
def test_a_record_that_was_cut_off_is_counted(tmp_path: Path, cut: int) -> None:
    stash = stash_in(tmp_path)
    for token in (1, 2):
        stash.put(entry_of(token))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    found, broken = stash_in(tmp_path).load()
    assert [entry.token for entry in found] == [1]
    assert broken == 1


def test_a_disk_that_fails_costs_only_what_was_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stash = stash_in(tmp_path)
    stash.put(entry_of(1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(LocalError, match="No space") as caught:
            stash.put(entry_of(2))
    assert caught.value.hint
    stash.put(entry_of(3))
    assert [stash.get(LeaseToken(token)) is not None for token in (1, 2, 3)] == [True, False, True]


def test_a_folder_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError) as caught:
        stash_in(tmp_path / "file")
    assert caught.value.hint
    stash = stash_in(tmp_path / "gone")
    stash.close()
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
