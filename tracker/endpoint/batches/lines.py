"""The input file of a batch: JSON lines, each a request with an id of its own. Read strictly.

A line is ``{"custom_id": ..., "method": "POST", "url": "/v1/chat/completions", "body": {...}}``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tracker.endpoint.errors import ApiError, Fault, invalid
from tracker.endpoint.fields import Fields, read_object

MAX_FILE = 100_000_000
MAX_LINE = 1_000_000
MAX_LINES = 50_000
MAX_CUSTOM_ID = 512
URLS = ("/v1/chat/completions", "/v1/completions")


class LineError(ApiError):
    """What is wrong in which line; the first is 1."""

    def __init__(self, line: int, error: ApiError) -> None:
        super().__init__(
            Fault.INVALID,
            f"Line {line}: {error.message}",
            param=error.param,
            tag=error.tag or "invalid_line",
        )
        self.line = line


@dataclass(frozen=True, slots=True)
class Line:
    """Where in the file a request stands. ``number`` counts from 1."""

    number: int
    offset: int
    length: int
    custom_id: str
    url: str


def read_lines(stream: BinaryIO) -> Iterator[tuple[Line, Fields]]:
    """Every line, and the body that it has. Raises ``LineError``. Empty lines are skipped."""
    offset = number = requests = 0
    seen: set[str] = set()
    while raw := stream.readline(MAX_LINE + 1):
        number += 1
        start, offset = offset, offset + len(raw)
        if not raw.strip():
            continue
        requests += 1
        try:
            if len(raw) > MAX_LINE:
                raise invalid(f"it is longer than {MAX_LINE:,} bytes")
            if requests > MAX_LINES:
                raise invalid(f"there are more than {MAX_LINES:,} requests", tag="too_many_lines")
            line, body = _line(raw, number, start)
            if line.custom_id in seen:
                raise invalid(
                    f"custom_id {line.custom_id!r} was used before", "custom_id", "duplicate"
                )
        except ApiError as error:
            raise LineError(number, error) from None
        seen.add(line.custom_id)
        yield line, body
    if not requests:
        raise LineError(1, invalid("the file has no request", tag="empty_file"))


def body_of(raw: bytes) -> Fields:
    """The body of a line that was read before."""
    return _line(raw, 0, 0)[1]


def _line(raw: bytes, number: int, offset: int) -> tuple[Line, Fields]:
    fields = read_object(raw, limit=MAX_LINE)
    custom_id = fields.text("custom_id", limit=MAX_CUSTOM_ID)
    method = fields.text("method", limit=20)
    if method != "POST":
        raise fields.bad("method", f"expected POST, but got {method!r}")
    url = fields.text("url", limit=200)
    if url not in URLS:
        raise fields.bad("url", f"expected one of {', '.join(URLS)}, but got {url!r}")
    body = fields.group("body")
    if body is None:
        raise fields.missing("body")
    fields.end()
    return Line(number, offset, len(raw), custom_id, url), body
