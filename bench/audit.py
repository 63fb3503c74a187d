"""How fast anyone can replay a ledger, and how small a proof of one entry is."""

import time
from dataclasses import dataclass

from bench.row import Row, Setting
from bench.tracker import IMAGE, OUTPUT
from tracker.ledger import Book
from tracker.rows import EntryRow
from tracker.work.desk import Desk
from validators.audit import Audit
from workunits.ids import BlobRef, Digest, LeaseToken, PeerKey, UnitId
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.merkle import HASH_SIZE, Tree, check_inclusion, leaf_hash
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.results import INLINE_LIMIT, Ending, Result, commitment, seal
from workunits.signing import Identity
from workunits.statements import Grant, Statement
from workunits.verification import Comparator, Policy
from workunits.wire.handshake import Offerings
from workunits.wire.work import Commit, Commits, Leases, Reveal, RevealRequest

WHAT = "a million ledger entries verified by anyone, one core"
BUDGET = "120 s"
BUDGET_SECONDS = 120.0
ENTRIES = 10**6
UNITS = 12_000
QUICK = 200
PEERS = 50
_BLOB = NamedBlob(OUTPUT, BlobRef(bytes(32), bytes(20), INLINE_LIMIT + 1))
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
        f"policy economy, {units:,} units, {PEERS} peers, batches of {BATCH} signed commits; "
        "every signature, move, commitment, lot, draw, verdict and root",
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
    """The entries of a job of ``units`` units, as the tracker's own desk writes them."""
    desk = Desk(Book(operator.key))
    submitter = Identity.from_seed(b"s" * 32)
    signed = SignedManifest.sign(_manifest(units, submitter), submitter)
    grant = Grant(submitter.key, signed.manifest.escrow)
    statement = Statement.sign(operator, grant, time=0, nonce=bytes(16))
    desk.book.mint(grant.account, grant.amount, statement)
    desk.submit(signed, 0.0, wall=0.0)
    raw = Result(Ending.EXITED, 0, (_BLOB,)).encode()
    digest = Result.digest_of(raw)
    peers = {each.key: each for each in (Identity.from_seed(bytes([n]) * 32) for n in range(PEERS))}
    for key in peers:
        desk.connect(key, Offerings(False, 1, 1 << 34, (IMAGE,), "bench"), 0.0)
    found: list[bytes] = []
    while desk.jobs:
        for key in peers:
            desk.want(key, BATCH, 0.0)
        effects = desk.take()
        found += [row.entry for row in effects.rows if isinstance(row, EntryRow)]
        for key, message in effects.sends:
            if isinstance(message, Leases):
                commits = tuple(
                    _commit(key, UnitId(signed.id, each.index), each.token, digest)
                    for each in message.leases
                )
                desk.commit(key, Commits.sign(peers[key], signed.id, commits), 0.0)
            elif isinstance(message, RevealRequest):
                desk.reveal(key, [Reveal(token, raw) for token in message.tokens], 0.0)
    effects = desk.take()
    return found + [row.entry for row in effects.rows if isinstance(row, EntryRow)]


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


def _commit(peer: PeerKey, unit: UnitId, token: LeaseToken, digest: Digest) -> Commit:
    return Commit(unit.index, token, commitment(unit, digest), seal(peer, unit, digest))


def _manifest(units: int, submitter: Identity) -> Manifest:
    return Manifest(
        submitter=submitter.key,
        name="bench",
        program=Program(IMAGE, ("unit", "{index}")),
        parameters=Sweep((Range("index", 0, 1, units),)),
        inputs=(),
        outputs=(OUTPUT,),
        limits=Limits(60, 60, 32 << 20, 1 << 20),
        price=1,
        policy=Policy.ECONOMY,
        comparator=Comparator(),
        nonce=bytes(16),
    )
