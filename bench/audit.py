"""How fast anyone can replay a ledger, and how small a proof of one entry is."""

import time
from dataclasses import dataclass

from bench.row import Row, Setting
from bench.tracker import IMAGE, OUTPUT
from tracker.ledger import Book
from tracker.rows import EntryRow
from validators.audit import Audit
from workunits.ids import Digest, LeaseToken, UnitId
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.merkle import HASH_SIZE, Tree, check_inclusion, leaf_hash
from workunits.parameters import Range, Sweep
from workunits.results import Ending, Result, commitment, seal
from workunits.signing import Identity
from workunits.statements import Grant, Statement
from workunits.verification import Comparator, Policy
from workunits.wire.work import Commit, Commits

WHAT = "a million ledger entries verified by anyone, one core"
BUDGET = "120 s"
BUDGET_SECONDS = 120.0
ENTRIES = 10**6
UNITS = 12_000
QUICK = 200
BATCH = 10
"""Commits in one signed batch: what a volunteer with short units sends."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Seconds to audit ``entries`` entries of ``size`` bytes in all."""

    entries: int
    size: int
    seconds: float


def measure(setting: Setting, units: int | None = None) -> Row:
    """Write a ledger as a tracker does, with real signatures, and audit it."""
    units = units or (QUICK if setting.quick else UNITS)
    setting.say(f"writing and auditing a ledger of {units:,} units")
    replay = audit(units)
    rate = replay.entries / replay.seconds
    size, seconds = proof(ENTRIES // (100 if setting.quick else 1))
    return Row.of(
        WHAT,
        BUDGET,
        f"{ENTRIES / rate:.0f} s",
        BUDGET_SECONDS * rate / ENTRIES,
        f"projected from {replay.entries:,} entries ({replay.size / replay.entries:.0f} bytes "
        f"each): {rate:,.0f}/s",
        f"policy pair, {units:,} units, batches of {BATCH} signed commits; every signature, move, "
        "commitment, verdict and root",
        f"proof that one of {ENTRIES:,} entries is in the log: {size} bytes, checked in "
        f"{1e6 * seconds:.0f} us",
        entries_per_second=rate,
        proof_bytes=size,
        proof_seconds=seconds,
    )


def audit(units: int) -> Replay:
    """Seconds to replay the ledger of one job."""
    operator = Identity.from_seed(b"o" * 32)
    raw = ledger(units, operator)
    began = time.perf_counter()
    replay = Audit(operator.key)
    for entry in raw:
        replay.take(entry)
    return Replay(len(raw), sum(map(len, raw)), time.perf_counter() - began)


def ledger(units: int, operator: Identity) -> list[bytes]:
    """The entries of a job of ``units`` units, each computed by the same two peers."""
    book = Book()
    peers = [Identity.from_seed(bytes([at]) * 32) for at in (1, 2)]
    signed = SignedManifest.sign(_manifest(units, peers[0]), peers[0])
    grant = Grant(peers[0].key, signed.manifest.escrow)
    book.mint(grant.account, grant.amount, Statement.sign(operator, grant, time=0, nonce=bytes(16)))
    book.escrow(signed)
    raw = Result(Ending.EXITED, 0, ()).encode()
    digest = Result.digest_of(raw)
    for first in range(0, units, BATCH):
        some = range(first, min(units, first + BATCH))
        for number, peer in enumerate(peers):
            commits = tuple(_commit(peer, signed, index, number, digest) for index in some)
            book.commits(peer.key, Commits.sign(peer, signed.id, commits))
        for index in some:
            cast = [(peer.key, _token(index, at), raw) for at, peer in enumerate(peers)]
            book.verdict(signed.id, index, cast, (0, 1), (), 1)
    book.refund(signed.id, peers[0].key)
    return [row.entry for row in book.take() if isinstance(row, EntryRow)]


def proof(entries: int) -> tuple[int, float]:
    """Bytes of an inclusion proof, and seconds to check it."""
    tree = Tree()
    for number in range(entries):
        tree.append(leaf_hash(b"%d" % number))
    index = entries // 3
    path, root, leaf = tree.inclusion(index, entries), tree.root(), leaf_hash(b"%d" % index)
    began = time.perf_counter()
    for _ in range(100):
        check_inclusion(leaf, index, entries, path, root)
    return len(path) * HASH_SIZE, (time.perf_counter() - began) / 100


def _commit(peer: Identity, job: SignedManifest, index: int, number: int, digest: Digest) -> Commit:
    unit = UnitId(job.id, index)
    return Commit(
        index, _token(index, number), commitment(unit, digest), seal(peer.key, unit, digest)
    )


def _token(index: int, number: int) -> LeaseToken:
    return LeaseToken(2 * index + number)


def _manifest(units: int, submitter: Identity) -> Manifest:
    return Manifest(
        submitter=submitter.key,
        name="bench",
        program=Program(IMAGE, ("unit", "{index}")),
        parameters=Sweep((Range("index", 0, 1, units),)),
        inputs=(),
        outputs=(OUTPUT,),
        limits=Limits(60, 60, 32 << 20, 4096),
        price=1,
        policy=Policy.PAIR,
        comparator=Comparator(),
        nonce=bytes(16),
    )
