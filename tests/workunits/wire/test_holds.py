"""What a peer holds: named, bounded, told as changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.canonical import encode
from workunits.errors import LimitError, MalformedError
from workunits.ids import BlobRef
from workunits.wire import work
from workunits.wire.holds import MAX_HELD, NAME_SIZE, Holds, changes, name_of

A, B = b"a" * NAME_SIZE, b"b" * NAME_SIZE


def ref(number: int) -> BlobRef:
    return BlobRef(number.to_bytes(32, "little"), bytes(20), number)


def frame(**fields: object) -> bytes:
    return encode({"added": b"", "disk": 0, "removed": b"", "t": "holds"} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"added": A[1:]},
        {"added": B + A},
        {"removed": A + A},
        {"added": A, "removed": A},
        {"disk": -1},
        {"disk": 2**60 + 1},
        {"more": 1},
    ],
)
def test_one_change_has_one_spelling(fields: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        work.parse_from_peer(frame(**fields))


def test_more_than_a_thousand_blobs_are_not_named() -> None:
    names = b"".join(number.to_bytes(NAME_SIZE, "big") for number in range(MAX_HELD + 1))
    with pytest.raises(LimitError):
        work.parse_from_peer(frame(added=names))
    work.parse_from_peer(frame(added=names[:-NAME_SIZE]))


def test_of_more_blobs_those_used_last_are_named() -> None:
    said, holds = changes(frozenset(), map(ref, range(MAX_HELD + 5)), 7)
    assert said == holds.added == {name_of(ref(number)) for number in range(5, MAX_HELD + 5)}
    assert (holds.removed, holds.disk_bytes) == (frozenset(), 7)


@given(st.lists(st.frozensets(st.integers(0, 30))))
def test_changes_add_up(steps: list[frozenset[int]]) -> None:
    said: frozenset[bytes] = frozenset()
    heard: set[bytes] = set()
    for step in steps:
        said, holds = changes(said, map(ref, sorted(step)), 0)
        parsed = work.parse_from_peer(work.encode(holds))
        assert isinstance(parsed, Holds)
        heard = (heard - parsed.removed) | parsed.added
        assert heard == said == {name_of(ref(number)) for number in step}
