"""What is held is written down for people, and read strictly."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.blobs import BlobStore
from client.holds import HOLDS, Notes
from client.inventory import Inventory
from workunits.errors import SwarmError

QUOTA = 10**7
reasons = st.lists(st.text(st.characters(categories=["L", "N", "P"]), max_size=50), max_size=5)
names = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.none() | st.integers(0, 2**63 - 1), st.dictionaries(names, reasons.map(tuple)))
def test_notes_are_read_as_written(quota: int | None, holds: dict[str, tuple[str, ...]]) -> None:
    notes = Notes(quota, holds)
    assert Notes.parse(notes.encode()) == notes


@given(st.binary(max_size=300))
def test_foreign_notes_are_refused(raw: bytes) -> None:
    with pytest.raises(SwarmError):
        Notes.parse(raw)


@pytest.mark.parametrize(
    "text",
    [
        '{"quota": -1, "holds": []}',
        '{"quota": null}',
        '{"quota": 1, "holds": {}}',
        '{"quota": 1, "holds": [{"blob": "ab", "why": []}]}',
        '{"quota": 1, "holds": [{"blob": "' + "ab" * 32 + '", "why": [1]}]}',
        '{"quota": 1, "holds": [{"blob": "' + "ab" * 32 + '", "why": ["' + "x" * 201 + '"]}]}',
    ],
)
def test_notes_are_read_strictly(text: str) -> None:
    with pytest.raises(SwarmError):
        Notes.parse(text.encode())


def test_control_characters_in_a_reason_do_not_reach_the_terminal() -> None:
    raw = Notes(1, {"ab" * 32: ("\x1b[2J",)}).encode()
    assert "\x1b" not in Notes.parse(raw).holds["ab" * 32][0]


def test_the_holds_of_the_last_owner_stay_until_the_next_one_holds_something(
    tmp_path: Path,
) -> None:
    with BlobStore(tmp_path, quota=QUOTA) as store:
        one, two = store.add(b"one"), store.add(b"two")
        store.hold(one, "output")
    with BlobStore(tmp_path, quota=None) as store:
        assert store.quota == QUOTA
        store.release(one, "output")
    assert {each.ref: each.holds for each in Inventory.take(tmp_path).blobs} == {
        one: ("output",),
        two: (),
    }
    with BlobStore(tmp_path, quota=2 * QUOTA) as store:
        store.hold(two, "input")
    assert {each.ref: each.holds for each in Inventory.take(tmp_path).blobs} == {
        one: (),
        two: ("input",),
    }
    assert Inventory.take(tmp_path).quota == 2 * QUOTA


def test_notes_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    (tmp_path / HOLDS).write_bytes(b"{")
    assert Notes.load(tmp_path) == Notes()
    with BlobStore(tmp_path, quota=None) as store:
        assert store.quota == 0
