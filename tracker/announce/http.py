"""BitTorrent over HTTP: the query of an announce or a scrape in, the bencoded reply out.

Sources: BEP 3 (announce), 7 (IPv6), 21 (partial seeds), 23 (compact), 31 (retry), 48 (scrape). The
address of a peer is the one that its request came from; the ``ip`` parameter is never looked at,
because honouring it lets anyone aim a swarm at a victim (BEP 7).
"""

from ipaddress import ip_address
from math import ceil
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tracker.announce.pace import HurryError
from tracker.announce.swarms import PORT_SIZE, Carrier, Counts, Peer, Swarms
from workunits import canonical
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.wire.signalling import ID_SIZE, MAX_COUNTER, MAX_SCRAPE, Event

INTERVAL = 15 * 60
MIN_INTERVAL = 60
SCRAPE_INTERVAL = 5 * 60
DEFAULT_PEERS = 50
MAX_PEERS = 100
MAX_QUERY = 24 * 1024
MAX_TOKEN = 64
MAX_TRACKER_ID = 64

_KNOWN = frozenset(
    (
        *("info_hash", "peer_id", "port", "uploaded", "downloaded", "left", "event", "numwant"),
        *("compact", "no_peer_id", "key", "trackerid"),
    )
)
_EVENTS = {event.value: event for event in Event} | {"update": Event.NONE}
_MAPPED = bytes(10) + b"\xff\xff"
_FULL = b"the tracker is full and will not hand you to others"


class AnnounceQuery(NamedTuple):
    """An announce. ``left`` is bytes, ``None`` when the client does not say."""

    info_hash: bytes
    peer_id: bytes
    port: int
    left: int | None = None
    event: Event = Event.NONE
    numwant: int = DEFAULT_PEERS
    compact: bool = True
    no_peer_id: bool = False
    uploaded: int = 0
    downloaded: int = 0
    token: bytes = b""
    """``key`` on the wire: a secret of the client, which shows who it is at another address."""

    tracker_id: bytes = b""
    """``trackerid`` on the wire; the reply says it again."""


def parse_announce(query: str) -> AnnounceQuery:
    """Parse the raw, still percent-encoded query of an announce.

    Unknown parameters are ignored. Raises ``MalformedError`` or ``LimitError``.
    """
    fields: dict[str, str] = {}
    for pair in _pairs(query):
        name, _, value = pair.partition("=")
        if "%" in name:
            name = _unquote(name).decode("latin-1")
        if name in _KNOWN:
            if name in fields:
                raise MalformedError(f"{name} is given twice", hint="give it once")
            fields[name] = value
    port = _number(fields, "port")
    if port is None or not 0 < port < 65536:
        raise MalformedError(
            "port must be a number from 1 to 65535", hint="announce the port that you listen on"
        )
    return AnnounceQuery(
        _identifier(fields.get("info_hash"), "info_hash"),
        _identifier(fields.get("peer_id"), "peer_id"),
        port,
        _number(fields, "left"),
        _event(fields.get("event", "")),
        _numwant(fields),
        fields.get("compact") != "0",
        fields.get("no_peer_id") == "1",
        _number(fields, "uploaded") or 0,
        _number(fields, "downloaded") or 0,
        _short(fields, "key", MAX_TOKEN),
        _short(fields, "trackerid", MAX_TRACKER_ID),
    )


def parse_scrape(query: str) -> tuple[bytes, ...]:
    """The info-hashes of a scrape, at least one. Raises as ``parse_announce``, and for none."""
    hashes = tuple(
        _identifier(value, "info_hash")
        for name, _, value in (pair.partition("=") for pair in _pairs(query))
        if name == "info_hash" or ("%" in name and _unquote(name) == b"info_hash")
    )
    if not hashes:
        raise MalformedError(
            "a scrape of everything is not offered", hint="name the torrents with info_hash"
        )
    if len(hashes) > MAX_SCRAPE:
        raise LimitError(
            f"a scrape of {len(hashes)} torrents is over the limit of {MAX_SCRAPE}",
            hint="ask in several requests",
        )
    return hashes


def answer_announce(
    swarms: Swarms, query: str, source: str, now: float, warning: str = ""
) -> bytes:
    """Enter the peer at ``source`` (an IP address in text) and return the bencoded reply.

    Raises ``RemoteError``; ``failure`` says it on the wire.
    """
    asked = parse_announce(query)
    key = pack_address(source, asked.port)
    if not asked.compact:
        return _answer_spelled(swarms, asked, key, now, warning)
    counts, v4, v6, stored = swarms.announce_packed(
        asked.info_hash,
        key,
        asked.peer_id,
        left=asked.left,
        event=asked.event,
        numwant=asked.numwant,
        now=now,
        token=asked.token,
    )
    more = b""
    if v6:
        more = b"6:peers6%d:%b" % (len(v6), v6)
    if asked.tracker_id:
        more += b"10:tracker id%d:%b" % (len(asked.tracker_id), asked.tracker_id)
    said = _warning(warning, stored=stored)
    if said:
        more += b"15:warning message%d:%b" % (len(said), said)
    # Keys in order, as ``canonical.encode`` would put them; a test holds the two together.
    return (
        b"d8:completei%de10:downloadedi%de10:incompletei%de8:intervali%de12:min intervali%de"
        b"5:peers%d:%b%be"
    ) % (
        *(counts.complete, counts.downloaded, counts.incomplete, INTERVAL, MIN_INTERVAL),
        *(len(v4), v4, more),
    )


def answer_scrape(swarms: Swarms, query: str) -> bytes:
    """The bencoded counts; torrents that are not tracked are left out. Raises ``RemoteError``."""
    files: dict[bytes, object] = {}
    for info_hash in parse_scrape(query):
        counts = swarms.counts(info_hash)
        if counts is not None:
            files[info_hash] = {
                "complete": counts.complete,
                "downloaded": counts.downloaded,
                "downloaders": counts.incomplete - counts.paused,
                "incomplete": counts.incomplete,
            }
    return canonical.encode(
        {"files": files, "flags": {"min_request_interval": SCRAPE_INTERVAL}},
    )


def failure(error: RemoteError) -> bytes:
    """The bencoded refusal (BEP 3: HTTP status 200); with the minutes to wait if that helps
    (BEP 31)."""
    reason = f"{error.message}; {error.hint}" if error.hint else error.message
    said: dict[str, object] = {"failure reason": reason}
    if isinstance(error, HurryError):
        said["retry in"] = ceil(error.seconds / 60)
    return canonical.encode(said)


def pack_address(source: str, port: int) -> bytes:
    """An address and port as compact replies have them: 6 bytes (BEP 23) or 18 (BEP 7)."""
    try:
        packed = inet_pton(AF_INET, source)
    except (OSError, ValueError):
        packed = _pack_v6(source)
    return packed + port.to_bytes(PORT_SIZE, "big")


def _pack_v6(source: str) -> bytes:
    try:
        packed = inet_pton(AF_INET6, source.partition("%")[0])
    except (OSError, ValueError):
        raise MalformedError(
            "the request has no source address", hint="connect over TCP/IP"
        ) from None
    return packed.removeprefix(_MAPPED)


def _answer_spelled(
    swarms: Swarms, asked: AnnounceQuery, key: bytes, now: float, warning: str
) -> bytes:
    announced = swarms.announce(
        Carrier.ADDRESS,
        asked.info_hash,
        key,
        asked.peer_id,
        left=asked.left,
        event=asked.event,
        numwant=asked.numwant,
        now=now,
        token=asked.token,
    )
    counts: Counts = announced.counts
    reply: dict[str, object] = {
        "complete": counts.complete,
        "downloaded": counts.downloaded,
        "incomplete": counts.incomplete,
        "interval": INTERVAL,
        "min interval": MIN_INTERVAL,
        "peers": [_spelled(peer, asked.no_peer_id) for peer in announced.peers],
    }
    if asked.tracker_id:
        reply["tracker id"] = asked.tracker_id
    said = _warning(warning, stored=announced.stored)
    if said:
        reply["warning message"] = said
    return canonical.encode(reply)


def _warning(warning: str, *, stored: bool) -> bytes:
    return warning.encode() if stored else _FULL


def _spelled(peer: Peer[bytes], no_peer_id: bool) -> dict[str, object]:
    entry: dict[str, object] = {
        "ip": str(ip_address(peer.key[:-PORT_SIZE])),
        "port": int.from_bytes(peer.key[-PORT_SIZE:], "big"),
    }
    if not no_peer_id:
        entry["peer id"] = peer.peer_id
    return entry


def _pairs(query: str) -> list[str]:
    if len(query) > MAX_QUERY:
        raise LimitError(
            f"a query of {len(query)} bytes is over the limit of {MAX_QUERY}",
            hint="ask in several requests",
        )
    if not query.isascii():
        raise MalformedError("the query is not ASCII", hint="percent-encode it")
    return query.split("&")


def _unquote(text: str) -> bytes:
    if "%" not in text:
        return text.encode()
    if "\\" in text:
        return unquote_to_bytes(text)
    try:
        # Many times as fast as ``unquote_to_bytes``; half of an announce is spent here.
        return text.replace("%", "\\x").encode().decode("unicode_escape").encode("latin-1")
    except UnicodeDecodeError:
        raise MalformedError(
            "a percent sign is not followed by two hex digits", hint="percent-encode it as %25"
        ) from None


def _identifier(text: str | None, name: str) -> bytes:
    value = _unquote(text) if text is not None else b""
    if len(value) != ID_SIZE:
        raise MalformedError(
            f"{name} must be {ID_SIZE} bytes, percent-encoded",
            hint="a v2 info-hash is cut to its first 20 bytes",
        )
    return value


def _number(fields: dict[str, str], name: str) -> int | None:
    text = fields.get(name)
    if not text:
        return None
    if "%" in text:
        text = _unquote(text).decode("latin-1")
    if not (text.isascii() and text.isdigit()) or len(text) > ID_SIZE:
        raise MalformedError(f"{name} must be a decimal number", hint="send digits only")
    value = int(text)
    return min(value, MAX_COUNTER)


def _numwant(fields: dict[str, str]) -> int:
    if fields.get("numwant") == "-1":
        return DEFAULT_PEERS
    wanted = _number(fields, "numwant")
    return DEFAULT_PEERS if wanted is None else min(wanted, MAX_PEERS)


def _short(fields: dict[str, str], name: str, limit: int) -> bytes:
    text = fields.get(name)
    if not text:
        return b""
    value = _unquote(text)
    if len(value) > limit:
        raise LimitError(
            f"{name} of {len(value)} bytes is over the limit of {limit}", hint="send a shorter one"
        )
    return value


def _event(text: str) -> Event:
    found = _EVENTS.get(text if "%" not in text else _unquote(text).decode("latin-1"))
    if found is None:
        raise MalformedError(
            "event must be started, completed, stopped, paused or empty",
            hint="leave the event out in an ordinary announce",
        )
    return found
