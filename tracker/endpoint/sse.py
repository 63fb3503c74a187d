"""Server-sent events (WHATWG HTML, 9.2) as bytes."""

import orjson

DONE = b"data: [DONE]\n\n"
"""Ends a stream of OpenAI's API."""

COMMENT = b": still here\n\n"
"""Keeps a connection open; every client skips it."""


def event(value: object, name: str = "") -> bytes:
    """One event with a JSON value, which is a single line."""
    start = b"event: %b\ndata: " % name.encode() if name else b"data: "
    return start + orjson.dumps(value) + b"\n\n"
