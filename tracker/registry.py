"""Which torrents the tracker tracks: those of jobs, those it keeps, those that were registered.

A swarm is named by 20 bytes on the wire: the v1 info-hash, or the first 20 of the v2 one (BEP 52).
Both count. What jobs name is found in the rows as they are written, so nothing else has to say it.
"""

import logging
import re
from collections.abc import Callable, Iterable
from hashlib import sha1

from tracker.fingerprints import Fingerprints
from tracker.rows import BlobRow, ExecutionRow, JobRow, Row, TorrentRow, UnitRow
from workunits.errors import LimitError, RefusedError
from workunits.ids import PeerKey
from workunits.statements import MAX_AGE, Register, Unregister

log = logging.getLogger(__name__)

WIRE_SIZE = 20
MAX_OF_ACCOUNT = 1_000
MAX_OF_STRANGER = 100
"""Torrents that a key may register that has no account and is no member."""

MAX_OF_STRANGERS = 10_000
MAX_TORRENTS = 100_000
MAX_HASHES = 4_000_000
"""Hashes of blobs that jobs name; further ones are not tracked."""

# Every reference to a blob, in manifests and in results, ends in its two info-hashes.
_REFERENCE = re.compile(rb"2:v120:(.{20})2:v232:(.{20})", re.DOTALL)


def wire_hashes(v1: bytes, v2: bytes) -> tuple[bytes, ...]:
    """What a torrent's swarms are called on the wire."""
    return tuple(value[:WIRE_SIZE] for value in (v1, v2) if value)


class Registry:
    """The list. ``trusted`` says which keys have an account or are members; the ``operator`` may
    register any number."""

    def __init__(self, *, trusted: Callable[[PeerKey], bool], operator: PeerKey) -> None:
        self._trusted = trusted
        self._operator = operator
        self._hashes = Fingerprints()
        self._jobs: set[bytes] = set()
        self._torrents: dict[PeerKey, dict[tuple[bytes, bytes], TorrentRow]] = {}
        self._wire: dict[bytes, int] = {}
        self._removed: dict[tuple[bytes, bytes, bytes], int] = {}
        self._count = 0
        self._strange: set[tuple[bytes, bytes, bytes]] = set()
        self._full = False

    def __contains__(self, info_hash: bytes) -> bool:
        return info_hash in self._hashes or info_hash in self._wire

    @property
    def registered(self) -> int:
        """How many torrents were registered."""
        return self._count

    @property
    def named(self) -> int:
        """How many info-hashes of blobs are known."""
        return len(self._hashes)

    def fill(
        self, naming: Iterable[bytes], blobs: Iterable[BlobRow], torrents: Iterable[TorrentRow]
    ) -> None:
        """Take in what the database has."""
        for raw in naming:
            self._name(raw)
        for blob in blobs:
            self._keep(blob)
        for row in torrents:
            self._enter(row)

    def watch(self, rows: Iterable[Row]) -> None:
        """Take in what rows name that are being written."""
        for row in rows:
            if isinstance(row, UnitRow | ExecutionRow):
                if row.result:
                    self._name(row.result)
            elif isinstance(row, JobRow):
                if row.state != "active":
                    self._jobs.discard(row.id)
                elif row.id not in self._jobs:
                    self._jobs.add(row.id)
                    self._name(row.manifest)
            elif isinstance(row, BlobRow):
                self._keep(row)

    def register(self, author: PeerKey, claim: Register, time: int) -> TorrentRow:
        """Enter a torrent of ``author``; the row to write. ``time`` is the statement's.

        Raises ``LimitError`` when the author or all together have too many, and ``RefusedError``
        for a statement that is older than what it would change.
        """
        place = (claim.v1, claim.v2)
        own = self._torrents.get(author, {})
        known = own.get(place)
        self._check_order(author, place, time, known)
        if known is None:
            self._check_room(author, len(own))
        row = TorrentRow(author, *place, claim.length, claim.name, int(claim.private), time, 0)
        if known is None:
            self._enter(row)
        else:
            own[place] = row
        return row

    def unregister(self, author: PeerKey, claim: Unregister, time: int) -> TorrentRow:
        """Forget a torrent of ``author``; the row to write. Raises ``RefusedError``."""
        place = (claim.v1, claim.v2)
        own = self._torrents.get(author, {})
        known = own.get(place)
        if known is None:
            raise RefusedError(
                "you have registered no such torrent",
                hint="Name both info-hashes as they were registered.",
            )
        self._check_order(author, place, time, known)
        del own[place]
        if not own:
            del self._torrents[author]
        self._count -= 1
        self._strange.discard((author, *place))
        for value in wire_hashes(*place):
            self._wire[value] -= 1
            if not self._wire[value]:
                del self._wire[value]
        # The row is gone from the database soon, so an old statement must not bring it back.
        self._removed = {
            key: at for key, at in self._removed.items() if at > time - 2 * MAX_AGE
        } | {(author, *place): time}
        return known._replace(time=time, removed=1)

    def of(self, author: PeerKey) -> list[TorrentRow]:
        """The torrents that ``author`` registered, oldest first."""
        return list(self._torrents.get(author, {}).values())

    def _check_order(
        self, author: PeerKey, place: tuple[bytes, bytes], time: int, known: TorrentRow | None
    ) -> None:
        before = known.time if known else self._removed.get((author, *place), time)
        if time < before:
            raise RefusedError(
                "a later statement about this torrent was carried out", hint="Say it again."
            )

    def _check_room(self, author: PeerKey, own: int) -> None:
        if author == self._operator:
            return
        known = self._known(author)
        most = MAX_OF_ACCOUNT if known else MAX_OF_STRANGER
        if own >= most:
            raise LimitError(
                f"you have registered {own:,} torrents, which is the limit",
                hint="Take some back, or ask the operator to register them.",
            )
        if self._count >= MAX_TORRENTS or (not known and len(self._strange) >= MAX_OF_STRANGERS):
            raise LimitError(
                "no more torrents can be registered here",
                hint="Ask the operator; who has an account is let in before others."
                if not known
                else "Ask the operator.",
            )

    def _known(self, author: PeerKey) -> bool:
        return author == self._operator or self._trusted(author)

    def _enter(self, row: TorrentRow) -> None:
        author = PeerKey(row.account)
        self._torrents.setdefault(author, {})[row.v1, row.v2] = row
        self._count += 1
        if not self._known(author):
            self._strange.add((author, row.v1, row.v2))
        for value in wire_hashes(row.v1, row.v2):
            self._wire[value] = self._wire.get(value, 0) + 1

    def _keep(self, blob: BlobRow) -> None:
        self._add(blob.v2[:WIRE_SIZE])
        self._add(sha1(blob.info, usedforsecurity=False).digest())

    def _name(self, raw: bytes) -> None:
        for v1, v2 in _REFERENCE.findall(raw):
            self._add(v1)
            self._add(v2)

    def _add(self, value: bytes) -> None:
        if self._full:
            return
        self._hashes.add(value)
        if len(self._hashes) >= MAX_HASHES:
            self._full = True
            log.warning("jobs name %d blobs; further ones are not tracked", MAX_HASHES)
