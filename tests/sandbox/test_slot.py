"""Host files are shown by link where that is safe, and always as they are now."""

from pathlib import Path

import pytest

from sandbox.runner import Mount
from sandbox.slot import Slot
from workunits.errors import LocalError


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return Slot(tmp_path / "slot")


def blob(folder: Path, name: str, text: str, mode: int = 0o644) -> Mount:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return Mount(name, path)


def shown(slot: Slot) -> dict[str, str]:
    return {path.name: path.read_text() for path in (slot.folder / "in").iterdir()}


def test_a_readable_blob_is_linked_and_a_private_one_copied(slot: Slot, tmp_path: Path) -> None:
    open_, closed = blob(tmp_path, "open", "1"), blob(tmp_path, "closed", "2", 0o600)
    assert not slot.needs_copy([open_])
    assert slot.needs_copy([open_, closed])
    slot.fill([open_, closed])
    assert shown(slot) == {"open": "1", "closed": "2"}
    assert (slot.folder / "in" / "open").stat().st_ino == open_.path.stat().st_ino
    assert (slot.folder / "in" / "closed").stat().st_mode & 0o777 == 0o444
    assert closed.path.stat().st_mode & 0o777 == 0o600
    assert not slot.needs_copy([open_, closed])


def test_only_the_inputs_of_this_unit_are_there(slot: Slot, tmp_path: Path) -> None:
    slot.fill([blob(tmp_path, "a", "1"), blob(tmp_path, "b", "2")])
    slot.fill([blob(tmp_path, "b", "2"), blob(tmp_path, "c", "3")])
    assert shown(slot) == {"b": "2", "c": "3"}
    slot.fill([])
    assert shown(slot) == {}


def test_another_file_under_the_same_name_replaces_it(slot: Slot, tmp_path: Path) -> None:
    slot.fill([blob(tmp_path, "a", "old", 0o600)])
    slot.fill([blob(tmp_path, "a", "newer", 0o600)])
    assert shown(slot) == {"a": "newer"}
    other = tmp_path / "other"
    other.mkdir()
    slot.fill([blob(other, "a", "elsewhere")])
    assert shown(slot) == {"a": "elsewhere"}


def test_folders_hold_what_is_for_them_and_go_with_it(slot: Slot, tmp_path: Path) -> None:
    path = blob(tmp_path, "file", "text").path
    inside = slot.folder / "in"
    slot.fill([Mount("file", path, "a"), Mount("file", path)], ["a", "b"])
    assert (inside / "a" / "file").read_text() == (inside / "file").read_text() == "text"
    assert sorted(each.name for each in inside.iterdir()) == ["a", "b", "file"]
    assert (inside / "b").stat().st_mode & 0o777 == 0o755
    slot.fill([Mount("file", path, "b")], ["b", "c"])
    assert sorted(str(each.relative_to(inside)) for each in inside.rglob("*")) == [
        *("b", "b/file", "c"),
    ]
    slot.fill([Mount("b", path)])
    assert shown(slot) == {"b": "text"}


def test_a_link_to_a_file_shows_the_file(slot: Slot, tmp_path: Path) -> None:
    target = blob(tmp_path, "target", "text")
    (tmp_path / "link").symlink_to(target.path)
    slot.fill([Mount("link", tmp_path / "link")])
    assert not (slot.folder / "in" / "link").is_symlink()
    assert shown(slot) == {"link": "text"}


def test_program_files_that_look_executable_are(slot: Slot, tmp_path: Path) -> None:
    slot.install([blob(tmp_path, "run", "#!/bin/sh\n", 0o600), blob(tmp_path, "data", "x", 0o755)])
    assert (slot.folder / "job" / "run").stat().st_mode & 0o777 == 0o555
    assert (slot.folder / "job" / "data").read_text() == "x"


def test_what_cannot_be_read_is_our_own_error_with_a_hint(slot: Slot, tmp_path: Path) -> None:
    for mount in (Mount("a", tmp_path / "absent"), Mount("a", tmp_path)):
        with pytest.raises(LocalError) as caught:
            slot.fill([mount])
        assert caught.value.hint
        with pytest.raises(LocalError):
            slot.install([mount])


def test_removing_the_slot_keeps_the_originals(slot: Slot, tmp_path: Path) -> None:
    mount = blob(tmp_path, "a", "text")
    slot.fill([mount])
    slot.remove()
    assert not slot.folder.exists()
    assert mount.path.read_text() == "text"
