"""The BitTorrent peer protocol without I/O: bytes in, events out; commands give bytes.

BEP 3 (wire), BEP 6 (fast extension), BEP 52 (hash requests); ``extensions`` has the rest. The
stream may be cut anywhere. Whatever a peer sends is bounded: one message by its type's size, small
messages by an allowance that refills with time. An error raised here ends the connection.
"""

from collections.abc import Collection, Iterable
from struct import Struct

from client.peers import extensions
from client.peers.early import Early
from client.peers.events import (
    AllowedFast,
    Cancelled,
    Choking,
    Event,
    Handshaken,
    Has,
    HasAll,
    HashesReceived,
    HashesRejected,
    HashesRequested,
    Interested,
    Received,
    Rejected,
    Requested,
)
from client.peers.extensions import Address, Extensions
from client.peers.layout import Block, Layout
from workunits.checkpoints import SignedCheckpoint
from workunits.errors import LimitError, MalformedError
from workunits.hashtree import MAX_HASHES, HashRequest
from workunits.ids import HASH_SIZE
from workunits.torrents import MAX_PIECES
from workunits.wire.signalling import ID_SIZE

PROTOCOL = b"\x13BitTorrent protocol"
HANDSHAKE_SIZE = 68
RESERVED = bytes([0, 0, 0, 0, 0, 0x10, 0, 0x04])
MAX_BLOCK = 128 * 1024
"""The longest block that is taken or served, bytes. Ours are 16 KiB."""

QUEUE_LIMIT = extensions.QUEUE_LIMIT
MAX_EXTENDED = 1 + extensions.MAX_BODY
MAX_MESSAGE = 9 + MAX_BLOCK
ALLOWANCE = 4096
REFILL = 512.0
"""Small messages that a peer may send: at once, and per second after that."""

MAX_HAVES = 1000
"""Pieces that are told one by one; that many at once are no flood."""

FIELD_COST = 1 / 32
"""What each byte of a bitfield, eight pieces, costs of that allowance."""

HASH_COST = 3.0
"""What a hash request costs of that allowance, beside itself: answering one is work."""

CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE, CANCEL = range(9)
SUGGEST, HAVE_ALL, HAVE_NONE, REJECT, ALLOWED_FAST, EXTENDED = 13, 14, 15, 16, 17, 20
HASH_REQUEST, HASHES, HASH_REJECT = 21, 22, 23
_SIZES = {
    CHOKE: 0,
    UNCHOKE: 0,
    INTERESTED: 0,
    NOT_INTERESTED: 0,
    HAVE: 4,
    REQUEST: 12,
    CANCEL: 12,
    SUGGEST: 4,
    HAVE_ALL: 0,
    HAVE_NONE: 0,
    REJECT: 12,
    ALLOWED_FAST: 4,
    HASH_REQUEST: 48,
    HASH_REJECT: 48,
}
_LENGTH = Struct(">I")
_SPAN = Struct(">III")
_PLACE = Struct(">II")
_HEAD = Struct(">IB")
_BLOCK_HEAD = Struct(">IBII")
BLOCK_HEAD = _BLOCK_HEAD.size
"""Bytes before the content in the message with a block."""

_HASH_SPAN = Struct(">32sIIII")


class PeerWire:
    """One connection's protocol state.

    While the metainfo is not known there is no layout: what the peer says that it has is kept and
    comes out of ``learn``, and it may not send blocks.
    """

    __slots__ = (
        "_allowance",
        "_buffer",
        "_early",
        "_extensions",
        "_last",
        "_layout",
        "_names",
        "_peer_id",
        "_v2",
        "fast",
        "ready",
    )

    def __init__(
        self,
        names: tuple[bytes | None, bytes | None],
        peer_id: bytes,
        layout: Layout | None,
        metadata_size: int | None,
        now: float,
        *,
        port: int = 0,
    ) -> None:
        """``names`` are the v1 and the v2 info-hash, one of which may be missing.

        ``metadata_size`` is the exact size of the info dictionary, where it is known; ``port`` is
        where we listen on TCP.
        """
        v1, v2 = names
        self._v2 = v2[:ID_SIZE] if v2 is not None else None
        self._names = [name for name in (v1, self._v2) if name is not None]
        self._peer_id = peer_id
        self._layout = layout
        self._extensions = Extensions(metadata_size, port)
        self._buffer = bytearray()
        self._allowance = float(ALLOWANCE)
        self._last = now
        self._early = Early()
        self.fast = False
        self.ready = False

    # -- commands ---------------------------------------------------------------------------

    def handshake(self) -> bytes:
        """The first 68 bytes of a connection."""
        return PROTOCOL + RESERVED + self._names[0] + self._peer_id

    def introduce(self, *, metadata: bool) -> bytes:
        """The extension handshake (BEP 10), for peers whose handshake says that they extend."""
        return _extended(self._extensions.introduce(metadata=metadata))

    def possess(self, pieces: bytes | None, *, every: bool) -> bytes:
        """Say what we have: every piece, the bitfield ``pieces``, or nothing."""
        if self.fast and every:
            return message(HAVE_ALL)
        if every:
            count = self._layout.count if self._layout is not None else 0
            full = bytearray(b"\xff" * -(-count // 8))
            if count % 8:
                full[-1] = (0xFF00 >> (count % 8)) & 0xFF
            return message(BITFIELD, bytes(full))
        if pieces is not None:
            return message(BITFIELD, pieces)
        return message(HAVE_NONE) if self.fast else b""

    def ask_metadata(self, part: int) -> bytes:
        """Ask for part ``part`` of the info dictionary. Needs ``Introduced(metadata=True)``."""
        return _extended(self._extensions.ask_metadata(part))

    def give_metadata(self, part: int, raw: bytes | None) -> bytes:
        """Answer a metadata request from the info dictionary ``raw``, or refuse it."""
        return _extended(self._extensions.give_metadata(part, raw))

    def tell(self, signed: SignedCheckpoint) -> bytes:
        """Tell what was seen of the ledger, once, if the peer's introduction asks for that."""
        return _extended(self._extensions.tell(signed))

    def tell_peers(self, added: Iterable[Address], dropped: Iterable[Address] = ()) -> bytes:
        """Tell whom we are connected to over TCP (BEP 11), if the peer takes that."""
        return _extended(self._extensions.tell_peers(added, dropped))

    def reject(self, block: Block) -> bytes:
        """Refuse a request; peers without the fast extension are told nothing."""
        return message(REJECT, _SPAN.pack(*block)) if self.fast else b""

    # -- input ------------------------------------------------------------------------------

    def learn(self, layout: Layout, metadata_size: int) -> list[Event]:
        """The metainfo is known now; returns what the peer said that could not be understood
        before. Raises as ``receive`` does."""
        if self._layout is not None:
            return []
        self._layout = layout
        self._extensions.learn(metadata_size)
        early, self._early = self._early, Early()
        return list(early.events(layout.count))

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the peer at time ``now`` (seconds).

        Raises ``MalformedError`` for what the protocol does not allow and ``LimitError`` for too
        much of what it does; the connection must then be closed.
        """
        self._allowance = min(ALLOWANCE, self._allowance + (now - self._last) * REFILL)
        self._last = now
        buffer = self._buffer
        buffer += data
        events: list[Event] = []
        at = 0
        if not self.ready:
            if not self._shake(events):
                return events
            at = HANDSHAKE_SIZE
        end = len(buffer)
        while end - at >= 4:
            size = _LENGTH.unpack_from(buffer, at)[0]
            if size == 0:
                self.charge()
                at += 4
                continue
            if size > MAX_MESSAGE:
                raise LimitError(f"peer message of {size} bytes is over {MAX_MESSAGE}")
            if end - at < 5:
                break
            kind = buffer[at + 4]
            self._check_size(kind, size - 1)
            if end - at < 4 + size:
                break
            if kind == PIECE:
                piece, begin = _PLACE.unpack_from(buffer, at + 5)
                body = bytes(memoryview(buffer)[at + 13 : at + 4 + size])
                events.append(Received(self._inside(piece, begin, len(body)), body))
            else:
                self._handle(kind, bytes(buffer[at + 5 : at + 4 + size]), events)
            at += 4 + size
        del buffer[:at]
        return events

    def charge(self, cost: float = 1.0) -> None:
        """Count a message that brought nothing. Raises ``LimitError`` when there are too many."""
        self._allowance -= cost
        if self._allowance < 0:
            raise LimitError("the peer floods the connection with small messages")

    def _shake(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if not PROTOCOL.startswith(buffer[: len(PROTOCOL)]):
            raise MalformedError("the peer does not speak the BitTorrent protocol")
        if len(buffer) < HANDSHAKE_SIZE:
            return False
        name = bytes(buffer[28:48])
        if name not in self._names:
            raise MalformedError("the peer is in another swarm")
        self.fast = bool(buffer[27] & 0x04)
        self.ready = True
        extended = bool(buffer[25] & 0x10)
        hashes = name == self._v2
        events.append(Handshaken(bytes(buffer[48:68]), self.fast, extended, hashes))
        return True

    def _check_size(self, kind: int, size: int) -> None:
        fixed = _SIZES.get(kind)
        if fixed is not None:
            if size != fixed:
                raise MalformedError(f"peer message {kind} has {size} bytes instead of {fixed}")
        elif kind == BITFIELD:
            layout = self._layout
            if layout is None and size > -(-MAX_PIECES // 8):
                raise LimitError(f"the peer's bitfield of {size} bytes is too long")
            if layout is not None and size != -(-layout.count // 8):
                raise MalformedError("the peer's bitfield does not fit the number of pieces")
        elif kind == HASHES:
            if not _HASH_SPAN.size <= size <= _HASH_SPAN.size + HASH_SIZE * MAX_HASHES:
                raise MalformedError(f"the peer's hashes have {size} bytes")
        elif kind == PIECE:
            if size <= 8:
                raise MalformedError("the peer sent an empty block")
        elif size > MAX_EXTENDED:
            raise LimitError(f"peer message {kind} of {size} bytes is over {MAX_EXTENDED}")

    def _handle(self, kind: int, body: bytes, events: list[Event]) -> None:
        if kind == REQUEST and self._layout is not None:
            block = self._inside(*_SPAN.unpack(body))
            if block.length > MAX_BLOCK:
                raise LimitError(f"the peer asks for {block.length} bytes at once")
            events.append(Requested(block))
            return
        self.charge()
        if kind in (BITFIELD, HAVE_ALL, HAVE_NONE):
            # Once and first, says BEP 3. But who joined with a magnet link says it again when it
            # has the metadata, and aria2 sends one bitfield in place of many HAVEs.
            self.charge(FIELD_COST * len(body))
        if kind in (INTERESTED, NOT_INTERESTED):
            events.append(Interested(kind == INTERESTED))
        elif kind == EXTENDED:
            event = self._extensions.receive(body)
            if event is not None:
                events.append(event)
        elif kind == HASH_REQUEST:
            self.charge(HASH_COST)
            events.append(HashesRequested(HashRequest(*_HASH_SPAN.unpack(body))))
        elif kind in (HASHES, HASH_REJECT):
            request = HashRequest(*_HASH_SPAN.unpack_from(body))
            rejected = kind == HASH_REJECT
            hashes = body[_HASH_SPAN.size :]
            events.append(HashesRejected(request) if rejected else HashesReceived(request, hashes))
        elif kind == REQUEST:
            events.append(Requested(Block(*_SPAN.unpack(body))))  # we have nothing: for a refusal
        elif self._layout is None:
            self._remember(kind, body)
        else:
            self._understand(kind, body, events)

    def _remember(self, kind: int, body: bytes) -> None:
        """Take a message that is about pieces before it is known which there are."""
        if kind in (CHOKE, UNCHOKE):
            self._early.choke(kind == CHOKE)
        elif kind == HAVE:
            self._early.has(_LENGTH.unpack(body)[0])
        elif kind == ALLOWED_FAST:
            self._early.allow(_LENGTH.unpack(body)[0])
        elif kind == HAVE_ALL:
            self._early.has_all()
        elif kind == BITFIELD:
            self._early.bitfield(body)

    def _understand(self, kind: int, body: bytes, events: list[Event]) -> None:
        """Take a message that is about pieces."""
        if kind in (CHOKE, UNCHOKE):
            events.append(Choking(kind == CHOKE))
        elif kind in (HAVE, ALLOWED_FAST):
            piece = self._piece(_LENGTH.unpack(body)[0])
            events.append(Has((piece,)) if kind == HAVE else AllowedFast(piece))
        elif kind == HAVE_ALL:
            events.append(HasAll())
        elif kind == BITFIELD:
            events.append(self._bitfield(body))
        elif kind in (CANCEL, REJECT):
            block = self._inside(*_SPAN.unpack(body))
            events.append(Cancelled(block) if kind == CANCEL else Rejected(block))

    def _bitfield(self, body: bytes) -> Event:
        assert self._layout is not None
        count = self._layout.count
        bits = int.from_bytes(body, "big")
        spare = 8 * len(body) - count
        if bits & ((1 << spare) - 1):
            raise MalformedError("the peer's bitfield has spare bits set")
        if bits >> spare == (1 << count) - 1:
            return HasAll()
        return Has(tuple(i for i in range(count) if body[i >> 3] & (0x80 >> (i & 7))))

    def _piece(self, piece: int) -> int:
        assert self._layout is not None
        if piece >= self._layout.count:
            raise MalformedError(f"the peer names piece {piece} of {self._layout.count}")
        return piece

    def _inside(self, piece: int, begin: int, length: int) -> Block:
        block = Block(piece, begin, length)
        if self._layout is None or not self._layout.holds(block):
            raise MalformedError("the peer names a block outside of the blob")
        return block


def message(kind: int, body: bytes = b"") -> bytes:
    """One message: its length, its kind, its body (BEP 3)."""
    return _HEAD.pack(1 + len(body), kind) + body


def ask_hashes(request: HashRequest) -> bytes:
    """Ask for a part of a file's hash tree."""
    return message(HASH_REQUEST, _pack_hashes(request))


def give_hashes(request: HashRequest, hashes: bytes) -> bytes:
    """Answer a hash request; no hashes refuse it."""
    return message(HASHES if hashes else HASH_REJECT, _pack_hashes(request) + hashes)


def have(piece: int) -> bytes:
    """Say that we have got ``piece``."""
    return message(HAVE, _LENGTH.pack(piece))


def gained(pieces: Collection[int], count: int) -> bytes:
    """Say that we have got ``pieces`` out of ``count``: one by one, or many in a bitfield."""
    if len(pieces) > MAX_HAVES:
        return message(BITFIELD, bitfield_of(pieces, count))
    return b"".join(map(have, pieces))


def request(block: Block) -> bytes:
    """Ask for ``block``."""
    return message(REQUEST, _SPAN.pack(*block))


def cancel(block: Block) -> bytes:
    """No longer ask for ``block``."""
    return message(CANCEL, _SPAN.pack(*block))


def serve(block: Block, data: bytes) -> bytes:
    """Send the bytes of ``block``."""
    return _BLOCK_HEAD.pack(9 + len(data), PIECE, block.piece, block.begin) + data


def bitfield_of(pieces: Iterable[int], count: int) -> bytes:
    """The bitfield of ``pieces`` out of ``count`` (BEP 3)."""
    field = bytearray(-(-count // 8))
    for piece in pieces:
        field[piece >> 3] |= 0x80 >> (piece & 7)
    return bytes(field)


def _extended(body: bytes) -> bytes:
    return message(EXTENDED, body) if body else b""


def _pack_hashes(request: HashRequest) -> bytes:
    span = (request.base, request.index, request.length, request.proof)
    return _HASH_SPAN.pack(request.root, *span)
