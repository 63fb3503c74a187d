"""The worked example of ``docs/protocol.md``, computed by the code that it describes."""

from dataclasses import replace
from hashlib import sha256

from tracker.ledger import Book
from tracker.rows import EntryRow
from validators.draw import draw, lot
from validators.reputation import kind_of
from workunits import entries
from workunits.archive import origin
from workunits.beacon import Beacon, chain
from workunits.canonical import encode as bencode
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.entries import Entry
from workunits.ids import LeaseToken, PeerKey, UnitId
from workunits.images import Layer, chain_id
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.metainfo import Hasher, Torrent
from workunits.parameters import Combine, NamedBlob, Range, Sweep, Values
from workunits.results import Ending, Result, commitment, seal
from workunits.ringers import SALT_SIZE, Ringers
from workunits.signing import Domain, Identity
from workunits.statements import Cancel, Grant, Pay, Statement
from workunits.verification import Comparator, Policy
from workunits.wire.compare import Compare, Compared, Opinion, Pair, Shown
from workunits.wire.handshake import Challenge, Hello, Offerings, Vouch
from workunits.wire.holds import Holds, name_of
from workunits.wire.work import Commit, Commits, Lease, Leases, encode

PEER = Identity.from_seed(bytes(range(32)))
TRACKER = Identity.from_seed(b"\x01" * 32)
OWNER = Identity.from_seed(b"\x02" * 32)
INDEX = 4
TOKEN = LeaseToken(7)
SECRET = sha256(TRACKER.sign(Domain.CHANCE, b"")).digest()
OFFERINGS = Offerings(False, 2, 1 << 30, ("sha256:" + "ab" * 32,), "example/1", "", 1 << 30)
ANSWER = b'{"square": 25}\n'
OTHER = b'{"square": 26}\n'


def torrent(content: bytes) -> Torrent:
    """The metainfo of a blob."""
    hasher = Hasher(len(content))
    hasher.update(content)
    return hasher.finish()


RESULT = Result(Ending.EXITED, 0, (NamedBlob("out.json", torrent(ANSWER).info.ref),))
OTHER_RESULT = Result(Ending.EXITED, 0, (NamedBlob("out.json", torrent(OTHER).info.ref),))
LONG = torrent(bytes(at % 251 for at in range(40_000)))
SHORT = torrent(ANSWER)
LAYERS = tuple(
    Layer(sha256(content).digest(), torrent(content).info.ref)
    for content in (bytes(1024), bytes(at % 251 for at in range(40_000)))
)
"""Of an image that is shared. The second is no tar file, which the manifest cannot tell."""

HOLDS = Holds(1_000_000, frozenset(map(name_of, (SHORT.info.ref, LONG.info.ref))))


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
        policy=Policy.ECONOMY,
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


def _image() -> dict[str, object]:
    name = chain_id([layer.diff for layer in LAYERS])
    program = replace(manifest().program, image=name, layers=LAYERS)
    return {
        "image of the layers (1,024 zeros, long content)": name,
        "program that shares it": bencode(program.value()),
    }


def _result() -> dict[str, object]:
    commits, known = _commits(PEER, TOKEN), _known()
    (one,) = commits
    return {
        "result": RESULT.encode(),
        "digest": RESULT.digest,
        "commitment": one.commitment,
        "seal": one.seal,
        "commits (packed, token 7)": commits.packed,
        "commits signature (domain commits)": commits.signature,
        "commit frame": encode(commits),
        "leases frame (90 s)": encode(Leases(commits.job, 90, (Lease(INDEX, TOKEN),))),
        "ringers (unit 4, salt of zeros)": known.encode(),
        "ringers hash": known.hash,
    }


def _comparison() -> dict[str, object]:
    job = SignedManifest.sign(manifest(), PEER).id
    pair = Pair(LeaseToken(9), INDEX, Shown(RESULT, (ANSWER,)), Shown(OTHER_RESULT, (OTHER,)))
    compared = Compared.sign(PEER, job, (pair.judged(Opinion.DIFFERENT),))
    return {
        "other content": OTHER,
        "other digest": OTHER_RESULT.digest,
        "compare frame (token 9, 60 s)": encode(Compare(job, 60, (pair,))),
        "judgements (packed, different)": compared.packed,
        "judgements signature (domain judgements)": compared.signature,
        "compared frame": encode(compared),
    }


def _session() -> dict[str, object]:
    challenge = Challenge(b"\xaa" * 32, TRACKER.key)
    hello = Hello.sign(PEER, challenge, OFFERINGS)
    vouched = Hello.sign(PEER, challenge, OFFERINGS, Vouch.sign(OWNER, PEER.key))
    return {
        "challenge frame": encode(challenge),
        "hello, signed bytes (domain session)": hello._message(challenge),
        "hello signature": hello.signature,
        "hello frame": encode(hello),
        "hello frame with a vouch": encode(vouched),
        "holds frame (short and long added, 1,000,000 bytes)": encode(HOLDS),
    }


def _granted() -> Statement:
    return Statement.sign(TRACKER, Grant(PEER.key, 1000), time=1_700_000_000, nonce=bytes(16))


def _statement() -> dict[str, object]:
    statement = _granted()
    return {
        "statement": statement.raw,
        "statement signature (domain statement)": statement.signature,
        "statement id": statement.id,
        "statement envelope": statement.encode(),
    }


def _chance() -> dict[str, object]:
    links = chain(SECRET, 0)
    return {
        "chance signature (domain chance)": TRACKER.sign(Domain.CHANCE, b""),
        "chain secret": SECRET,
        "chain 0 seed": links[0],
        "chain 0 anchor": links[-1],
        "chain 0 link 1": links[-2],
        "chain 0 link 2": links[-3],
        "chain 0 link 3": links[-4],
        "chain 1 anchor": chain(SECRET, 1)[-1],
    }


def _draw() -> dict[str, object]:
    signed = SignedManifest.sign(manifest(), PEER)
    unit = UnitId(signed.id, INDEX)
    three = sorted((PEER.key, TRACKER.key, OWNER.key))
    many = [PeerKey(bytes([at]) * 32) for at in range(256)]
    links = chain(SECRET, 0)[-2::-1]

    def drawn(number: int, roster: list[PeerKey], fit: list[PeerKey]) -> bytes:
        return draw(links[number - 1], unit, roster, fit.__contains__) or b""

    return {
        "kind of work": kind_of(signed.manifest),
        "lot (link 1)": lot(links[0], unit),
        "lot (link 3)": lot(links[2], unit),
        "draw (link 2)": drawn(2, three, three),
        "draw (link 3)": drawn(3, three, three),
        "draw (link 2), tracker unfit": drawn(2, three, [PEER.key, OWNER.key]),
        "draw (link 2), only owner fit": drawn(2, three, [OWNER.key]),
        "draw (link 2), two of 256 fit": drawn(2, many, [many[64], many[192]]),
    }


def log() -> list[bytes]:
    """A whole ledger: the example job, in which one unit is computed and checked."""
    return [row.entry for row in _book().rows if isinstance(row, EntryRow)]


def note() -> str:
    """The tracker's checkpoint of ``log``."""
    book, name = _book(), origin(TRACKER.key)
    signed = SignedCheckpoint(Checkpoint(name, book.entries, book.head)).sign(TRACKER, name)
    return signed.encode().decode()


def _ledger() -> dict[str, object]:
    found: dict[str, object] = {}
    for number, raw in enumerate(log()):
        found[f"ledger entry {number} ({entries.parse(raw).t})"] = raw
    for what, entry in _others().items():
        found[f"entry ({what})"] = entries.encode(entry)
    return found | {"ledger root": _book().head, "checkpoint note": note().encode()}


def _book() -> Book:
    book, signed = Book(TRACKER.key, Beacon(SECRET)), SignedManifest.sign(manifest(), PEER)
    job = signed.id
    book.mint(PEER.key, 1000, _granted())
    pay = Statement.sign(PEER, Pay(OWNER.key, 5), time=1_700_000_000, nonce=bytes(16))
    book.transfer(OWNER.key, 5, pay)
    book.restarted = True
    for each in (PEER, OWNER):
        book.join(each.key, each.key, None, OFFERINGS)
    book.escrow(signed)
    book.commits(PEER.key, _commits(PEER, TOKEN))
    book.draw_link(job)
    book.drawn(entries.Draw(INDEX, 0, OWNER.key))
    book.commits(OWNER.key, _commits(OWNER, LeaseToken(8)))
    raw = RESULT.encode()
    cast = [(PEER.key, TOKEN, raw), (OWNER.key, LeaseToken(8), raw)]
    book.verdict(job, INDEX, cast, (0, 1), (), {})
    book.leave(OWNER.key)
    book.final(job, [INDEX], {PEER.key: 1, OWNER.key: 1})
    cancel = Statement.sign(PEER, Cancel(job), time=1_700_000_000, nonce=bytes(16))
    book.refund(job, PEER.key, cancel)
    return book


def _others() -> dict[str, Entry]:
    job, known = SignedManifest.sign(manifest(), PEER).id, _known()
    vouch = Vouch.sign(OWNER, PEER.key)
    cast = (
        entries.Cast(PEER.key, TOKEN, 0),
        entries.Cast(OWNER.key, LeaseToken(8), 1),
    )
    results, silent = (RESULT.encode(), OTHER_RESULT.encode()), (LeaseToken(9),)
    return {
        "join with a vouch": entries.Join((), PEER.key, OWNER.key, vouch.signature, OFFERINGS),
        "verdict that says all": entries.Verdict(
            (), job, INDEX, cast, results, (0,), (1,), silent, known=True
        ),
        "failed": entries.Failed((), job, 5, "no two agree"),
        "known": entries.Known((), job, known.encode()),
        "doubt": entries.Doubt((), PEER.key, doubted=True),
        "ban": entries.Ban((), PEER.key),
    }


def _known() -> Ringers:
    return Ringers(bytes(SALT_SIZE), ((INDEX, RESULT.digest),))


def _commits(identity: Identity, token: LeaseToken) -> Commits:
    unit, digest = UnitId(SignedManifest.sign(manifest(), PEER).id, INDEX), RESULT.digest
    one = Commit(INDEX, token, commitment(unit, digest), seal(identity.key, unit, digest))
    return Commits.sign(identity, unit.job, (one,))


_DOMAINS = {f"domain {domain.name.lower()}": domain.value for domain in Domain}
_GROUPS = (
    lambda: dict(_DOMAINS),
    _identities,
    _blobs,
    _job,
    _image,
    _result,
    _comparison,
    _session,
    _statement,
    _chance,
    _draw,
    _ledger,
)


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
