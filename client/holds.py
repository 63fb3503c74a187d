"""Why blobs are kept: in memory for the store, and written down for people to read."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock

from client.disk import replace_file
from client.json_fields import decode_object
from client.syncer import Syncer
from workunits.errors import MalformedError, SwarmError
from workunits.ids import HASH_SIZE, BlobRef

log = logging.getLogger(__name__)

HOLDS = "holds"
MAX_NOTES = 16 * 1024 * 1024
MAX_HELD = 50_000
MAX_REASONS = 32
MAX_REASON = 200
"""What is written down: blobs, reasons of one blob, characters of a reason."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What the owner of a store writes down for others to read."""

    quota: int | None = None
    holds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Reasons under the hex of a v2 hash."""

    def encode(self) -> bytes:
        """The file."""
        holds = [{"blob": name, "why": why} for name, why in sorted(self.holds.items())]
        return json.dumps({"quota": self.quota, "holds": holds}, indent=1).encode()

    @classmethod
    def parse(cls, raw: bytes) -> "Notes":
        """Read the file. Raises ``MalformedError`` or ``LimitError``."""
        fields = decode_object(raw, limit=MAX_NOTES, what="the holds of a blob store")
        quota = fields.integer("quota", 0) if fields.has("quota") else None
        holds: dict[str, tuple[str, ...]] = {}
        for group in fields.groups("holds", MAX_HELD):
            reasons = group.items("why", MAX_REASONS)
            if not all(isinstance(each, str) and len(each) <= MAX_REASON for each in reasons):
                raise MalformedError("the holds of a blob store: a reason is not a short text")
            name = group.octets("blob", HASH_SIZE).hex()
            holds[name] = tuple(each if each.isprintable() else repr(each) for each in reasons)
        return cls(quota, holds)

    @classmethod
    def load(cls, folder: Path) -> "Notes":
        """The notes in a store's folder; empty when there are none to be read."""
        try:
            with (folder / HOLDS).open("rb") as stream:
                return cls.parse(stream.read(MAX_NOTES + 1))
        except (OSError, SwarmError):
            return cls()

    def save(self, folder: Path) -> None:
        """Replace the notes. Raises ``OSError``."""
        replace_file(folder / HOLDS, self.encode())


class Holds:
    """The holds of one store. All methods may be called from any thread."""

    def __init__(self, folder: Path, quota: int | None, syncer: Syncer) -> None:
        """Without ``quota``, what was written down before is taken for it."""
        self._folder = folder
        self._syncer = syncer
        self._mutex = Lock()
        self._reasons: dict[BlobRef, set[str]] = {}
        # Until something is held, what is written down is of the process before us.
        self._notes = Notes.load(folder)
        self._stale = True
        self.quota = (self._notes.quota or 0) if quota is None else quota
        if self.quota != self._notes.quota:
            self._notes = Notes(self.quota, self._notes.holds)
            syncer.submit(self.write)

    def __contains__(self, ref: BlobRef) -> bool:
        return ref in self._reasons

    def add(self, ref: BlobRef, reason: str) -> None:
        """Hold ``ref``."""
        with self._mutex:
            self._reasons.setdefault(ref, set()).add(reason)
            self._stale = False
        self._syncer.submit(self.write)

    def discard(self, ref: BlobRef, reason: str) -> None:
        """End a hold; unknown ones are no error."""
        with self._mutex:
            reasons = self._reasons.get(ref, set())
            if reason not in reasons:
                return
            reasons.discard(reason)
            if not reasons:
                del self._reasons[ref]
        self._syncer.submit(self.write)

    def of(self, ref: BlobRef) -> frozenset[str]:
        """Why ``ref`` is kept."""
        with self._mutex:
            return frozenset(self._reasons.get(ref, ()))

    def write(self) -> None:
        """Write down what is held. In the syncer's thread."""
        with self._mutex:
            if not self._stale:
                holds = {
                    str(ref): tuple(why[:MAX_REASON] for why in sorted(reasons)[:MAX_REASONS])
                    for ref, reasons in islice(self._reasons.items(), MAX_HELD)
                }
                self._notes = Notes(self.quota, holds)
            notes = self._notes
        try:
            notes.save(self._folder)
        except OSError as error:
            log.warning("cannot write down what is held in %s: %s", self._folder, error)
