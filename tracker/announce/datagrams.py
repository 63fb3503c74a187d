"""BitTorrent over UDP: datagrams of a client in, datagrams of a tracker out.

Sources: BEP 15 (the datagrams), BEP 41 (options after an announce), BEP 21 (the event ``paused``).
Every number is big-endian. The ``ip`` field of an announce is never looked at, because honouring
it lets anyone aim a swarm at a victim.
"""

from enum import IntEnum
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import NamedTuple

from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.wire.signalling import ID_SIZE, Event

PROTOCOL = bytes.fromhex("0000041727101980")
"""What stands in the place of the connection id in a connect request."""

MAX_DATAGRAM = 2048
MAX_SCRAPE = 70
MAX_URL = 1024
MAX_REASON = 256
WINDOW = 60.0
"""Seconds; a connection id is good for at least one window and at most two (BEP 15: a client may
use it for one minute, a tracker should take it for two)."""

HEAD_SIZE = 16
ANNOUNCE_SIZE = 98
KEY_SIZE = 32
ID_BYTES = 8
MAX_SHOWN = 4096
"""Connection ids that are remembered as good: one client often announces many torrents in a row."""

_HEAD = Struct(">8sI4s")
_ANNOUNCE = Struct(">16x20s20sQQQI4x4siH")
_ANNOUNCED = Struct(">I4sIII")
_COUNTS = Struct(">III")
_NO_TOKEN = bytes(4)
_END, _NOTHING, _URL = 0, 1, 2
_EVENTS = (Event.NONE, Event.COMPLETED, Event.STARTED, Event.STOPPED, Event.PAUSED)


class Action(IntEnum):
    """What a datagram is."""

    CONNECT = 0
    ANNOUNCE = 1
    SCRAPE = 2
    ERROR = 3


class Head(NamedTuple):
    """The first 16 bytes of every request. ``connection`` is 8 bytes, ``transaction`` 4."""

    connection: bytes
    action: int
    transaction: bytes

    @property
    def connecting(self) -> bool:
        """Whether this is a connect request; anything else needs a connection id that we gave."""
        return self.action == Action.CONNECT and self.connection == PROTOCOL


class Announce(NamedTuple):
    """An announce. ``left``, ``uploaded`` and ``downloaded`` are bytes.

    ``numwant`` is ``None`` when the client leaves it to us. ``token`` is what the wire calls
    ``key``: 4 bytes with which a client shows who it is at another address, empty for none.
    ``url`` is the path and query that the client was given (BEP 41), empty if it does not say.
    """

    info_hash: bytes
    peer_id: bytes
    port: int
    left: int
    event: Event = Event.NONE
    numwant: int | None = None
    token: bytes = b""
    uploaded: int = 0
    downloaded: int = 0
    url: str = ""


class ConnectionIds:
    """Connection ids that need no memory: a keyed hash of the source address and the time.

    ``secret`` is 32 random bytes of this process. ``now`` is seconds on any clock that never goes
    back.
    """

    __slots__ = ("_keyed", "_shown", "_window")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_SIZE:
            raise ValueError(f"the secret must have {KEY_SIZE} bytes")
        self._keyed = blake2b(key=secret, digest_size=ID_BYTES)
        self._shown: dict[bytes, bytes] = {}
        self._window = -1

    def issue(self, source: bytes, now: float) -> bytes:
        """The 8 bytes for ``source``, a packed address of 4 or 16 bytes."""
        return self._at(source, int(now // WINDOW))

    def valid(self, connection: bytes, source: bytes, now: float) -> bool:
        """Whether we gave ``connection`` to ``source`` in this window or the one before."""
        window = int(now // WINDOW)
        if window != self._window or len(self._shown) >= MAX_SHOWN:
            self._window = window
            self._shown.clear()
        shown = self._shown.get(source)
        if shown is not None and compare_digest(connection, shown):
            return True
        for each in (window, window - 1):
            if compare_digest(connection, self._at(source, each)):
                self._shown[source] = connection
                return True
        return False

    def _at(self, source: bytes, window: int) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(window.to_bytes(8, "big", signed=True) + source)
        return keyed.digest()


def parse_head(raw: bytes) -> Head | None:
    """The head of a request; ``None`` when it is too short or too long to be one.

    There is no error for that, because nobody who has not shown a connection id is answered.
    """
    if not HEAD_SIZE <= len(raw) <= MAX_DATAGRAM:
        return None
    return Head(*_HEAD.unpack_from(raw))


def parse_announce(raw: bytes) -> Announce:
    """An announce, options included. Raises ``MalformedError`` or ``LimitError``."""
    if len(raw) < ANNOUNCE_SIZE:
        raise MalformedError(
            f"an announce of {len(raw)} bytes is cut short",
            hint=f"send at least {ANNOUNCE_SIZE} bytes (BEP 15)",
        )
    fields = _ANNOUNCE.unpack_from(raw)
    info_hash, peer_id, downloaded, left, uploaded, event, token, numwant, port = fields
    if event >= len(_EVENTS):
        raise MalformedError(
            f"event {event} is not known", hint="send 0 for none, 1 to 4 for the others (BEP 15)"
        )
    if not port:
        raise MalformedError("port 0 cannot be reached", hint="announce the port you listen on")
    return Announce(
        info_hash,
        peer_id,
        port,
        left,
        _EVENTS[event],
        None if numwant < 0 else numwant,
        b"" if token == _NO_TOKEN else token,
        uploaded,
        downloaded,
        parse_url(raw) if len(raw) > ANNOUNCE_SIZE else "",
    )


def parse_url(raw: bytes) -> str:
    """The URL data among the options of an announce, all pieces of it joined (BEP 41).

    Options that are not known are passed over. Raises ``MalformedError`` or ``LimitError``.
    """
    url, at = b"", ANNOUNCE_SIZE
    while at < len(raw):
        kind = raw[at]
        at += 1
        if kind == _END:
            break
        if kind == _NOTHING:
            continue
        end = at + 1 + raw[at] if at < len(raw) else len(raw) + 1
        if end > len(raw):
            raise MalformedError(
                "an option is longer than its datagram", hint="end the options with a zero (BEP 41)"
            )
        if kind == _URL:
            url += raw[at + 1 : end]
        at = end
    if len(url) > MAX_URL:
        raise LimitError(
            f"URL data of {len(url)} bytes is over the limit of {MAX_URL}",
            hint="use an announce URL as the tracker gave it to you",
        )
    try:
        return url.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError("the URL data is not ASCII", hint="percent-encode it") from None


def parse_scrape(raw: bytes) -> tuple[bytes, ...]:
    """The info-hashes of a scrape, 1 to 70. Raises ``MalformedError`` or ``LimitError``."""
    count, rest = divmod(len(raw) - HEAD_SIZE, ID_SIZE)
    if rest or count < 1:
        raise MalformedError(
            "a scrape must name whole info-hashes, at least one",
            hint="send 16 bytes and 20 more for each torrent (BEP 15)",
        )
    if count > MAX_SCRAPE:
        raise LimitError(
            f"a scrape of {count} torrents is over the limit of {MAX_SCRAPE}",
            hint="ask in several requests",
        )
    return tuple(raw[at : at + ID_SIZE] for at in range(HEAD_SIZE, len(raw), ID_SIZE))


def encode_connected(transaction: bytes, connection: bytes) -> bytes:
    """The reply to a connect request: 16 bytes, as the request has."""
    return _ACTIONS[Action.CONNECT] + transaction + connection


def encode_announced(
    transaction: bytes, interval: int, incomplete: int, complete: int, peers: bytes
) -> bytes:
    """The reply to an announce. ``interval`` is seconds, ``peers`` compact, all of one family."""
    return _ANNOUNCED.pack(_ANNOUNCE_ACTION, transaction, interval, incomplete, complete) + peers


def encode_scraped(transaction: bytes, counts: list[tuple[int, int, int]]) -> bytes:
    """The reply to a scrape: seeders, completed downloads and leechers, in the order asked."""
    body = b"".join(_COUNTS.pack(*each) for each in counts)
    return _ACTIONS[Action.SCRAPE] + transaction + body


def encode_failure(transaction: bytes, error: RemoteError) -> bytes:
    """The refusal that says ``error`` and its hint."""
    reason = f"{error.message}; {error.hint}" if error.hint else error.message
    return _ACTIONS[Action.ERROR] + transaction + reason.encode()[:MAX_REASON]


_ANNOUNCE_ACTION = int(Action.ANNOUNCE)
_ACTIONS = tuple(action.to_bytes(4, "big") for action in Action)
