"""Comparing what was seen of a ledger with what others saw, and keeping evidence of a fork."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from client.ledger import SEEN, Seen, write_whole
from client.tracker_api import TrackerApi, TrackerError
from validators.witness import (
    MAX_FORK,
    Fork,
    ForkError,
    Proof,
    Witness,
    gap,
    prefix_root,
    verify_log,
)
from workunits.archive import Items
from workunits.checkpoints import MAX_NOTE, SignedCheckpoint
from workunits.errors import LocalError, MalformedError, ProofError, SwarmError
from workunits.ids import PeerKey, short

MAX_SOURCE = MAX_FORK + 1
"""Bytes at the start of a file that are enough for ``parse``."""

_FOLDER = "forks"
_SUFFIX = ".fork"


async def see(witness: Witness, theirs: SignedCheckpoint, logs: Sequence[TrackerApi]) -> Witness:
    """Let ``witness`` see a checkpoint; ``logs`` are asked how it goes together with the last.

    Raises ``ForkError`` with the best evidence that there is, ``SwarmError`` when proofs are
    needed and none of ``logs`` could be asked, and as ``Witness.see`` does.
    """
    needed = gap(witness.latest, theirs) if witness.latest is not None else None
    if needed is None:
        return witness.see(theirs)
    found: Fork | None = None
    failure: SwarmError | None = None
    for log in logs:
        try:
            return witness.see(theirs, await _proof(log, *needed))
        except ForkError as error:
            found = error.fork
        except SwarmError as error:
            failure = error
    if found is None:
        raise failure or LocalError(
            "no tracker to ask how the two checkpoints go together", hint="Name one with --tracker."
        )
    fork = await _prove(found, logs)
    if fork is None:
        return witness.grow(theirs)
    raise ForkError(fork)


async def _proof(log: TrackerApi, old: int, new: int) -> Proof | None:
    """The consistency proof of a log; ``None`` when it says that it has none."""
    try:
        return await log.consistency(old, new)
    except TrackerError as error:
        if error.code == ProofError.code:
            return None
        raise


async def _prove(fork: Fork, logs: Sequence[TrackerApi]) -> Fork | None:
    """Ask for the path that makes evidence out of two sizes; ``None`` if it refutes the fork."""
    one, other = fork.one.checkpoint, fork.other.checkpoint
    for log in logs:
        try:
            path = (await log.leaf(one.size), *await log.inclusion(one.size, other.size))
            agree = prefix_root(one.size, other, path) == one.root
        except SwarmError:
            continue
        return None if agree else replace(fork, path=path)
    return fork


@dataclass(frozen=True, slots=True)
class Met:
    """Two views of one ledger that are of one history: how many entries each has."""

    tracker: PeerKey
    yours: int
    theirs: int


async def hold_against(
    home: Path, evidence: Fork | SignedCheckpoint, logs: Sequence[TrackerApi]
) -> Met:
    """Compare what somebody else saw with what was seen here; the larger is remembered.

    Who has seen nothing yet sees first what the first of ``logs`` shows. Raises ``ForkError``,
    which names a file with the evidence, and ``SwarmError`` when the two cannot be compared.
    """
    forks, seen = Forks(home), Seen(home)
    try:
        if isinstance(evidence, Fork):
            theirs = evidence.other
            tracker = verify_log(theirs)
            if evidence.check():
                raise ForkError(evidence)
            await see(Witness(tracker, evidence.one), theirs, logs)
        else:
            theirs = evidence
            tracker = verify_log(theirs)
        mine = seen.latest(tracker) or await _first(tracker, logs[0])
        latest = (await see(Witness(tracker, mine), theirs, logs)).latest
    except ForkError as error:
        raise forks.error(error.fork) from None
    assert latest is not None
    seen.keep(tracker, latest)
    return Met(tracker, mine.checkpoint.size, theirs.checkpoint.size)


async def _first(tracker: PeerKey, log: TrackerApi) -> SignedCheckpoint:
    """What a tracker shows to somebody who never looked at it."""
    signed = await log.checkpoint()
    if verify_log(signed) != tracker:
        raise LocalError(
            f"they saw the ledger of tracker {short(tracker)}, which you never looked at",
            hint=f"Name that tracker with --tracker; {log.url} is another one.",
        )
    return signed


def parse(raw: bytes) -> Fork | SignedCheckpoint:
    """Read the evidence of a fork, a note, or the note at the start of a ledger file.

    Raises ``MalformedError`` or ``LimitError``; verifies nothing.
    """
    if raw[:1] == b"d":
        return Fork.parse(raw)
    if raw[:1].isdigit():
        note = next(Items(MAX_NOTE).feed(raw), None)
        if note is None:
            raise MalformedError("the ledger file is cut off", hint="Export it again.")
        return SignedCheckpoint.parse(note)
    return SignedCheckpoint.parse(raw)


@dataclass(frozen=True, slots=True)
class Forks:
    """Evidence of forks, under this user's home."""

    home: Path

    def error(self, fork: Fork) -> ForkError:
        """Write ``fork`` to a file; the error that names it. What the disk refuses is said too."""
        try:
            path = self.keep(fork)
        except LocalError as error:
            return ForkError(fork, hint=f"The evidence is lost: {error.message}.")
        return ForkError(fork, hint=self._advice(fork, path))

    def keep(self, fork: Fork) -> Path:
        """Write ``fork`` to a file of its own. Raises ``LocalError``."""
        raw = fork.encode()
        name = f"{short(verify_log(fork.one))}-{short(sha256(raw).digest())}{_SUFFIX}"
        path = self.home / SEEN / _FOLDER / name
        write_whole(path, raw)
        return path

    def check(self, tracker: PeerKey) -> None:
        """Raise ``ForkError`` if there is proof of a fork of ``tracker`` here."""
        for path in sorted((self.home / SEEN / _FOLDER).glob(f"{short(tracker)}-*{_SUFFIX}")):
            try:
                fork = Fork.parse(path.read_bytes())
                if verify_log(fork.one) != tracker or not fork.check():
                    continue
            except (OSError, SwarmError):
                continue
            raise ForkError(fork, hint=self._advice(fork, path))

    def _advice(self, fork: Fork, path: Path) -> str:
        seen = self.home / SEEN / verify_log(fork.one).hex()
        if fork.check():
            return (
                f"Stop working for this tracker, and give {path} to others: it is proof, and "
                "`swarm ledger compare` checks it. Who wants to trust the tracker again removes "
                f"that file and {seen}."
            )
        return (
            f"The tracker did not show how the two go together. Ask its operator, and keep {path}: "
            "`swarm ledger compare` on it asks the tracker again. If there is a good reason, such "
            f"as a restored backup, remove {seen}."
        )
