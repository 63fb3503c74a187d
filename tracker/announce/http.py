"""BitTorrent over HTTP: the query of an announce or a scrape in, the bencoded reply out.

Sources: BEP 3 (announce), 7 (IPv6), 23 (compact), 48 (scrape). The address of a peer is the one
that its request came from; the ``ip`` parameter is never looked at, because honouring it lets
anyone aim a swarm at a victim (BEP 7).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

from tracker.announce.swarms import Carrier, Peer, Swarms
from workunits import canonical
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.wire.signalling import ID_SIZE, MAX_COUNTER, MAX_SCRAPE, Event

INTERVAL = 15 * 60
MIN_INTERVAL = 60
SCRAPE_INTERVAL = 5 * 60
DEFAULT_PEERS = 50
MAX_PEERS = 100
MAX_QUERY = 24 * 1024
PORT_SIZE = 2
V4_SIZE = 4 + PORT_SIZE

_KNOWN = frozenset(
    b"info_hash peer_id port uploaded downloaded left event numwant compact no_peer_id".split()
)


@dataclass(frozen=True, slots=True)
class AnnounceQuery:
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


def parse_announce(query: str) -> AnnounceQuery:
    """Parse the raw, still percent-encoded query of an announce.

    Unknown parameters are ignored. Raises ``MalformedError`` or ``LimitError``.
    """
    fields: dict[bytes, bytes] = {}
    for name, value in _pairs(query):
        if name in _KNOWN:
            if name in fields:
                raise MalformedError(f"{name.decode()} is given twice", hint="give it once")
            fields[name] = value
    port = _number(fields, b"port")
    if port is None or not 0 < port < 65536:
        raise MalformedError(
            "port must be a number from 1 to 65535", hint="announce the port that you listen on"
        )
    return AnnounceQuery(
        _identifier(fields.get(b"info_hash"), "info_hash"),
        _identifier(fields.get(b"peer_id"), "peer_id"),
        port,
        _number(fields, b"left"),
        _event(fields.get(b"event", b"")),
        _numwant(fields),
        fields.get(b"compact") != b"0",
        fields.get(b"no_peer_id") == b"1",
        _number(fields, b"uploaded") or 0,
        _number(fields, b"downloaded") or 0,
    )


def parse_scrape(query: str) -> tuple[bytes, ...]:
    """The info-hashes of a scrape, at least one. Raises as ``parse_announce``, and for none."""
    hashes = tuple(
        _identifier(value, "info_hash") for name, value in _pairs(query) if name == b"info_hash"
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


def answer_announce(swarms: Swarms, query: str, source: str, now: float) -> bytes:
    """Enter the peer at ``source`` (an IP address in text) and return the bencoded reply.

    Raises ``RemoteError``; ``failure`` says it on the wire.
    """
    asked = parse_announce(query)
    announced = swarms.announce(
        Carrier.ADDRESS,
        asked.info_hash,
        pack_address(source, asked.port),
        asked.peer_id,
        left=asked.left,
        event=asked.event,
        numwant=asked.numwant,
        now=now,
    )
    reply: dict[str, object] = {
        "complete": announced.counts.complete,
        "downloaded": announced.counts.downloaded,
        "incomplete": announced.counts.incomplete,
        "interval": INTERVAL,
        "min interval": MIN_INTERVAL,
    }
    if asked.compact:
        reply["peers"] = b"".join(p.key for p in announced.peers if len(p.key) == V4_SIZE)
        if any(len(peer.key) != V4_SIZE for peer in announced.peers):
            reply["peers6"] = b"".join(p.key for p in announced.peers if len(p.key) != V4_SIZE)
    else:
        reply["peers"] = [_spelled(peer, asked.no_peer_id) for peer in announced.peers]
    if not announced.stored:
        reply["warning message"] = "the tracker is full and will not hand you to others"
    return canonical.encode(reply)


def answer_scrape(swarms: Swarms, query: str) -> bytes:
    """The bencoded counts; torrents that are not tracked are left out. Raises ``RemoteError``."""
    files: dict[bytes, object] = {}
    for info_hash in parse_scrape(query):
        counts = swarms.counts(info_hash)
        if counts is not None:
            files[info_hash] = {
                "complete": counts.complete,
                "downloaded": counts.downloaded,
                "incomplete": counts.incomplete,
            }
    return canonical.encode(
        {"files": files, "flags": {"min_request_interval": SCRAPE_INTERVAL}},
    )


def failure(error: RemoteError) -> bytes:
    """The bencoded refusal (BEP 3: HTTP status 200, one key)."""
    reason = f"{error.message}; {error.hint}" if error.hint else error.message
    return canonical.encode({"failure reason": reason})


def pack_address(source: str, port: int) -> bytes:
    """An address and port as compact replies have them: 6 bytes (BEP 23) or 18 (BEP 7)."""
    try:
        address = ip_address(source)
    except ValueError:
        raise MalformedError(
            "the request has no source address", hint="connect over TCP/IP"
        ) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.packed + port.to_bytes(PORT_SIZE, "big")


def _spelled(peer: Peer[bytes], no_peer_id: bool) -> dict[str, object]:
    entry: dict[str, object] = {
        "ip": str(ip_address(peer.key[:-PORT_SIZE])),
        "port": int.from_bytes(peer.key[-PORT_SIZE:], "big"),
    }
    if not no_peer_id:
        entry["peer id"] = peer.peer_id
    return entry


def _pairs(query: str) -> Iterator[tuple[bytes, bytes]]:
    if len(query) > MAX_QUERY:
        raise LimitError(
            f"a query of {len(query)} bytes is over the limit of {MAX_QUERY}",
            hint="ask in several requests",
        )
    if not query.isascii():
        raise MalformedError("the query is not ASCII", hint="percent-encode it")
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        yield _unquote(name), _unquote(value)


def _unquote(text: str) -> bytes:
    return unquote_to_bytes(text) if "%" in text else text.encode()


def _identifier(value: bytes | None, name: str) -> bytes:
    if value is None or len(value) != ID_SIZE:
        raise MalformedError(
            f"{name} must be {ID_SIZE} bytes, percent-encoded",
            hint="a v2 info-hash is cut to its first 20 bytes",
        )
    return value


def _number(fields: dict[bytes, bytes], name: bytes) -> int | None:
    value = fields.get(name, b"")
    if not value:
        return None
    if not value.isdigit() or len(value) > ID_SIZE:
        raise MalformedError(f"{name.decode()} must be a decimal number", hint="send digits only")
    return min(int(value), MAX_COUNTER)


def _numwant(fields: dict[bytes, bytes]) -> int:
    if fields.get(b"numwant") == b"-1":
        return DEFAULT_PEERS
    wanted = _number(fields, b"numwant")
    return DEFAULT_PEERS if wanted is None else min(wanted, MAX_PEERS)


def _event(value: bytes) -> Event:
    try:
        return Event(value.decode("latin-1")) if value != b"update" else Event.NONE
    except ValueError:
        raise MalformedError(
            "event must be started, completed, stopped, paused or empty",
            hint="leave the event out in an ordinary announce",
        ) from None
