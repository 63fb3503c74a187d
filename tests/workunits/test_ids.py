"""Identifiers as people see and type them."""

import pytest
from hypothesis import given

from tests.workunits.strategies import hashes
from workunits.errors import MalformedError
from workunits.ids import BlobRef, JobId, UnitId, parse_hash, short


@given(hashes)
def test_a_hash_survives_its_hex(value: bytes) -> None:
    assert parse_hash(value.hex(), "key") == value
    assert parse_hash(value.hex().upper(), "key") == value


@pytest.mark.parametrize(
    "text", ["", "ab", "g" * 64, "a" * 63, "a" * 65, " " + "a" * 63, "a" * 32 + " " * 32, "é" * 64]
)
def test_what_is_not_64_hex_digits_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match="key must be 64 hex digits"):
        parse_hash(text, "key")


def test_ids_are_shown_short() -> None:
    assert short(b"\xab" * 32) == "ab" * 6
    assert str(UnitId(JobId(b"\xab" * 32), 7)) == "ab" * 6 + "/7"
    assert str(BlobRef(b"\x01" * 32, b"\x02" * 20, 5)) == "01" * 32
