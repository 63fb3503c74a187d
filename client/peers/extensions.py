"""Extension messages between peers (BEP 10): handshake, metadata (BEP 9), checkpoints.

The bodies only: bytes in, events out. How they are framed is for ``protocol``.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from workunits.canonical import Fields, decode_fields, encode
from workunits.checkpoints import SignedCheckpoint
from workunits.errors import MalformedError
from workunits.metainfo import LEAF_SIZE, MAX_INFO

METADATA = "ut_metadata"
CHECKPOINT = "os_checkpoint"
"""Names of extensions. A checkpoint is the last one that a witness saw of its tracker's ledger."""

NUMBERS = {CHECKPOINT: 2, METADATA: 1}
"""The numbers under which we take them."""

METADATA_BLOCK = LEAF_SIZE
QUEUE_LIMIT = 512
"""Requests of one peer that may wait for an answer; announced as ``reqq``."""

AGENT = "Open-Swarm"
MAX_BODY = 1 + 256 + METADATA_BLOCK
"""Bytes of a body: its number, a head, a part of the metadata. A note is shorter."""


@dataclass(frozen=True, slots=True)
class Introduced:
    """The peer's extension handshake: whether it serves metadata, and how much it queues."""

    metadata: bool
    queue: int


@dataclass(frozen=True, slots=True)
class MetadataRequested:
    """The peer asks for 16 KiB of the info dictionary (BEP 9)."""

    part: int


@dataclass(frozen=True, slots=True)
class MetadataReceived:
    """Part of the info dictionary came, unchecked."""

    part: int
    data: bytes


@dataclass(frozen=True, slots=True)
class MetadataRejected:
    """The peer does not have the info dictionary."""

    part: int


@dataclass(frozen=True, slots=True)
class CheckpointTold:
    """The peer saw this of some ledger. No signature was verified."""

    signed: SignedCheckpoint


Event: TypeAlias = (
    Introduced | MetadataRequested | MetadataReceived | MetadataRejected | CheckpointTold
)


class Gossip(Protocol):
    """Who knows something of the tracker's ledger, and wants to know what peers saw of it."""

    def head(self) -> SignedCheckpoint | None:
        """What peers should be told; ``None`` while there is nothing."""

    def hear(self, signed: SignedCheckpoint) -> None:
        """What a peer saw, unverified. Must not block or raise."""


class Extensions:
    """The extensions of one connection. Bodies that have no receiver are empty."""

    __slots__ = ("_heard", "_metadata_size", "_theirs", "_told")

    def __init__(self, metadata_size: int) -> None:
        """``metadata_size`` is the exact size of the info dictionary."""
        self._metadata_size = metadata_size
        self._theirs = dict.fromkeys(NUMBERS, 0)
        self._told = False
        self._heard = False

    # -- commands ---------------------------------------------------------------------------

    def introduce(self, *, metadata: bool) -> bytes:
        """The extension handshake."""
        body: dict[str, object] = {"m": NUMBERS, "reqq": QUEUE_LIMIT, "v": AGENT}
        if metadata:
            body["metadata_size"] = self._metadata_size
        return b"\0" + encode(body)

    def ask_metadata(self, part: int) -> bytes:
        """Ask for part ``part`` of the info dictionary. Needs ``Introduced(metadata=True)``."""
        return self._body(METADATA, encode({"msg_type": 0, "piece": part}))

    def give_metadata(self, part: int, raw: bytes | None) -> bytes:
        """Answer a metadata request from the info dictionary ``raw``, or refuse it."""
        data = b"" if raw is None else raw[part * METADATA_BLOCK : (part + 1) * METADATA_BLOCK]
        if raw is None or not data:
            return self._body(METADATA, encode({"msg_type": 2, "piece": part}))
        head = encode({"msg_type": 1, "piece": part, "total_size": len(raw)})
        return self._body(METADATA, head + data)

    def tell(self, signed: SignedCheckpoint) -> bytes:
        """Tell a checkpoint: once, to peers that take it."""
        if self._told or not self._theirs[CHECKPOINT]:
            return b""
        self._told = True
        return self._body(CHECKPOINT, signed.encode())

    def _body(self, name: str, body: bytes) -> bytes:
        number = self._theirs[name]
        return bytes([number]) + body if number else b""

    # -- input ------------------------------------------------------------------------------

    def receive(self, body: bytes) -> Event | None:
        """Take a body. Raises ``MalformedError`` or ``LimitError``; others' are ignored."""
        if not body:
            raise MalformedError("the peer sent an empty extension message")
        number, raw = body[0], body[1:]
        if number == 0:
            return self._introduced(raw)
        if number == NUMBERS[METADATA]:
            return self._metadata(raw)
        if number == NUMBERS[CHECKPOINT]:
            if self._heard:
                raise MalformedError("the peer tells two checkpoints on one connection")
            self._heard = True
            return CheckpointTold(SignedCheckpoint.parse(raw))
        return None

    def _introduced(self, raw: bytes) -> Introduced:
        fields = decode_fields(raw, limit=MAX_BODY, what="extension handshake")
        numbers = fields.group("m") if fields.has("m") else None
        self._theirs = {name: _number(numbers, name) for name in NUMBERS}
        size = fields.integer("metadata_size", 0) if fields.has("metadata_size") else 0
        queue = fields.integer("reqq", 1) if fields.has("reqq") else 250
        # A peer with a wrong size has another info dictionary; it is of no use to ask it.
        metadata = bool(self._theirs[METADATA]) and size == self._metadata_size
        return Introduced(metadata, min(queue, QUEUE_LIMIT))

    def _metadata(self, raw: bytes) -> Event | None:
        end = end_of_value(raw)
        fields = decode_fields(raw[:end], limit=256, what="metadata message")
        kind = fields.integer("msg_type", 0, 255)
        part = fields.integer("piece", 0, MAX_INFO // METADATA_BLOCK)
        if kind == 0:
            return MetadataRequested(part)
        if kind == 2:
            return MetadataRejected(part)
        if kind != 1:
            return None  # BEP 9: unknown kinds are ignored
        data = raw[end:]
        wanted = min(METADATA_BLOCK, self._metadata_size - part * METADATA_BLOCK)
        if fields.integer("total_size") != self._metadata_size or len(data) != wanted:
            raise MalformedError("metadata message: the size is wrong")
        return MetadataReceived(part, data)


def end_of_value(raw: bytes) -> int:
    """Where the bencoded value at the start of ``raw`` ends; data may follow it (BEP 9).

    Only finds the end; the value itself is for ``canonical.decode`` to check. Raises
    ``MalformedError`` when there is none.
    """
    depth = 0
    at = 0
    while at < len(raw):
        head = raw[at : at + 1]
        if head in (b"d", b"l"):
            depth += 1
            at += 1
        elif head == b"e":
            depth -= 1
            at += 1
        else:
            stop = raw.find(b"e" if head == b"i" else b":", at, at + 24)
            digits = raw[at + 1 : stop] if head == b"i" else raw[at:stop]
            if stop < 0 or not digits.removeprefix(b"-").isdigit():
                break
            at = stop + 1 if head == b"i" else stop + 1 + max(0, int(digits))
        if depth < 0 or at > len(raw):
            break
        if depth == 0:
            return at
    raise MalformedError("the peer's extension message is not bencode")


def _number(numbers: Fields | None, name: str) -> int:
    return numbers.integer(name, 0, 255) if numbers is not None and numbers.has(name) else 0
