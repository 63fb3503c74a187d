"""WebTorrent signalling: the JSON text frames between a peer and a tracker, both directions.

The format is the one that bittorrent-tracker and libtorrent speak over a WebSocket. Hashes and
ids travel as 20-character strings, one code point 0-255 per byte; here they are ``bytes``.
Unknown keys are ignored, because other people's clients send them; known keys are strict.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import orjson

from workunits.errors import LimitError, MalformedError, RemoteError

ID_SIZE = 20
MAX_MESSAGE = 64 * 1024
MAX_OFFERS = 10
MAX_SCRAPE = 255
MAX_SDP = 16 * 1024
MAX_REASON = 512
MAX_COUNTER = 2**63 - 1
MAX_TOKEN = 64

_HINT = "send the JSON that WebTorrent trackers expect; docs/protocol.md lists the fields"


class Message(ABC):
    """What all messages can do."""

    __slots__ = ()

    @abstractmethod
    def _fields(self) -> dict[str, object]:
        """The message as a JSON object."""

    def pack(self) -> bytes:
        """The text frame's UTF-8."""
        return orjson.dumps(self._fields())

    def encode(self) -> str:
        """The text frame."""
        return self.pack().decode()


class Event(StrEnum):
    """Why a peer announces (BEP 3; ``paused`` is BEP 21)."""

    NONE = ""
    STARTED = "started"
    COMPLETED = "completed"
    STOPPED = "stopped"
    PAUSED = "paused"


_EVENTS = {event.value: event for event in Event} | {"update": Event.NONE}


@dataclass(frozen=True, slots=True)
class Offer:
    """One WebRTC offer, to be given to one other peer. ``offer_id`` is 20 random bytes."""

    offer_id: bytes
    sdp: str


@dataclass(frozen=True, slots=True)
class Announce(Message):
    """A peer says that it is (or is no longer) in a swarm.

    ``left`` is bytes still to fetch, ``None`` when the peer does not know it (a magnet link): such
    a peer is not a seeder. ``numwant`` ``None`` means one peer for each offer.
    """

    info_hash: bytes
    peer_id: bytes
    left: int | None = None
    event: Event = Event.NONE
    numwant: int | None = None
    uploaded: int = 0
    downloaded: int = 0
    offers: tuple[Offer, ...] = ()
    token: bytes = b""
    """``key`` on the wire (libtorrent): a secret of the client, which shows who it is on another
    socket."""

    @property
    def seeding(self) -> bool:
        """Whether the peer has everything."""
        return self.left == 0

    def _fields(self) -> dict[str, object]:
        message: dict[str, object] = {
            "action": "announce",
            "info_hash": self.info_hash.decode("latin-1"),
            "peer_id": self.peer_id.decode("latin-1"),
            "uploaded": self.uploaded,
            "downloaded": self.downloaded,
            "left": self.left,
        }
        if self.numwant is not None:
            message["numwant"] = self.numwant
        if self.event:
            message["event"] = self.event.value
        if self.token:
            message["key"] = self.token.decode()
        if self.offers:
            message["offers"] = [
                {
                    "offer": {"type": "offer", "sdp": offer.sdp},
                    "offer_id": offer.offer_id.decode("latin-1"),
                }
                for offer in self.offers
            ]
        return message


@dataclass(frozen=True, slots=True)
class Answer(Message):
    """A peer answers an offer that was relayed to it; there is no reply to it."""

    info_hash: bytes
    peer_id: bytes
    to_peer_id: bytes
    offer_id: bytes
    sdp: str

    def _fields(self) -> dict[str, object]:
        return {
            "action": "announce",
            "info_hash": self.info_hash.decode("latin-1"),
            "peer_id": self.peer_id.decode("latin-1"),
            "to_peer_id": self.to_peer_id.decode("latin-1"),
            "offer_id": self.offer_id.decode("latin-1"),
            "answer": {"type": "answer", "sdp": self.sdp},
        }


@dataclass(frozen=True, slots=True)
class Scrape(Message):
    """A peer asks for the counts of swarms (BEP 48); no hashes asks for all of them."""

    info_hashes: tuple[bytes, ...] = ()

    def _fields(self) -> dict[str, object]:
        message: dict[str, object] = {"action": "scrape"}
        if self.info_hashes:
            message["info_hash"] = [value.decode("latin-1") for value in self.info_hashes]
        return message


@dataclass(frozen=True, slots=True)
class RelayedOffer(Message):
    """The tracker hands a peer the offer of ``peer_id``."""

    info_hash: bytes
    peer_id: bytes
    offer_id: bytes
    sdp: str

    def _fields(self) -> dict[str, object]:
        return {
            "action": "announce",
            "info_hash": self.info_hash.decode("latin-1"),
            "peer_id": self.peer_id.decode("latin-1"),
            "offer_id": self.offer_id.decode("latin-1"),
            "offer": {"type": "offer", "sdp": self.sdp},
        }


@dataclass(frozen=True, slots=True)
class RelayedAnswer(Message):
    """The tracker hands an offerer the answer of ``peer_id``."""

    info_hash: bytes
    peer_id: bytes
    offer_id: bytes
    sdp: str

    def _fields(self) -> dict[str, object]:
        return {
            "action": "announce",
            "info_hash": self.info_hash.decode("latin-1"),
            "peer_id": self.peer_id.decode("latin-1"),
            "offer_id": self.offer_id.decode("latin-1"),
            "answer": {"type": "answer", "sdp": self.sdp},
        }


@dataclass(frozen=True, slots=True)
class AnnounceReply(Message):
    """The tracker confirms an announce. Intervals are seconds."""

    info_hash: bytes
    interval: int
    complete: int
    incomplete: int
    min_interval: int | None = None
    warning: str = ""

    def _fields(self) -> dict[str, object]:
        message: dict[str, object] = {
            "action": "announce",
            "info_hash": self.info_hash.decode("latin-1"),
            "interval": self.interval,
            "complete": self.complete,
            "incomplete": self.incomplete,
        }
        if self.min_interval is not None:
            message["min interval"] = self.min_interval
        if self.warning:
            message["warning message"] = self.warning
        return message


@dataclass(frozen=True, slots=True)
class SwarmCounts:
    """One line of a scrape: seeders, leechers, and completed downloads ever."""

    info_hash: bytes
    complete: int
    incomplete: int
    downloaded: int


@dataclass(frozen=True, slots=True)
class ScrapeReply(Message):
    """The tracker's counts. ``min_request_interval`` is seconds."""

    files: tuple[SwarmCounts, ...]
    min_request_interval: int | None = None

    def _fields(self) -> dict[str, object]:
        message: dict[str, object] = {
            "action": "scrape",
            "files": {
                entry.info_hash.decode("latin-1"): {
                    "complete": entry.complete,
                    "incomplete": entry.incomplete,
                    "downloaded": entry.downloaded,
                }
                for entry in self.files
            },
        }
        if self.min_request_interval is not None:
            message["flags"] = {"min_request_interval": self.min_request_interval}
        return message


@dataclass(frozen=True, slots=True)
class Failure(Message):
    """The tracker refuses. Clients need ``action`` and, where it is known, ``info_hash``."""

    reason: str
    action: str = "announce"
    info_hash: bytes | None = None

    @classmethod
    def of(cls, error: RemoteError, action: str, info_hash: bytes | None) -> "Failure":
        """The refusal that says ``error`` and its hint."""
        reason = f"{error.message}; {error.hint}" if error.hint else error.message
        return cls(reason[:MAX_REASON], action, info_hash)

    @classmethod
    def answering(cls, raw: str | bytes, error: RemoteError) -> "Failure":
        """The refusal of ``raw``, naming its action and info-hash as far as they can be read."""
        action, info_hash = "announce", None
        try:
            message = _object(raw)
            if message.get("action") == "scrape":
                action = "scrape"
            info_hash = _identifier(message, "info_hash")
        except RemoteError:
            pass
        return cls.of(error, action, info_hash)

    def _fields(self) -> dict[str, object]:
        message: dict[str, object] = {"action": self.action, "failure reason": self.reason}
        if self.info_hash is not None:
            message["info_hash"] = self.info_hash.decode("latin-1")
        return message


FromClient: TypeAlias = Announce | Answer | Scrape
FromTracker: TypeAlias = RelayedOffer | RelayedAnswer | AnnounceReply | ScrapeReply | Failure


def parse_from_client(raw: str | bytes) -> FromClient:
    """Parse what a peer sent to a tracker.

    Raises ``LimitError`` for too much of anything and ``MalformedError`` for the rest.
    """
    message = _object(raw)
    action = message.get("action")
    if action == "scrape":
        return _scrape(message)
    if action != "announce":
        raise _wrong("action", "announce or scrape")
    info_hash = _identifier(message, "info_hash")
    peer_id = _identifier(message, "peer_id")
    if message.get("answer") is not None:
        return Answer(
            info_hash,
            peer_id,
            _identifier(message, "to_peer_id"),
            _identifier(message, "offer_id"),
            _session(message, "answer"),
        )
    return Announce(
        info_hash,
        peer_id,
        left=_counter(message, "left"),
        event=_event(message.get("event")),
        numwant=_numwant(message.get("numwant")),
        uploaded=_counter(message, "uploaded") or 0,
        downloaded=_counter(message, "downloaded") or 0,
        offers=_offers(message.get("offers")),
        token=_token(message.get("key")),
    )


def parse_from_tracker(raw: str | bytes) -> FromTracker:
    """Parse what a tracker sent to a peer; same errors as ``parse_from_client``."""
    message = _object(raw)
    action = message.get("action")
    reason = message.get("failure reason")
    if reason is not None:
        known = message.get("info_hash") is not None
        return Failure(
            _text(reason, "failure reason"),
            "scrape" if action == "scrape" else "announce",
            _identifier(message, "info_hash") if known else None,
        )
    if action == "scrape":
        return _scrape_reply(message)
    if action != "announce":
        raise _wrong("action", "announce or scrape")
    info_hash = _identifier(message, "info_hash")
    if message.get("offer") is not None:
        return RelayedOffer(info_hash, *_relayed(message, "offer"))
    if message.get("answer") is not None:
        return RelayedAnswer(info_hash, *_relayed(message, "answer"))
    interval = _counter(message, "interval")
    if not interval:
        raise _wrong("interval", "a positive number of seconds")
    return AnnounceReply(
        info_hash,
        interval,
        _counter(message, "complete") or 0,
        _counter(message, "incomplete") or 0,
        _counter(message, "min interval"),
        _text(message.get("warning message") or "", "warning message"),
    )


def _object(raw: str | bytes) -> dict[str, Any]:
    if len(raw) > MAX_MESSAGE:
        raise LimitError(
            f"signalling message of {len(raw)} bytes is over the limit of {MAX_MESSAGE}",
            hint="send fewer offers in one announce",
        )
    try:
        message = orjson.loads(raw)
    except ValueError:
        raise MalformedError("signalling message is not JSON", hint=_HINT) from None
    if not isinstance(message, dict):
        raise MalformedError("signalling message is not a JSON object", hint=_HINT)
    return message


def _wrong(key: str, wanted: str) -> MalformedError:
    return MalformedError(f"signalling message: {key} must be {wanted}", hint=_HINT)


def _too_many(key: str, limit: int) -> LimitError:
    return LimitError(
        f"signalling message: {key} has more than {limit} entries",
        hint=f"send at most {limit} in one message",
    )


def _identifier(message: dict[str, Any], key: str) -> bytes:
    value = message.get(key)
    if isinstance(value, str) and len(value) == ID_SIZE:
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            pass
    raise _wrong(key, f"a string of {ID_SIZE} characters from U+0000 to U+00FF")


def _relayed(message: dict[str, Any], kind: str) -> tuple[bytes, bytes, str]:
    return (
        _identifier(message, "peer_id"),
        _identifier(message, "offer_id"),
        _session(message, kind),
    )


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise _wrong(key, "a string")
    return value[:MAX_REASON]


def _session(message: dict[str, Any], kind: str) -> str:
    description = message[kind]
    if not isinstance(description, dict) or description.get("type") != kind:
        raise _wrong(kind, f'an object with "type": "{kind}" and "sdp"')
    sdp = description.get("sdp")
    if not isinstance(sdp, str) or not sdp:
        raise _wrong(f"{kind}.sdp", "a string")
    # JSON with lone surrogates was refused before this.
    size = len(sdp) if sdp.isascii() else len(sdp.encode())
    if size > MAX_SDP:
        raise LimitError(
            f"signalling message: {kind}.sdp of {size} bytes is over the limit of {MAX_SDP}",
            hint="gather fewer ICE candidates",
        )
    return sdp


def _counter(message: dict[str, Any], key: str) -> int | None:
    return _count(message.get(key), key)


def _count(value: object, key: str) -> int | None:
    # JavaScript writes NaN and Infinity as null, and has only floating-point numbers.
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong(key, "a number of at least 0, or null")
    return min(value, MAX_COUNTER)


def _numwant(value: object) -> int | None:
    return None if value == -1 else _count(value, "numwant")


def _token(value: object) -> bytes:
    if value is None:
        return b""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_TOKEN:
        raise _wrong("key", f"a string of at most {MAX_TOKEN} characters")
    return value.encode()


def _event(value: object) -> Event:
    if value is None:
        return Event.NONE
    found = _EVENTS.get(value) if isinstance(value, str) else None
    if found is None:
        raise _wrong("event", "started, completed, stopped, paused, update or empty")
    return found


def _offers(value: object) -> tuple[Offer, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong("offers", "a list")
    if len(value) > MAX_OFFERS:
        raise _too_many("offers", MAX_OFFERS)
    offers = []
    for entry in value:
        if not isinstance(entry, dict) or entry.get("offer") is None:
            raise _wrong("offers", 'a list of objects with "offer" and "offer_id"')
        offers.append(Offer(_identifier(entry, "offer_id"), _session(entry, "offer")))
    return tuple(offers)


def _scrape(message: dict[str, Any]) -> Scrape:
    value = message.get("info_hash")
    if value is None:
        return Scrape()
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_SCRAPE:
        raise _too_many("info_hash", MAX_SCRAPE)
    return Scrape(tuple(_identifier({"info_hash": entry}, "info_hash") for entry in values))


def _scrape_reply(message: dict[str, Any]) -> ScrapeReply:
    files = message.get("files")
    flags = message.get("flags")
    if not isinstance(files, dict) or not isinstance(flags, dict | None):
        raise _wrong("files", "an object, as must be flags if it is there")
    if len(files) > MAX_SCRAPE:
        raise _too_many("files", MAX_SCRAPE)
    counts = []
    for key, entry in files.items():
        if not isinstance(entry, dict):
            raise _wrong("files", "an object of objects")
        numbers = [_counter(entry, name) or 0 for name in ("complete", "incomplete", "downloaded")]
        counts.append(SwarmCounts(_identifier({"files": key}, "files"), *numbers))
    return ScrapeReply(tuple(counts), _counter(flags or {}, "min_request_interval"))
