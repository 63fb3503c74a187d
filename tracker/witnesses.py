"""What witnesses cosigned of this tracker's ledger: the newest of each, for the others to meet."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Self

from validators.witness import bare, cosigned, verify_log
from workunits.checkpoints import MAX_SIGNATURES, Checkpoint, SignedCheckpoint
from workunits.errors import MalformedError, RefusedError
from workunits.ids import PeerKey
from workunits.statements import MAX_AGE

MAX_PEERS = 256
MAX_STRANGERS = 64
"""Witnesses that are remembered: keys that took part in this swarm, and others."""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """One checkpoint with the signatures of the log and of one witness, at ``time`` (Unix s)."""

    signed: SignedCheckpoint
    witness: PeerKey
    time: int

    @classmethod
    def parse(cls, raw: bytes, log: PeerKey) -> Self:
        """Read and verify a note about the ledger of ``log``.

        Raises ``MalformedError``, ``LimitError`` or ``SignatureError``.
        """
        signed = SignedCheckpoint.parse(raw)
        if verify_log(signed) != log:
            raise MalformedError(
                "the checkpoint is of another tracker's ledger",
                hint="Send it to the tracker whose key is in its first line.",
            )
        found = cosigned(signed)
        log_first = bare(signed).signatures == signed.signatures[:1]
        if len(found) != 1 or len(signed.signatures) != 2 or not log_first:
            raise MalformedError("a cosigned checkpoint has two signatures: log, then witness")
        ((witness, time),) = found.items()
        return cls(signed, witness, time)


class _Shelf:
    """Cosignatures by witness, in the order in which they came; the oldest fall off."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[PeerKey, Cosigned] = OrderedDict()

    def take(self, witness: PeerKey) -> Cosigned | None:
        return self._found.pop(witness, None)

    def put(self, new: Cosigned) -> None:
        self._found[new.witness] = new
        if len(self._found) > self._most:
            self._found.popitem(last=False)

    def items(self) -> tuple[Cosigned, ...]:
        return tuple(self._found.values())


class Witnesses:
    """The newest cosignature of each witness. Who was silent for longest is forgotten first."""

    def __init__(self, peers: int = MAX_PEERS, strangers: int = MAX_STRANGERS) -> None:
        """``peers`` and ``strangers`` are how many of each are remembered."""
        self._known = {True: _Shelf(peers), False: _Shelf(strangers)}

    def take(self, new: Cosigned, now: float, *, peer: bool) -> bool:
        """Remember ``new``, which came at ``now`` (Unix s); whether its checkpoint is news.

        Strangers never push out a ``peer``. Raises ``RefusedError`` when the time is off.
        """
        off = new.time - now
        if abs(off) > MAX_AGE:
            raise RefusedError(
                f"the cosignature's time is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'}",
                hint="Set your clock (sudo timedatectl set-ntp true) and try again.",
            )
        before = self._known[peer].take(new.witness) or self._known[not peer].take(new.witness)
        if before is not None and before.time > new.time:
            new = before
        self._known[peer].put(new)
        return before is None or before.signed.checkpoint != new.signed.checkpoint

    def notes(self) -> list[SignedCheckpoint]:
        """Every checkpoint with all that cosigned it, the largest first; as few notes as can be."""
        by_checkpoint: dict[Checkpoint, list[SignedCheckpoint]] = {}
        for each in (*self._known[True].items(), *self._known[False].items()):
            by_checkpoint.setdefault(each.signed.checkpoint, []).append(each.signed)
        found = []
        for checkpoint in sorted(by_checkpoint, key=lambda each: each.size, reverse=True):
            group = by_checkpoint[checkpoint]
            head = bare(group[0])
            lines = [line for each in group for line in each.signatures[1:]]
            step = MAX_SIGNATURES - len(head.signatures)
            for at in range(0, len(lines), step):
                signatures = (*head.signatures, *lines[at : at + step])
                found.append(replace(head, signatures=signatures))
        return found
