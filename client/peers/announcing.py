"""Announcing over HTTP, as any BitTorrent client does: the query out, the bencoded reply in, and
when to ask again.

Sources: BEP 3 (announce), 7 (IPv6), 23 (compact). Pure but for ``Announcer``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from client.peers.addresses import Address
from workunits.canonical import Fields, Value, decode
from workunits.errors import LimitError, MalformedError, RefusedError
from workunits.wire.signalling import MAX_REASON, Event

MAX_REPLY = 64 * 1024
MAX_PEERS = 200
WANTED = 50
"""Bytes of a reply; addresses that are read of one; addresses that are asked for."""

MAX_URL = 1024
V4_SIZE, V6_SIZE = 6, 18
INTERVALS = (30, 3600)
"""Seconds; what a tracker may ask for."""

RETRY = (15.0, 900.0)
"""Seconds between attempts after failures, first and last."""

_PATH = re.compile(r"/announce[A-Za-z0-9._~/-]*", re.ASCII)
_TIMEOUT = aiohttp.ClientTimeout(total=20.0, sock_connect=8.0)
_HINT = "Check that the address is that of a BitTorrent tracker."


@dataclass(frozen=True, slots=True)
class Query:
    """An announce. ``left`` is bytes still to fetch; ``port`` where we listen on TCP."""

    info_hash: bytes
    peer_id: bytes
    port: int
    left: int
    event: Event = Event.NONE
    uploaded: int = 0
    downloaded: int = 0
    numwant: int = WANTED
    key: str = ""
    """Shows a tracker that we are who announced before, whatever our address is now (BEP 7)."""

    def url(self, tracker: str) -> str:
        """The URL to ask; ``tracker`` is the announce URL, which may have a query of its own."""
        fields: list[tuple[str, bytes | int | str]] = [
            ("info_hash", self.info_hash),
            ("peer_id", self.peer_id),
            ("port", self.port),
            ("uploaded", self.uploaded),
            ("downloaded", self.downloaded),
            ("left", self.left),
            ("compact", 1),
            ("numwant", 0 if self.event is Event.STOPPED else self.numwant),
        ]
        if self.key:
            fields.append(("key", self.key))
        if self.event:
            fields.append(("event", self.event.value))
        query = "&".join(
            f"{name}={quote(value if isinstance(value, bytes) else str(value), safe='')}"
            for name, value in fields
        )
        return f"{tracker}{'&' if '?' in tracker else '?'}{query}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tracker answered. Seconds; counts of peers that have everything, and of others."""

    interval: int
    least: int
    complete: int | None
    incomplete: int | None
    peers: tuple[Address, ...]


def parse_reply(raw: bytes) -> Reply:
    """Parse the body of a reply; unknown keys are ignored.

    Raises ``RefusedError`` with the tracker's reason, ``MalformedError`` or ``LimitError``.
    """
    value = decode(raw, limit=MAX_REPLY, what="announce reply")
    fields = Fields.of(value, "announce reply")
    if fields.has("failure reason"):
        reason = fields.octets("failure reason").decode(errors="replace")
        shown = "".join(each for each in reason if each.isprintable())[:MAX_REASON]
        raise RefusedError(f"the tracker refuses: {shown}", hint=_HINT)
    interval = fields.integer("interval")
    least = fields.integer("min interval") if fields.has("min interval") else INTERVALS[0]
    peers: list[Address] = []
    assert isinstance(value, dict)
    for name, size in ((b"peers", V4_SIZE), (b"peers6", V6_SIZE)):
        peers += _addresses(value.get(name, b""), size)
    return Reply(
        *(_bounded(interval), min(_bounded(interval), _bounded(least))),
        fields.integer("complete") if fields.has("complete") else None,
        fields.integer("incomplete") if fields.has("incomplete") else None,
        tuple(dict.fromkeys(peers[:MAX_PEERS])),
    )


def usable(url: str) -> bool:
    """Whether a URL that came in a link may be announced to. It must look like a tracker's, lest it
    make us talk to some other service of the local network."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or port == 0:
        return False
    # A server may take "/announce/../x" for "/x", however the dots are spelled.
    return bool(_PATH.fullmatch(parts.path)) and ".." not in parts.path and len(url) <= MAX_URL


@dataclass(slots=True)
class Turn:
    """When one torrent is announced to one tracker. Times are seconds on one clock."""

    rng: Random
    next: float = float("-inf")
    started: bool = False
    seeding: bool = False
    failures: int = 0
    least: float = float("-inf")
    """Before this the tracker does not want to hear of us again, but of an event."""

    def due(self, now: float, *, seeding: bool, hungry: bool) -> Event | None:
        """Which announce to make now; it counts as sent. ``hungry`` is a lack of peers."""
        finished = self.started and seeding and not self.seeding
        if now < (self.least if hungry else self.next) and not finished:
            return None
        event = Event.NONE if self.started else Event.STARTED
        if finished and not self.failures:
            event = Event.COMPLETED
        self.seeding = seeding
        self.next = self.least = now + RETRY[0]
        return event

    def replied(self, reply: Reply, now: float) -> None:
        """The tracker answered."""
        self.started = True
        self.failures = 0
        self.least = now + reply.least * self.rng.uniform(1.0, 1.1)
        self.next = max(self.least, now + reply.interval * self.rng.uniform(0.9, 1.0))

    def failed(self, now: float) -> None:
        """The tracker refused, or could not be reached."""
        first, last = RETRY
        wait: float = min(last, first * 2**self.failures)
        self.failures = min(self.failures + 1, 10)
        self.next = self.least = now + wait * self.rng.uniform(0.75, 1.25)

    def again(self) -> None:
        """What the tracker refused before it may want now: ask at once."""
        if self.failures:
            self.failures = 0
            self.next = self.least = float("-inf")


class Announcer:
    """Asks trackers over HTTP."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, tracker: str, query: Query) -> Reply:
        """Announce. Raises ``RemoteError`` for a bad answer or a refusal, ``OSError`` or
        ``aiohttp.ClientError`` for none."""
        url = URL(query.url(tracker), encoded=True)
        # A redirect could lead anywhere, also into our own network.
        async with self._session.get(url, timeout=_TIMEOUT, allow_redirects=False) as answer:
            if answer.status != 200:
                raise RefusedError(f"the tracker answers with status {answer.status}", hint=_HINT)
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > MAX_REPLY:
                    raise LimitError(f"the tracker's reply is over {MAX_REPLY} bytes", hint=_HINT)
        return parse_reply(bytes(body))


def _bounded(seconds: int) -> int:
    return max(INTERVALS[0], min(INTERVALS[1], seconds))


def _addresses(value: Value, size: int) -> Iterator[Address]:
    """Addresses in one string (BEP 23, BEP 7) or as a list of dictionaries (BEP 3)."""
    if isinstance(value, bytes):
        if len(value) % size:
            raise MalformedError("announce reply: the list of peers is cut off", hint=_HINT)
        for at in range(0, len(value), size):
            port = int.from_bytes(value[at + size - 2 : at + size], "big")
            yield from _listed(str(ip_address(value[at : at + size - 2])), port)
        return
    if not isinstance(value, list):
        raise MalformedError("announce reply: peers is no list of peers", hint=_HINT)
    for each in value[:MAX_PEERS]:
        entry = Fields.of(each, "announce reply: peer")
        host = entry.octets("ip", limit=255).decode("ascii", "replace")
        yield from _listed(host, entry.integer("port", 0, 65535))


def _listed(host: str, port: int) -> Iterator[Address]:
    try:
        if port:
            yield Address.of(host, port)
    except MalformedError:
        return  # BEP 3 allows names; whoever we look up learns of us
