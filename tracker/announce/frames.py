"""WebSocket frames, the server's side (RFC 6455, 5): bytes in, messages out.

No extension is offered, so no frame is compressed. The sizes of frames and messages are bounded.
"""

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import TypeAlias

from workunits.errors import MalformedError

_Mask: TypeAlias = Callable[[bytes, bytearray], None]

MAX_CONTROL = 125
_MASK_SIZE = 4
_FINAL, _MASKED = 0x80, 0x80
_TWO, _EIGHT = 126, 127
_WHOLE_TEXT = 0x81
_SHORT, _LONG, _LONGEST = Struct(">BB"), Struct(">BBH"), Struct(">BBQ")
_APPLICATION_CODES = range(3000, 5000)
_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


class Kind(IntEnum):
    """What a frame is (its opcode)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Close(IntEnum):
    """Why a WebSocket ends (RFC 6455, 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    NOT_TEXT = 1007
    TOO_BIG = 1009


class FrameError(MalformedError):
    """The other side breaks the protocol; ``close`` is what to tell it before the end."""

    def __init__(self, close: Close, message: str) -> None:
        super().__init__(message, hint="send frames as RFC 6455 says")
        self.close = close


class FrameReader:
    """Puts frames together and takes them apart: ``push`` bytes, then ``pull`` what they hold."""

    __slots__ = ("_at", "_data", "_kind", "_limit", "_parts", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = b""
        self._at = 0
        self._kind: Kind | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def push(self, data: bytes) -> None:
        """Take what has come in."""
        if self._at < len(self._data):
            data = self._data[self._at :] + data
        self._data, self._at = data, 0

    def pull(self) -> tuple[Kind, bytes] | None:
        """The next message (text or binary) or control frame; ``None`` if none is whole yet.

        Raises ``FrameError``; the reader is of no use afterwards.
        """
        while (frame := self._next()) is not None:
            first, payload = frame
            if first == _WHOLE_TEXT:
                return Kind.TEXT, payload
            if (message := self._take(first, payload)) is not None:
                return message
        return None

    def _next(self) -> tuple[int, bytes] | None:
        """The first byte and the payload of the next frame."""
        data, at = self._data, self._at
        end = len(data)
        if end - at < 2:
            return None
        first, size = data[at], data[at + 1]
        if size < _MASKED:
            raise FrameError(Close.PROTOCOL, "a frame from a client is not masked")
        size -= _MASKED
        start = at + 2
        if size >= _TWO:
            width = 2 if size == _TWO else 8
            start += width
            if start > end:
                return None
            size = int.from_bytes(data[start - width : start], "big")
            if size < _TWO or (width == 8 and size < 1 << 16):
                raise FrameError(Close.PROTOCOL, "a length is longer than it need be")
        self._check(first, size)
        start += _MASK_SIZE
        if start + size > end:
            return None
        self._at = at = start + size
        return first, _unmask(data[start - _MASK_SIZE : start], data[start:at])

    def _check(self, first: int, size: int) -> None:
        """Raise if a frame that begins like this may not come now."""
        if first == _WHOLE_TEXT and self._kind is None and size <= self._limit:
            return
        kind = first & ~_FINAL
        if kind >= Kind.CLOSE:
            if kind > Kind.PONG or not first & _FINAL or size > MAX_CONTROL:
                raise FrameError(Close.PROTOCOL, "a control frame is not as it must be")
            return
        if kind > Kind.BINARY or (kind == Kind.CONTINUATION) != (self._kind is not None):
            raise FrameError(Close.PROTOCOL, "a frame is not what must come next")
        if self._size + size > self._limit:
            raise FrameError(Close.TOO_BIG, f"a message is over the limit of {self._limit} bytes")

    def _take(self, first: int, payload: bytes) -> tuple[Kind, bytes] | None:
        """A frame that is a control frame, or a part of a message."""
        kind = Kind(first & ~_FINAL)
        if kind >= Kind.CLOSE:
            return kind, payload
        if self._kind is None:
            self._kind = kind
        self._parts.append(payload)
        self._size += len(payload)
        if not first & _FINAL:
            if len(self._parts) > self._limit:
                raise FrameError(Close.TOO_BIG, "a message has too many parts")
            return None
        message = self._kind, b"".join(self._parts)
        self._kind, self._parts, self._size = None, [], 0
        return message


def encode_frame(kind: Kind, payload: bytes) -> bytes:
    """One whole frame to a client; a server's are not masked."""
    size = len(payload)
    if size < _TWO:
        return _SHORT.pack(_FINAL | kind, size) + payload
    if size < 1 << 16:
        return _LONG.pack(_FINAL | kind, _TWO, size) + payload
    return _LONGEST.pack(_FINAL | kind, _EIGHT, size) + payload


def encode_close(code: Close, reason: str = "") -> bytes:
    """A close frame."""
    return encode_frame(Kind.CLOSE, code.to_bytes(2, "big") + reason.encode()[: MAX_CONTROL - 2])


def parse_close(payload: bytes) -> int:
    """The code in a close frame, 1000 if there is none. Raises ``FrameError``."""
    if not payload:
        return Close.NORMAL
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in _CODES or code in _APPLICATION_CODES):
        raise FrameError(Close.PROTOCOL, "a close frame has no valid code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(Close.NOT_TEXT, "a close frame's reason is not UTF-8") from None
    return code


def _unmask(mask: bytes, payload: bytes) -> bytes:
    if _mask is None:
        return unmask_slowly(mask, payload)
    data = bytearray(payload)
    _mask(mask, data)
    return bytes(data)


def unmask_slowly(mask: bytes, payload: bytes) -> bytes:
    """The payload without its mask, in Python alone."""
    size = len(payload)
    # As two long numbers: a loop over bytes would take a thousand times as long.
    key = int.from_bytes((mask * (size // _MASK_SIZE + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")


def _fast_mask() -> _Mask | None:
    """aiohttp's, in C and eight times as fast; it is not part of what aiohttp promises."""
    try:
        from aiohttp._websocket.helpers import websocket_mask
    except ImportError:
        return None
    return websocket_mask


_mask = _fast_mask()
