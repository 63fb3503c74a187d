"""Extension messages between peers (BEP 10): handshake, metadata (BEP 9), peers (BEP 11),
checkpoints.

The bodies only: bytes in, events out. How they are framed is for ``protocol``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol, TypeAlias

from workunits.canonical import Fields, decode_fields, encode
from workunits.checkpoints import SignedCheckpoint
from workunits.errors import MalformedError
from workunits.metainfo import LEAF_SIZE
from workunits.torrents import MAX_INFO

METADATA = "ut_metadata"
CHECKPOINT = "os_checkpoint"
PEERS = "ut_pex"
"""Names of extensions. A checkpoint is the last one that a witness saw of its tracker's ledger."""

NUMBERS = {CHECKPOINT: 2, METADATA: 1, PEERS: 3}
"""The numbers under which we take them."""

METADATA_BLOCK = LEAF_SIZE
QUEUE_LIMIT = 512
"""Requests of one peer that may wait for an answer; announced as ``reqq``."""

MAX_TOLD = 50
"""Addresses in one message of ours (BEP 11); of others as many again are read."""

AGENT = "Open-Swarm"
_V4, _V6 = 6, 18
MAX_BODY = 1 + 256 + METADATA_BLOCK
"""Bytes of a body: its number, a head, a part of the metadata. A note is shorter."""


Address: TypeAlias = tuple[str, int]
"""An IP address in text, and a TCP port."""


@dataclass(frozen=True, slots=True)
class Introduced:
    """The peer's extension handshake.

    ``metadata`` is the size in bytes of the info dictionary that it serves, 0 for none; ``queue``
    how many requests it keeps; ``port`` where it listens on TCP, 0 for nowhere; ``ours`` whether
    it is of our kind, and takes hash requests on any connection.
    """

    metadata: int
    queue: int
    port: int = 0
    ours: bool = False


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


@dataclass(frozen=True, slots=True)
class PeersTold:
    """The peer is (no longer) connected to these addresses (BEP 11). Nothing is checked."""

    added: tuple[Address, ...]
    dropped: tuple[Address, ...]


Event: TypeAlias = (
    Introduced
    | MetadataRequested
    | MetadataReceived
    | MetadataRejected
    | CheckpointTold
    | PeersTold
)


class Gossip(Protocol):
    """Who knows something of the tracker's ledger, and wants to know what peers saw of it."""

    def head(self) -> SignedCheckpoint | None:
        """What peers should be told; ``None`` while there is nothing."""

    def hear(self, signed: SignedCheckpoint) -> None:
        """What a peer saw, unverified. Must not block or raise."""


class Extensions:
    """The extensions of one connection. Bodies that have no receiver are empty."""

    __slots__ = ("_heard", "_metadata_size", "_port", "_theirs", "_told")

    def __init__(self, metadata_size: int | None, port: int = 0) -> None:
        """``metadata_size`` is the exact size of the info dictionary, ``None`` while it is not
        known; ``port`` is where we listen on TCP, 0 for nowhere."""
        self._metadata_size = metadata_size
        self._port = port
        self._theirs = dict.fromkeys(NUMBERS, 0)
        self._told = False
        self._heard = False

    # -- commands ---------------------------------------------------------------------------

    def introduce(self, *, metadata: bool) -> bytes:
        """The extension handshake."""
        body: dict[str, object] = {"m": NUMBERS, "reqq": QUEUE_LIMIT, "v": AGENT}
        if self._port:
            body["p"] = self._port
        if metadata and self._metadata_size is not None:
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

    def tell_peers(self, added: Iterable[Address], dropped: Iterable[Address] = ()) -> bytes:
        """Tell whom we are connected to, at most ``MAX_TOLD`` of each, to peers that take it."""
        body: dict[str, object] = {}
        for name, addresses in (("added", added), ("dropped", dropped)):
            packed = [_pack(each) for each in list(addresses)[:MAX_TOLD]]
            for suffix, size in (("", _V4), ("6", _V6)):
                fitting = [each for each in packed if len(each) == size]
                body[name + suffix] = b"".join(fitting)
                if name == "added":
                    body[f"{name}{suffix}.f"] = bytes(len(fitting))
        return self._body(PEERS, encode(body))

    def learn(self, metadata_size: int) -> None:
        """The info dictionary is known, and has this size."""
        self._metadata_size = metadata_size

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
        if number == NUMBERS[PEERS]:
            return _peers(raw)
        return None

    def _introduced(self, raw: bytes) -> Introduced:
        fields = decode_fields(raw, limit=MAX_BODY, what="extension handshake")
        numbers = fields.group("m") if fields.has("m") else None
        self._theirs = {name: _number(numbers, name) for name in NUMBERS}
        size = fields.integer("metadata_size", 0) if fields.has("metadata_size") else 0
        queue = fields.integer("reqq", 1) if fields.has("reqq") else 250
        port = fields.integer("p", 0, 65535) if fields.has("p") else 0
        ours = fields.has("v") and fields.octets("v", limit=MAX_BODY) == AGENT.encode()
        # A peer with a wrong size has another info dictionary; it is of no use to ask it.
        fitting = size <= MAX_INFO if self._metadata_size is None else size == self._metadata_size
        metadata = size if fitting and self._theirs[METADATA] else 0
        if metadata:
            self._metadata_size = metadata
        return Introduced(metadata, min(queue, QUEUE_LIMIT), port, ours)

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
        size = self._metadata_size or 0
        wanted = min(METADATA_BLOCK, size - part * METADATA_BLOCK)
        if fields.integer("total_size") != size or len(data) != wanted:
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


def _pack(address: Address) -> bytes:
    host, port = address
    return ip_address(host).packed + port.to_bytes(2, "big")


def _peers(raw: bytes) -> PeersTold:
    fields = decode_fields(raw, limit=MAX_BODY, what="peer exchange message")
    told = []
    for name in ("added", "dropped"):
        addresses: list[Address] = []
        for key, size in ((name, _V4), (name + "6", _V6)):
            if fields.has(key):
                addresses += _unpack(fields.octets(key, limit=MAX_BODY), size)
        told.append(tuple(addresses[: 2 * MAX_TOLD]))
    return PeersTold(*told)


def _unpack(packed: bytes, size: int) -> Iterator[Address]:
    if len(packed) % size:
        raise MalformedError("peer exchange message: the addresses are cut off")
    make = IPv4Address if size == _V4 else IPv6Address
    for at in range(0, len(packed), size):
        host, port = packed[at : at + size - 2], packed[at + size - 2 : at + size]
        if any(port):
            yield str(make(host)), int.from_bytes(port, "big")
