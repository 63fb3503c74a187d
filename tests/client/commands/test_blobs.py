"""What a blob store holds, for people: seen while it is in use, checked and emptied while not."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.blobs import BlobStore
from tests.client.commands.shell import Shell
from tests.client.receiving import DATA, INFO, receive
from workunits.ids import BlobRef

QUOTA = 10_000_000


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home", "http://127.0.0.1:1")


@pytest.fixture
def folder(shell: Shell) -> Path:
    return shell.home / "blobs"


def fill(folder: Path) -> tuple[BlobRef, BlobRef]:
    """A held blob, a free one, and a part of a third."""
    with BlobStore(folder, quota=QUOTA) as store:
        held, free = store.add(b"held" * 1000), store.add(b"free" * 500)
        store.hold(held, "output of lease 17")
        incoming = store.begin(INFO)
        receive(incoming, 1, 2, 3)
        incoming.close()
    return held, free


@pytest.fixture
def filled(folder: Path) -> Iterator[tuple[BlobRef, BlobRef]]:
    yield fill(folder)


def names(shell: Shell) -> set[str]:
    return {each["blob"] for each in shell.good("blobs", "--json").json["blobs"]}


def test_an_empty_home_has_no_blobs(shell: Shell, folder: Path) -> None:
    said = shell.good("blobs")
    assert said.out == "" and "no blobs" in said.err
    value = shell.good("blobs", "list", "--json").json
    assert value["blobs"] == [] and value["quota"] is None and not value["running"]
    refused = shell.run("blobs", "verify")
    assert refused.status == 1 and "hint:" in refused.err
    assert not folder.exists()


def test_blobs_are_listed_with_what_holds_them_while_their_owner_runs(
    shell: Shell, folder: Path, filled: tuple[BlobRef, BlobRef]
) -> None:
    held, free = filled
    with BlobStore(folder, quota=QUOTA):
        said = shell.good("blobs")
        value = shell.good("blobs", "--json").json
    lines = said.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    (line,) = [line for line in lines if line.startswith(str(held)[:12])]
    assert "100%" in line and line.endswith("output of lease 17")
    (line,) = [line for line in lines if line.startswith(str(INFO.ref)[:12])]
    assert " 7%" in line
    assert "2 blobs and 1 part" in said.err and "in use by a volunteer" in said.err
    assert value["running"] and value["quota"] == QUOTA
    assert value["used"] == held.length + free.length + len(DATA)
    assert value["free"] == QUOTA - value["used"]
    found = {each["blob"]: each for each in value["blobs"]}
    assert found[str(held)]["holds"] == ["output of lease 17"]
    assert found[str(free)]["complete"] and found[str(free)]["holds"] == []
    assert found[str(INFO.ref)]["kept"] == 3 * INFO.piece_length
    assert not found[str(INFO.ref)]["complete"]
    assert "; not in use" in shell.good("blobs").err


def test_many_or_long_reasons_fit_a_line(shell: Shell, folder: Path) -> None:
    with BlobStore(folder, quota=QUOTA) as store:
        refs = [store.add(bytes([number])) for number in range(3)]
        store.hold(refs[0], "x" * 100)
        for number in range(20):
            store.hold(refs[1], f"a reason with the number {number}")
        for number in range(3):
            store.hold(refs[2], f"job {number}")
    out = shell.good("blobs").out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "xxx..." in out and "... +19" in out and "job 0, job 1, job 2" in out


@pytest.mark.parametrize("words", [("evict", "--partial"), ("verify",)])
def test_nothing_is_changed_while_a_volunteer_runs(
    shell: Shell, folder: Path, filled: tuple[BlobRef, BlobRef], words: tuple[str, ...]
) -> None:
    with BlobStore(folder, quota=QUOTA):
        said = shell.run("blobs", *words)
        assert said.status == 1
        assert "a volunteer uses the blob store" in said.err and "hint: Stop it" in said.err
        assert json.loads(shell.run("blobs", *words, "--json").err)["error"]["code"] == "in-use"
    assert len(names(shell)) == 3


def test_a_blob_is_evicted_by_its_first_digits(
    shell: Shell, filled: tuple[BlobRef, BlobRef]
) -> None:
    held, free = filled
    assert "1 blob evicted" in shell.good("blobs", "evict", str(free)[:8]).err
    assert names(shell) == {str(held), str(INFO.ref)}
    refused = shell.run("blobs", "evict", str(held))
    assert refused.status == 1
    assert "is held: output of lease 17" in refused.err and "--force" in refused.err
    assert shell.good("blobs", "evict", str(held), "--force", "--json").json == {
        "evicted": [str(held)],
        "freed": held.length,
    }
    assert names(shell) == {str(INFO.ref)}
    assert shell.run("blobs", "evict", "zz").status == 1
    assert shell.run("blobs", "evict").status == 2


def test_what_nothing_holds_is_evicted_at_once(
    shell: Shell, filled: tuple[BlobRef, BlobRef]
) -> None:
    held, free = filled
    shell.good("blobs", "evict", "--partial")
    assert names(shell) == {str(held), str(free)}
    shell.good("blobs", "evict", "--all-unheld")
    assert names(shell) == {str(held)}
    shell.good("blobs", "evict", "--all-unheld", "--force")
    assert names(shell) == set()


def test_digits_that_fit_several_blobs_name_none(shell: Shell, folder: Path) -> None:
    with BlobStore(folder, quota=QUOTA) as store:
        refs = [store.add(bytes([number])) for number in range(17)]
    first = [str(ref)[0] for ref in refs]
    twice = next(digit for digit in first if first.count(digit) > 1)
    said = shell.run("blobs", "evict", twice)
    assert said.status == 1 and "Give more digits" in said.err
    assert len(names(shell)) == 17


def test_damage_is_found_told_and_removed(
    shell: Shell, folder: Path, filled: tuple[BlobRef, BlobRef]
) -> None:
    held, free = filled
    good = shell.good("blobs", "verify", "--json").json
    assert good == {
        "checked": 3,
        "bytes": held.length + free.length + 3 * INFO.piece_length,
        "damaged": [],
    }
    for path, at in (
        (folder / str(free) / "content", 100),
        (folder / "incoming" / str(INFO.ref) / "content", 2 * INFO.piece_length + 5),
    ):
        path.chmod(0o600)
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.write(b"\xff\x00\xff")
    said = shell.run("blobs", "verify")
    assert said.status == 1
    assert f"{free} was damaged" in said.out and f"{INFO.ref} was damaged" in said.out
    assert "3 blobs read, 2 damaged" in said.err
    assert names(shell) == {str(held)}
    assert shell.good("blobs", "verify").out == ""


def test_damage_to_what_was_not_kept_yet_is_none(
    shell: Shell, folder: Path, filled: tuple[BlobRef, BlobRef]
) -> None:
    with (folder / "incoming" / str(INFO.ref) / "content").open("r+b") as stream:
        stream.seek(9 * INFO.piece_length)
        stream.write(b"\xff\x00\xff")
    assert shell.good("blobs", "verify", "--json").json["damaged"] == []
