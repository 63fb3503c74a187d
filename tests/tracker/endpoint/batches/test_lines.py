"""Input files of batches: read line by line, and a mistake is told with its line."""

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.endpoint.batches import lines as module
from tracker.endpoint.batches.lines import Line, LineError, body_of, read_lines

LINE: dict[str, Any] = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/completions",
    "body": {"model": "m"},
}


def packed(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def read(raw: bytes) -> list[Line]:
    return [line for line, _ in read_lines(BytesIO(raw))]


@given(st.lists(st.text(max_size=8), unique=True, min_size=1, max_size=6), st.booleans())
def test_every_line_is_found_again_in_the_file(names: list[str], ended: bool) -> None:
    raw = b"\n" + packed(*(LINE | {"custom_id": name, "body": {"p": name}} for name in names))
    raw = raw if ended else raw.removesuffix(b"\n")
    found = read(raw)
    assert [line.custom_id for line in found] == names
    assert [line.number for line in found] == list(range(2, len(names) + 2))
    for line in found:
        body = body_of(raw[line.offset : line.offset + line.length])
        assert body.raw("p") == line.custom_id


@pytest.mark.parametrize(
    ("raw", "number", "text"),
    [
        (b"", 1, "no request"),
        (b"\n\n", 1, "no request"),
        (packed(LINE, 5), 2, "object"),
        (packed(LINE) + b"{", 2, "JSON"),
        (packed(LINE, LINE), 2, "used before"),
        (packed(LINE | {"method": "GET"}), 1, "POST"),
        (packed(LINE | {"url": "/v1/embeddings"}), 1, "url"),
        (packed(LINE | {"body": None}), 1, "body"),
        (packed(LINE | {"custom_id": 5}), 1, "custom_id"),
        (packed(LINE | {"custom_id": "x" * 513}), 1, "custom_id"),
        (packed(LINE | {"more": 1}), 1, "more"),
        (b"\n" + packed(LINE) + b"\xff\n", 3, "JSON"),
    ],
)
def test_a_mistake_is_told_with_its_line(raw: bytes, number: int, text: str) -> None:
    with pytest.raises(LineError, match=text) as caught:
        read(raw)
    assert caught.value.line == number
    assert caught.value.message.startswith(f"Line {number}: ")


def test_lines_and_their_number_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LineError, match="longer"):
        read(packed(LINE | {"body": {"x": "y" * module.MAX_LINE}}))
    monkeypatch.setattr(module, "MAX_LINES", 2)
    with pytest.raises(LineError, match="more than 2"):
        read(packed(*(LINE | {"custom_id": str(at)} for at in range(3))))


@given(st.binary(max_size=80))
def test_whatever_a_file_holds_it_is_read_or_refused(raw: bytes) -> None:
    try:
        read(raw)
    except LineError as error:
        assert error.line >= 1
