"""JSON documents, as strangers write them."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from validators.closeness import Tolerance
from validators.documents import MAX_DEPTH, close, parse
from workunits.errors import MalformedError

SOME = Tolerance(1e-6, 1e-9)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(documents)
def test_what_json_writes_is_read_as_it_was(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value


@given(st.binary(max_size=60) | st.text('[]{}":,0123456789.eE+-NaNIfintyrulse ').map(str.encode))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
def test_any_bytes_are_a_document_or_malformed(raw: bytes) -> None:
    try:
        parse(raw)
    except MalformedError:
        return
    assert close(raw, raw + b" ", SOME)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf1",
        b"[1,]",
        b"1 2",
        b"{'a': 1}",
        b'{"a": 1, "b": 2, "a": 1}',
        b'[{"a": {"b": 1, "b": 1}}]',
        b"1e400",
        b"[-1e400]",
        b"9" * 5000,
        b'"\n"',
    ],
)
def test_what_is_not_strictly_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(raw)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_documents_nest_to_a_fixed_depth(opening: bytes, closing: bytes) -> None:
    def nested(levels: int) -> bytes:
        return opening * levels + b"1" + closing * levels

    assert close(nested(MAX_DEPTH), nested(MAX_DEPTH) + b" ", SOME)
    for levels in (MAX_DEPTH + 1, 500, 20_000):
        with pytest.raises(MalformedError):
            parse(nested(levels))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a": 1, "b": 2}', b'{"b": 2, "a": 1}'),
        (b"[1, 2]", b"[2, 1]"),
        (b"1", b"true"),
        (b"0", b"false"),
        (b"0", b"null"),
        (b'"1"', b"1"),
        (b'"1.0"', b'"1.00"'),
        (b"[]", b"{}"),
        (b"[1]", b"[1, 1]"),
        (b"[1]", b"[NaN]"),
    ],
)
def test_another_order_type_or_text_is_another_document(one: bytes, other: bytes) -> None:
    assert not close(one, other, SOME)
    assert not close(other, one, SOME)


def test_numbers_are_close_whatever_their_spelling() -> None:
    assert close(b'{"a": [1, NaN, -0.0]}', b'{ "a": [1.0000001, NaN, 0] }', SOME)
    assert close(b"[1e2, Infinity]", b"[100,Infinity]", SOME)
    assert close(b'"\\u0061"', b'"a"', SOME)
