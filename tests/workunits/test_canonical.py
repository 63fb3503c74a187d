"""Canonical bencode: one value, one spelling, and nothing hostile gets past it."""

import bencodepy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.canonical import MAX_DEPTH, MAX_INTEGER, Fields, decode, decode_fields, encode
from workunits.errors import LimitError, MalformedError

LIMIT = 100_000
values = st.recursive(
    st.integers(-MAX_INTEGER, MAX_INTEGER) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
def test_what_is_encoded_decodes_to_the_same_value(value: object) -> None:
    assert decode(encode(value), limit=LIMIT) == value


@given(st.binary(max_size=60) | st.text("deil0123:-ab", max_size=40).map(str.encode))
def test_arbitrary_bytes_decode_to_the_one_value_with_that_spelling_or_are_refused(
    raw: bytes,
) -> None:
    try:
        value = decode(raw, limit=LIMIT)
    except MalformedError:
        return
    assert encode(value) == raw
    assert bencodepy.decode(raw) == value


@given(values, st.data())
def test_a_changed_byte_is_another_value_or_refused(value: object, data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(raw), limit=LIMIT)
    except MalformedError:
        return
    assert encode(decoded) == bytes(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"d1:bi1e1:ai1ee",
        b"d1:ai1e1:ai1ee",
        b"i1ei1e",
        b"i01e",
        b"i-0e",
        b"i+1e",
        b"i 1e",
        b"i1_0e",
        b"ie",
        b"i1",
        b"01:a",
        b"-1:a",
        b"3:ab",
        b"1:ab",
        b"99999999999:a",
        b"99999999999999999999999999:a",
        b"l",
        b"li1e",
        b"d",
        b"d1:ae",
        b"di1ei1ee",
        b"d-1:ai1ee",
        b"x",
        b"i9223372036854775808e",
        b"i-9223372036854775808e",
        b"i" + b"9" * 50_000 + b"e",
    ],
)
def test_a_second_spelling_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(raw, limit=LIMIT)


def test_a_key_of_negative_length_does_not_lead_back_to_the_value_before() -> None:
    with pytest.raises(MalformedError, match="plain number"):
        decode(b"d3:abci5e-6:", limit=LIMIT)


def test_nesting_stops_at_the_limit() -> None:
    assert decode(b"l" * MAX_DEPTH + b"e" * MAX_DEPTH, limit=LIMIT)
    for opening in (b"l", b"d0:"):
        deep = opening * (MAX_DEPTH + 1) + b"e" * (MAX_DEPTH + 1)
        with pytest.raises(MalformedError):
            decode(deep, limit=LIMIT)
    with pytest.raises(MalformedError, match="nested"):
        decode(b"l" * LIMIT, limit=LIMIT)


def test_more_bytes_than_the_limit_are_not_looked_at() -> None:
    with pytest.raises(LimitError, match="over the limit of 3"):
        decode(b"xxxx", limit=3)


def fields(**items: object) -> Fields:
    return decode_fields(encode(items), limit=LIMIT, what="thing")


def test_fields_are_read_by_type_and_within_bounds() -> None:
    read = fields(
        number=5, flag=1, text="é", bytes=b"ab", texts=["a", "b"], group={"x": 1}, groups=[{}]
    )
    assert read.has("number")
    assert read.keys() == ("bytes", "flag", "group", "groups", "number", "text", "texts")
    assert read.integer("number", 5, 5) == 5
    assert not read.has("number")
    assert read.flag("flag")
    assert read.text("text", limit=2) == "é"
    assert read.octets("bytes", length=2) == b"ab"
    assert read.texts("texts", count=2, limit=1) == ("a", "b")
    assert read.group("group").integer("x") == 1
    assert len(read.groups("groups", 1)) == 1
    read.end()


def test_a_field_of_the_wrong_type_is_named() -> None:
    with pytest.raises(MalformedError, match="thing: x must be an integer from 0 to 9"):
        fields(x=10).integer("x", 0, 9)
    with pytest.raises(MalformedError, match="thing: x must be an integer"):
        fields(x=b"1").integer("x")
    with pytest.raises(MalformedError, match="thing: x must be an integer from 0 to 1"):
        fields(x=2).flag("x")
    with pytest.raises(MalformedError, match="thing: x must be a byte string"):
        fields(x=1).octets("x")
    with pytest.raises(MalformedError, match="thing: x must be 3 bytes, and is 2"):
        fields(x=b"ab").octets("x", length=3)
    with pytest.raises(MalformedError, match="thing: x must be UTF-8 text"):
        fields(x=b"\xff").text("x", limit=9)
    with pytest.raises(MalformedError, match="thing: x must be a list"):
        fields(x=b"ab").items("x", 3)
    with pytest.raises(MalformedError, match="thing: x must be byte strings"):
        fields(x=[1]).blocks("x", 3, 3)
    with pytest.raises(MalformedError, match="thing: x is not a dictionary"):
        fields(x=1).group("x")
    with pytest.raises(MalformedError, match="thing lacks the field 'y'"):
        fields(x=1).integer("y")
    with pytest.raises(MalformedError, match="thing is not a dictionary"):
        decode_fields(b"le", limit=LIMIT, what="thing")


def test_a_field_over_its_limit_is_a_limit_error() -> None:
    with pytest.raises(LimitError, match="x of 4 bytes is over 3"):
        fields(x=b"abcd").octets("x", limit=3)
    with pytest.raises(LimitError, match="x has 2 entries, more than 1"):
        fields(x=[1, 2]).items("x", 1)
    with pytest.raises(LimitError, match="x of 4 bytes is over 3"):
        fields(x=[b"abcd"]).blocks("x", 1, 3)


def test_fields_that_nobody_read_are_refused() -> None:
    read = fields(x=1, unknown=2)
    read.integer("x")
    with pytest.raises(MalformedError, match="thing has unknown fields: 'unknown'"):
        read.end()
