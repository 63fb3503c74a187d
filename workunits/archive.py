"""A whole ledger as a file: the signed checkpoint, then every entry, each as a bencode string."""

from collections.abc import Iterator

from workunits.entries import MAX_ENTRY
from workunits.errors import LimitError, MalformedError
from workunits.ids import PeerKey, parse_hash

MAX_DIGITS = 8
_ORIGIN = "openswarm/"


def origin(tracker: PeerKey) -> str:
    """The name of a tracker's log in its checkpoints."""
    return _ORIGIN + tracker.hex()


def tracker_of(origin: str) -> PeerKey:
    """The key in the name of a log. Raises ``MalformedError``."""
    return PeerKey(parse_hash(origin.removeprefix(_ORIGIN), "the log's origin"))


def frame(content: bytes) -> bytes:
    """One item as it stands in the file."""
    return b"%d:%b" % (len(content), content)


class Items:
    """Takes the bytes of a file as they come, and gives its items."""

    def __init__(self, limit: int = MAX_ENTRY) -> None:
        """``limit`` is the most bytes of one item."""
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add ``data``; gives the items that are complete now.

        Raises ``MalformedError`` or ``LimitError``; nothing may be fed then.
        """
        self._buffer += data
        at = 0
        try:
            while (found := self._item(at)) is not None:
                start, at = found
                yield bytes(self._buffer[start:at])
        finally:
            del self._buffer[:at]

    def end(self) -> None:
        """The file is over. Raises ``MalformedError`` in the middle of an item."""
        if self._buffer:
            raise MalformedError(
                "the ledger file is cut off in the middle of an entry", hint="Export it again."
            )

    def _item(self, at: int) -> tuple[int, int] | None:
        colon = self._buffer.find(b":", at, at + MAX_DIGITS + 1)
        if colon < 0:
            if len(self._buffer) - at > MAX_DIGITS:
                raise _no_length()
            return None
        digits = bytes(self._buffer[at:colon])
        if not digits.isdigit() or (digits != b"0" and digits.startswith(b"0")):
            raise _no_length()
        length = int(digits)
        if length > self._limit:
            raise LimitError(f"an item of {length:,} bytes is over {self._limit:,}")
        end = colon + 1 + length
        return (colon + 1, end) if end <= len(self._buffer) else None


def _no_length() -> MalformedError:
    return MalformedError(
        "not a ledger file, or not any more: no length of an entry",
        hint="Name a file that `swarm ledger export` wrote.",
    )
