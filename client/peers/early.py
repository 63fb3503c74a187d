"""What a peer says of its pieces before anybody here knows how many there are.

It is added up, so that it takes 64 KiB at most however much is said.
"""

from collections.abc import Iterator

from client.peers.events import AllowedFast, Choking, Event, Has, HasAll
from workunits.errors import MalformedError
from workunits.torrents import MAX_PIECES

MAX_FAST = 64
"""Pieces of which it may say that it serves them while it chokes us."""


class Early:
    """What one peer has said."""

    __slots__ = ("_choking", "_every", "_fast", "_field", "_size")

    def __init__(self) -> None:
        self._field = bytearray()
        self._size: int | None = None
        self._every = False
        self._choking: bool | None = None
        self._fast: set[int] = set()

    def choke(self, on: bool) -> None:
        """It will not, or it will, serve us."""
        self._choking = on

    def has_all(self) -> None:
        """It has every piece."""
        self._every = True

    def has(self, piece: int) -> None:
        """It has one piece. Raises ``MalformedError`` for one that no torrent has."""
        self._check(piece)
        at = piece >> 3
        if at >= len(self._field):
            self._field += bytes(at + 1 - len(self._field))
        self._field[at] |= 0x80 >> (piece & 7)

    def bitfield(self, field: bytes) -> None:
        """It has these pieces. Raises ``MalformedError`` when an earlier one had another size."""
        if self._size not in (None, len(field)):
            raise MalformedError("the peer's bitfields are not of one size")
        self._size = len(field)
        before = int.from_bytes(self._field.ljust(len(field), b"\0"), "big")
        after = int.from_bytes(field.ljust(len(self._field), b"\0"), "big")
        self._field = bytearray((before | after).to_bytes(max(len(field), len(self._field)), "big"))

    def allow(self, piece: int) -> None:
        """It serves one piece while it chokes us."""
        self._check(piece)
        if len(self._fast) < MAX_FAST:
            self._fast.add(piece)

    def events(self, count: int) -> Iterator[Event]:
        """All of it, now that there are ``count`` pieces. Raises ``MalformedError`` for what does
        not fit that."""
        size = -(-count // 8)
        field = bytes(self._field).ljust(size, b"\0")
        spare = int.from_bytes(field, "big") & ((1 << (8 * len(field) - count)) - 1)
        if self._size not in (None, size) or spare or any(at >= count for at in self._fast):
            raise MalformedError("the peer named pieces that the torrent does not have")
        pieces = tuple(at for at in range(count) if field[at >> 3] & (0x80 >> (at & 7)))
        if self._every or (self._size is not None and len(pieces) == count):
            yield HasAll()
        elif pieces:
            yield Has(pieces)
        yield from map(AllowedFast, sorted(self._fast))
        if self._choking is not None:
            yield Choking(self._choking)

    @staticmethod
    def _check(piece: int) -> None:
        if piece >= MAX_PIECES:
            raise MalformedError(f"the peer names piece {piece}, which no torrent has")
