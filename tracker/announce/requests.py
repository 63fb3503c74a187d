"""The head of an HTTP request for us: bytes in, a request out, or nothing.

Only what every client of a tracker sends is taken here: a ``GET`` of ``/announce`` or ``/scrape``
over HTTP/1.1 without a body. Whatever else there is in HTTP gives ``None`` and is somebody else's
to answer, so nothing here has to be generous. Sources: RFC 9112 (HTTP/1.1), 6455 (WebSocket).
"""

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1

from workunits.errors import MalformedError

MAX_HEAD = 32 * 1024
PREFIXES = (b"GET /announce", b"GET /scrape")
END = b"\r\n\r\n"

_LINE = re.compile(rb"GET (/(?:announce|scrape)(?:[/?][!-~]*)?) HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff][ \t]*)*)")
_BODIES = frozenset(("content-length", "transfer-encoding", "expect", "te", "trailer"))
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_SIZE = 16
_MAX_KNOWN = 1024
_MAX_KNOWN_SIZE = 1024


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a request by their names in lower case.

    ``upgrading``: it asks for a WebSocket; ``last``: its sender wants the connection closed.
    """

    named: Mapping[str, str]
    upgrading: bool
    last: bool


class RequestParser:
    """Reads request heads. Remembers fields that it has seen: one client repeats its own."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Fields | None] = {}

    def parse(self, head: bytes) -> tuple[str, Fields] | None:
        """The target (path and query, still percent-encoded) and fields of ``head``, which has
        everything before the empty line; ``None`` if it is not a plain request for us."""
        line, _, rest = head.partition(b"\r\n")
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        try:
            fields = self._known[rest]
        except KeyError:
            fields = _fields(rest)
            if len(rest) <= _MAX_KNOWN_SIZE:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                self._known[rest] = fields
        return None if fields is None else (found[1].decode("ascii"), fields)


def may_be_ours(start: bytes) -> bool:
    """Whether a request that starts like this can still become one for us."""
    return any(start[: len(each)] == each[: len(start)] for each in PREFIXES)


def accept(named: Mapping[str, str]) -> bytes:
    """The head that opens the WebSocket that ``named`` asks for (RFC 6455, 4.2.2).

    Raises ``MalformedError`` if it does not ask for one of version 13.
    """
    key = named.get("sec-websocket-key", "")
    try:
        size = len(b64decode(key, validate=True))
    except (Error, ValueError):
        size = 0
    if size != _KEY_SIZE or named.get("sec-websocket-version") != "13":
        raise MalformedError(
            "not a WebSocket of version 13", hint="open it as RFC 6455 says, or ask over HTTP"
        )
    proof = b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + END
    )


def _fields(block: bytes) -> Fields | None:
    named: dict[str, str] = {}
    for line in block.split(b"\r\n"):
        found = _FIELD.fullmatch(line)
        if found is None:
            return None
        name = found[1].decode("ascii").lower()
        if name in named or name in _BODIES:
            return None
        named[name] = found[2].decode("latin-1").rstrip(" \t")
    if "host" not in named:
        return None
    options = {option.strip() for option in named.get("connection", "").lower().split(",")}
    upgrade = named.get("upgrade", "").lower()
    if upgrade not in ("", "websocket"):
        return None
    return Fields(named, upgrade == "websocket" and "upgrade" in options, "close" in options)
