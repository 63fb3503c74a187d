"""The worked example of ``docs/protocol.md``, computed by the code that it describes."""

import hashlib

from tracker.ledger import Book
from tracker.rows import EntryRow
from validators.draw import draw
from workunits import canonical
from workunits.archive import origin
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.ids import JobId, LeaseToken, PeerKey, UnitId
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.metainfo import Hasher, Torrent
from workunits.parameters import Combine, NamedBlob, Range, Sweep, Values
from workunits.results import Ending, Result, commitment, seal
from workunits.ringers import SALT_SIZE, Ringers
from workunits.signing import Domain, Identity
from workunits.statements import Grant, Statement
from workunits.verification import Comparator, Policy
from workunits.wire.compare import Compare, Compared, Opinion, Pair, Shown
from workunits.wire.handshake import Challenge, Hello, Offerings, Vouch
from workunits.wire.work import Commit, Commits, Lease, Leases, encode

PEER = Identity.from_seed(bytes(range(32)))
TRACKER = Identity.from_seed(b"\x01" * 32)
OWNER = Identity.from_seed(b"\x02" * 32)
INDEX = 4
TOKEN = LeaseToken(7)
TOKENS = (TOKEN, LeaseToken(8))
ANSWER = b'{"square": 25}\n'
OTHER = b'{"square": 26}\n'


def torrent(content: bytes) -> Torrent:
    """The metainfo of a blob."""
    hasher = Hasher(len(content))
    hasher.update(content)
    return hasher.finish()


RESULT = Result(Ending.EXITED, 0, (NamedBlob("out.json", torrent(ANSWER).info.ref),))
LONG = torrent(bytes(at % 251 for at in range(40_000)))
SHORT = torrent(ANSWER)


def manifest() -> Manifest:
    """A small job: six units, one of them is computed below."""
    return Manifest(
        submitter=PEER.key,
        name="example",
        program=Program("sha256:" + "ab" * 32, ("square", "{n}", "--as", "{how}"), (), "out.json"),
        parameters=Sweep(
            (Range("n", 3, 1, 3), Values("how", ("int", "text"))),
            Combine.PRODUCT,
        ),
        inputs=(NamedBlob("data.bin", LONG.info.ref),),
        outputs=("out.json",),
        limits=Limits(60, 180, 64 << 20, 1024),
        price=1,
        policy=Policy.PAIR,
        comparator=Comparator(),
        nonce=bytes(16),
    )


def vectors() -> dict[str, str]:
    """Name and value of every vector. Bytes are hex."""
    return {name: _shown(value) for group in _GROUPS for name, value in group().items()}


def _identities() -> dict[str, object]:
    vouch = Vouch.sign(OWNER, PEER.key)
    return {
        "peer seed": PEER.seed(),
        "peer key": PEER.key,
        "tracker seed": TRACKER.seed(),
        "tracker key": TRACKER.key,
        "owner seed": OWNER.seed(),
        "owner key": OWNER.key,
        "owner signs peer (domain owner)": vouch.signature,
    }


def _blobs() -> dict[str, object]:
    empty = torrent(b"")
    return {
        "empty info": empty.info.raw,
        "empty v1": empty.info.ref.v1,
        "empty v2": empty.info.ref.v2,
        "short content": ANSWER,
        "short pieces root": SHORT.info.root,
        "short info": SHORT.info.raw,
        "short v1": SHORT.info.ref.v1,
        "short v2": SHORT.info.ref.v2,
        "long piece length": LONG.info.piece_length,
        "long piece layer": LONG.layer,
        "long pieces root": LONG.info.root,
        "long info": LONG.info.raw,
        "long v1": LONG.info.ref.v1,
        "long v2": LONG.info.ref.v2,
    }


def _job() -> dict[str, object]:
    signed = SignedManifest.sign(manifest(), PEER)
    unit = signed.manifest.unit(signed.id, INDEX)
    return {
        "manifest": signed.raw,
        "manifest signature (domain manifest)": signed.signature,
        "job id": signed.id,
        "units": signed.manifest.units,
        "escrow": signed.manifest.escrow,
        "unit 4 parameters": " ".join(f"{key}={value}" for key, value in unit.parameters.items()),
        "unit 4 command": " ".join(unit.command),
    }


def _result() -> dict[str, object]:
    job = JobId(SignedManifest.sign(manifest(), PEER).id)
    unit = UnitId(job, INDEX)
    result = RESULT
    one = Commit(INDEX, TOKEN, commitment(unit, result.digest), seal(PEER.key, unit, result.digest))
    commits = Commits.sign(PEER, job, (one,))
    known = Ringers(bytes(SALT_SIZE), ((INDEX, result.digest),))
    return {
        "result": result.encode(),
        "digest": result.digest,
        "commitment": one.commitment,
        "seal": one.seal,
        "commits (packed, token 7)": commits.packed,
        "commits signature (domain commits)": commits.signature,
        "commit frame": encode(commits),
        "leases frame (90 s)": encode(Leases(job, 90, (Lease(INDEX, TOKEN),))),
        "ringers (unit 4, salt of zeros)": known.encode(),
        "ringers hash": known.hash,
    }


def _comparison() -> dict[str, object]:
    job = JobId(SignedManifest.sign(manifest(), PEER).id)
    other = Result(Ending.EXITED, 0, (NamedBlob("out.json", torrent(OTHER).info.ref),))
    pair = Pair(LeaseToken(9), INDEX, Shown(RESULT, (ANSWER,)), Shown(other, (OTHER,)))
    compared = Compared.sign(PEER, job, (pair.judged(Opinion.DIFFERENT),))
    return {
        "other content": OTHER,
        "other digest": other.digest,
        "compare frame (token 9, 60 s)": encode(Compare(job, 60, (pair,))),
        "judgements (packed, different)": compared.packed,
        "judgements signature (domain judgements)": compared.signature,
        "compared frame": encode(compared),
    }


def _session() -> dict[str, object]:
    challenge = Challenge(b"\xaa" * 32, TRACKER.key)
    offerings = Offerings(False, 2, 1 << 30, ("sha256:" + "ab" * 32,), "example/1")
    hello = Hello.sign(PEER, challenge, offerings)
    vouched = Hello.sign(PEER, challenge, offerings, Vouch.sign(OWNER, PEER.key))
    return {
        "challenge frame": encode(challenge),
        "hello, signed bytes (domain session)": hello._message(challenge),
        "hello signature": hello.signature,
        "hello frame": encode(hello),
        "hello frame with a vouch": encode(vouched),
    }


def _statement() -> dict[str, object]:
    statement = Statement.sign(TRACKER, Grant(PEER.key, 1000), time=1_700_000_000, nonce=bytes(16))
    return {
        "statement": statement.raw,
        "statement signature (domain statement)": statement.signature,
        "statement id": statement.id,
        "statement envelope": statement.encode(),
    }


def _draw() -> dict[str, object]:
    job = SignedManifest.sign(manifest(), PEER).id
    roster = sorted((PEER.key, TRACKER.key, OWNER.key))
    checkpoint = hashlib.sha256(b"checkpoint").digest()

    def drawn(attempt: int, *unfit: PeerKey) -> bytes:
        found = draw(checkpoint, UnitId(job, INDEX), attempt, roster, lambda key: key not in unfit)
        return found or b""

    return {
        "draw checkpoint": checkpoint,
        "draw attempt 1": drawn(1),
        "draw attempt 2": drawn(2),
        "draw attempt 1, peer unfit": drawn(1, PEER.key),
        "draw attempt 1, only owner fit": drawn(1, PEER.key, TRACKER.key),
    }


def _ledger() -> dict[str, object]:
    book = Book()
    statement = Statement.sign(TRACKER, Grant(PEER.key, 1000), time=1_700_000_000, nonce=bytes(16))
    signed = SignedManifest.sign(manifest(), PEER)
    book.mint(PEER.key, 1000, statement)
    book.escrow(signed)
    for token, each in zip(TOKENS, (PEER, OWNER), strict=True):
        book.commits(each.key, _commits(each, token))
    raw = RESULT.encode()
    cast = [(PEER.key, TOKENS[0], raw), (OWNER.key, TOKENS[1], raw)]
    book.verdict(signed.id, INDEX, cast, (0, 1), (), 1)
    book.refund(signed.id, PEER.key)
    entries = [row for row in book.take() if isinstance(row, EntryRow)]
    found: dict[str, object] = {}
    for row in entries:
        fields = canonical.decode_fields(row.entry, limit=1 << 16, what="entry")
        kind = fields.text("t", limit=20)
        found[f"ledger entry {row.number} ({kind})"] = row.entry
    name = origin(TRACKER.key)
    note = SignedCheckpoint(Checkpoint(name, book.entries, book.head)).sign(TRACKER, name)
    return found | {"ledger root": book.head, "checkpoint note": note.encode()}


def _commits(identity: Identity, token: LeaseToken) -> Commits:
    job = JobId(SignedManifest.sign(manifest(), PEER).id)
    unit, digest = UnitId(job, INDEX), RESULT.digest
    one = Commit(INDEX, token, commitment(unit, digest), seal(identity.key, unit, digest))
    return Commits.sign(identity, job, (one,))


_DOMAINS = {f"domain {domain.name.lower()}": domain.value for domain in Domain}
_GROUPS = (
    lambda: dict(_DOMAINS),
    _identities,
    _blobs,
    _job,
    _result,
    _comparison,
    _session,
    _statement,
    _draw,
    _ledger,
)


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
