"""The cut of what process 1 of a container and its host say to each other into frames.

A frame is one kind byte, a 32-bit big-endian length and that many bytes.
"""

import struct
from collections.abc import Callable, Iterator

from workunits.errors import LimitError, MalformedError

_HEADER = struct.Struct(">cI")


def frame(kind: bytes, payload: bytes) -> bytes:
    """The frame of one kind byte and up to 2**32 - 1 others."""
    return _HEADER.pack(kind, len(payload)) + payload


class Framing:
    """Cuts a stream into frames: bytes in, (kind, payload) out.

    ``who`` writes it, for messages. ``limit`` is asked when a header is there: how many bytes a
    frame of that kind may have now, or None if it may not come at all.
    """

    __slots__ = ("_buffer", "_limit", "_who")

    def __init__(self, who: str, limit: Callable[[bytes], int | None]) -> None:
        self._who = who
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take the next bytes and yield what became complete. Beyond ``data`` no more is kept than
        ``limit`` allows. Raises ``MalformedError`` or ``LimitError``; then it is useless."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            limit = self._limit(kind)
            if limit is None:
                raise MalformedError(f"the {self._who} sent a frame {kind!r} out of turn")
            if length > limit:
                raise LimitError(f"the {self._who} announces {length} bytes in one {kind!r} frame")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield kind, payload
