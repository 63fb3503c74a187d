"""Verifying a whole ledger as it comes in, and remembering how far it was seen."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from validators.audit import Audit
from validators.witness import verify_log
from workunits.archive import Items
from workunits.checkpoints import SignedCheckpoint
from workunits.errors import AuditError, LocalError, MalformedError, RemoteError
from workunits.ids import PeerKey

SEEN = "ledgers"
"""The folder of what was seen, in a home."""

_KEEP = "Both are signed; `swarm ledger compare` with the same file or address keeps the evidence."


@dataclass(frozen=True, slots=True)
class Report:
    """What a ledger that holds comes to; ``on_trust`` are verdicts that it cannot show."""

    tracker: PeerKey
    entries: int
    root: bytes
    minted: int
    kinds: Mapping[str, int]
    on_trust: int


@dataclass(slots=True)
class Verification:
    """Takes a ledger file in chunks. ``seen`` are checkpoints of earlier visits."""

    seen: "Seen"
    signed: SignedCheckpoint | None = None
    audit: Audit | None = None
    _items: Items = field(default_factory=Items)
    _before: SignedCheckpoint | None = None

    def feed(self, data: bytes) -> None:
        """Check what ``data`` completes.

        Raises ``AuditError`` with the first entry that is wrong, ``SignatureError`` when the
        tracker did not sign the checkpoint, ``MalformedError`` for what is no ledger.
        """
        for item in self._items.feed(data):
            if self.signed is None:
                self._begin(item)
                continue
            assert self.audit is not None
            if self.audit.size == self.signed.checkpoint.size:
                raise AuditError(f"entry {self.audit.size}: more than the checkpoint is about")
            self.audit.take(item)
            self._compare()

    def end(self) -> Report:
        """The file is over. Raises as ``feed`` does, also when something is missing."""
        self._items.end()
        if self.signed is None or self.audit is None:
            raise MalformedError("the ledger file is empty")
        checkpoint, audit = self.signed.checkpoint, self.audit
        if audit.size != checkpoint.size:
            raise AuditError(
                f"entry {audit.size}: missing; the checkpoint is about {checkpoint.size:,} entries"
            )
        if audit.root != checkpoint.root:
            raise AuditError(
                "the entries are not those that the tracker signed: another root",
                hint="One of them was changed into another valid one; fetch the ledger again.",
            )
        self.seen.keep(audit.operator, self.signed)
        return Report(
            audit.operator,
            audit.size,
            audit.root,
            audit.minted,
            dict(sorted(audit.kinds.items())),
            audit.on_trust,
        )

    def _begin(self, note: bytes) -> None:
        signed = SignedCheckpoint.parse(note)
        tracker = verify_log(signed)
        self.signed, self.audit = signed, Audit(tracker)
        self._before = self.seen.latest(tracker)
        before = self._before
        if before is not None and before.checkpoint.size > signed.checkpoint.size:
            raise AuditError(
                f"the ledger has {signed.checkpoint.size:,} entries, and had "
                f"{before.checkpoint.size:,} before: it was cut",
                hint=_KEEP,
            )
        self._compare()

    def _compare(self) -> None:
        """At the size of the checkpoint that was seen before the root must be the same."""
        before, audit = self._before, self.audit
        assert audit is not None
        if before is None or before.checkpoint.size != audit.size:
            return
        if before.checkpoint.root != audit.root:
            raise AuditError(
                f"the first {audit.size:,} entries are not those that were signed before: a fork",
                hint=_KEEP,
            )


@dataclass(frozen=True, slots=True)
class Seen:
    """The last checkpoint of each tracker that held, under this user's home."""

    home: Path

    def latest(self, tracker: PeerKey) -> SignedCheckpoint | None:
        """What was kept of ``tracker``; ``None`` if nothing was."""
        try:
            return SignedCheckpoint.parse(self._path(tracker).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, RemoteError):
            raise LocalError(
                f"the checkpoint in {self._path(tracker)} cannot be read",
                hint="Remove the file; forks before now will not be noticed then.",
            ) from None

    def keep(self, tracker: PeerKey, signed: SignedCheckpoint) -> None:
        """Remember a checkpoint that was verified, unless a larger one is remembered already.

        A verification takes its time, and a witness may look further meanwhile.
        """
        latest = self.latest(tracker)
        if latest is not None and latest.checkpoint.size > signed.checkpoint.size:
            return
        write_whole(self._path(tracker), signed.encode())

    def _path(self, tracker: PeerKey) -> Path:
        return self.home / SEEN / tracker.hex()


def write_whole(path: Path, raw: bytes) -> None:
    """Write a file that others see whole or not at all, and its folder. Raises ``LocalError``."""
    spare = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        spare.write_bytes(raw)
        spare.replace(path)
    except OSError as error:
        raise LocalError(
            f"cannot write {path}: {error.strerror}", hint="Check the folder and its disk."
        ) from None
