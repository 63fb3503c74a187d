"""A small world around the desk: actors with inboxes, a clock, and a store that can be reopened."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from tracker.ledger import Book
from tracker.rows import TABLES, EntryRow, ExecutionRow, Row, UnitRow
from tracker.store.reader import Reader, Snapshot
from tracker.store.writer import Writer
from tracker.work.desk import Desk
from tracker.work.floor import Patience
from tracker.work.restore import restore
from tracker.work.state import Job
from tracker.work.table import HIDDEN, Doing
from validators.audit import Audit
from workunits.ids import BlobRef, JobId, LeaseToken, PeerKey, UnitId
from workunits.manifest import NO_DEMANDS, Limits, Manifest, Program, SignedManifest
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.results import Ending, Result, commitment, seal
from workunits.ringers import Ringers
from workunits.signing import Identity
from workunits.statements import Cancel, Grant, Statement
from workunits.verification import Comparator, Comparison, Demands, Policy
from workunits.wire import work
from workunits.wire.compare import Compare, Compared, Opinion, Pair
from workunits.wire.handshake import Offerings, Vouch
from workunits.wire.holds import Holds, name_of
from workunits.wire.models import Ask, Halt, Tokens
from workunits.wire.work import (
    MAX_BATCH,
    Commit,
    Commits,
    Committed,
    Failure,
    FromTracker,
    JobOffer,
    Leases,
    Reveal,
    Revealed,
    RevealRequest,
    Revoked,
)

IMAGE = "sha256:" + "a" * 64
OPERATOR = Identity.from_seed(b"o" * 32)
SUBMITTER = Identity.from_seed(b"s" * 32)
SECRET = b"secret"
"""Every output starts with this, so that a frame which shows one is found."""

PROGRAM = Comparator(Comparison.PROGRAM, command=("same", "{a}", "{b}"))
WALL = 10
PATIENCE = Patience(away=30.0, reveal=60.0, draw=300.0, lease=60.0)


def manifest(
    units: int = 1,
    *,
    policy: Policy = Policy.PAIR,
    comparator: Comparator | None = None,
    price: int = 2,
    nonce: int = 0,
    demands: Demands = NO_DEMANDS,
) -> Manifest:
    """A job of ``units`` units."""
    return Manifest(
        submitter=SUBMITTER.key,
        name="job",
        program=Program(IMAGE, ("run", "{p}")),
        parameters=Sweep((Range("p", 0, 1, units),)),
        inputs=(),
        outputs=("out.txt",),
        limits=Limits(WALL, WALL, 32 << 20, 100_000),
        price=price,
        policy=policy,
        comparator=comparator or Comparator(),
        nonce=nonce.to_bytes(16, "big"),
        demands=demands,
    )


@cache
def blob(content: bytes, name: str = "out.txt") -> NamedBlob:
    """A named blob of ``content``, hashed for real."""
    return NamedBlob(name, hash_stream(BytesIO(content), len(content)).info.ref)


@cache
def outcome(index: int, answer: str = "right") -> Reveal:
    """The result that says ``answer`` about a unit; the token is filled in later.

    ``fail`` is a program that fails, a number is a numeric output.
    """
    if answer == "fail":
        return Reveal(LeaseToken(0), Result(Ending.EXITED, 1, ()).encode())
    content = f"{SECRET.decode()} {answer if answer[0].isdigit() else answer + str(index)}"
    out = content.encode()
    return Reveal(LeaseToken(0), Result(Ending.EXITED, 0, (blob(out),)).encode(), (out,))


@cache
def identity_of(name: str) -> Identity:
    """The key of whoever is called ``name``."""
    return Identity.from_seed(sha256(name.encode()).digest())


def same_number(pair: Pair) -> Opinion:
    """A comparator of a submitter's own: within 1, and failing where there is no number."""
    try:
        a, b = (float(shown.contents[0].split()[1]) for shown in (pair.a, pair.b))
    except ValueError:
        return Opinion.FAILED
    return Opinion.SAME if abs(a - b) <= 1 else Opinion.DIFFERENT


def granted(account: PeerKey, amount: int, nonce: int = 0) -> Statement:
    """The operator's word that ``account`` gets credits."""
    return Statement.sign(OPERATOR, Grant(account, amount), time=0, nonce=nonce.to_bytes(16))


@dataclass(eq=False)
class Actor:
    """A peer as the tests see it: what it was told, and what it answers."""

    world: "World"
    identity: Identity
    owner: PeerKey
    validator: bool = False
    session: int = 0
    connected: bool = False
    leases: dict[LeaseToken, UnitId] = field(default_factory=dict)
    results: dict[LeaseToken, Reveal] = field(default_factory=dict)
    acked: set[LeaseToken] = field(default_factory=set)
    asked: list[LeaseToken] = field(default_factory=list)
    revealed: set[LeaseToken] = field(default_factory=set)
    revoked: dict[LeaseToken, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    pairs: dict[LeaseToken, tuple[JobId, Pair]] = field(default_factory=dict)
    jobs: list[JobOffer] = field(default_factory=list)
    asks: dict[LeaseToken, Ask] = field(default_factory=dict)
    halts: dict[LeaseToken, int] = field(default_factory=dict)
    seconds: int = 0

    @property
    def key(self) -> PeerKey:
        """Its name."""
        return self.identity.key

    def connect(
        self,
        *,
        hold: int = 100,
        images: tuple[str, ...] = (IMAGE,),
        cores: int = 1,
        memory: int = 1 << 30,
        disk: int = 0,
        held: Iterable[BlobRef] = (),
        platform: str = "",
    ) -> "Actor":
        """Connect and be welcomed, then say what is held."""
        desk = self.world.desk
        offerings = Offerings(self.validator, cores, memory, images, "actor", platform, disk)
        vouch = None if self.owner == self.key else self.world.vouch(self)
        peer = desk.connect(self.key, offerings, self.world.now, vouch=vouch)
        self.session, self.connected = peer.session, True
        mine = [each for each in peer.live.values() if each.doing is Doing.LEASED]
        hidden = {each.token for each in peer.live.values() if each.doing in HIDDEN}
        self.leases = {each.token: each.unit.id for each in mine}
        self.acked &= hidden
        self.asked, self.pairs = [], {}
        desk.catch_up(peer, self.world.now)
        self.world.pump()
        if refs := tuple(held):
            self.say(disk, *refs)
        if hold:
            self.want(hold)
        return self

    def say(self, disk: int, *added: BlobRef, removed: Iterable[BlobRef] = ()) -> None:
        """Say what is held, and how much room is left."""
        holds = Holds(disk, frozenset(map(name_of, added)), frozenset(map(name_of, removed)))
        self.world.desk.holds(self.key, holds, self.world.now)
        self.world.pump()

    def disconnect(self) -> None:
        """Lose the connection."""
        self.connected = False
        self.world.desk.disconnect(self.key, self.session, self.world.now)
        self.world.pump()

    def want(self, hold: int) -> None:
        """Ask for leases."""
        self.world.desk.want(self.key, hold, self.world.now)
        self.world.pump()

    def commits(self, answer: str, tokens: Iterable[LeaseToken], sealer: PeerKey) -> list[Commit]:
        """Make commits that say ``answer``, sealed by ``sealer``."""
        made = []
        for token in tokens:
            unit = self.leases[token]
            result = outcome(unit.index, answer)
            self.results[token] = Reveal(token, result.result, result.contents)
            digest = Result.digest_of(result.result)
            made.append(
                Commit(unit.index, token, commitment(unit, digest), seal(sealer, unit, digest))
            )
        return made

    def commit(
        self,
        answer: str = "right",
        *,
        tokens: Iterable[LeaseToken] | None = None,
        sealer: PeerKey | None = None,
    ) -> list[LeaseToken]:
        """Commit to ``answer`` for ``tokens``, or for everything that is leased."""
        tokens = list(self.leases if tokens is None else tokens)
        by_job: dict[JobId, list[LeaseToken]] = {}
        for token in tokens:
            by_job.setdefault(self.leases[token].job, []).append(token)
        for job, some in by_job.items():
            for at in range(0, len(some), MAX_BATCH):
                batch = self.commits(answer, some[at : at + MAX_BATCH], sealer or self.key)
                signed = Commits.sign(self.identity, job, tuple(batch))
                self.world.desk.commit(self.key, signed, self.world.now)
                self.world.pump()
        self.world.pump()
        return tokens

    def reveal(self, change: Callable[[Reveal], Reveal] = lambda reveal: reveal) -> None:
        """Show everything that was asked for."""
        asked, self.asked = self.asked, []
        shown = [change(self.results[token]) for token in asked]
        self.world.desk.reveal(self.key, shown, self.world.now)
        self.world.pump()

    def opine(self, judge: Callable[[Pair], Opinion]) -> list[Opinion]:
        """Answer every comparison that was asked for, as ``judge`` says; returns the opinions."""
        pairs, self.pairs = self.pairs, {}
        said = []
        for job, pair in pairs.values():
            said.append(judge(pair))
            batch = Compared.sign(self.identity, job, [pair.judged(said[-1])])
            self.world.desk.compared(self.key, batch, self.world.now)
            self.world.pump()
        return said

    def speak(self, tokens: Tokens) -> None:
        """Say tokens of an answer."""
        self.world.desk.said(self.key, tokens, self.world.now)
        self.world.pump()

    def release(self, tokens: Iterable[LeaseToken] | None = None, reason: str = "") -> None:
        """Give leases back."""
        given = list(self.leases if tokens is None else tokens)
        for token in given:
            self.leases.pop(token, None)
            self.pairs.pop(token, None)
        self.world.desk.release(self.key, given, self.world.now, reason)
        self.world.pump()

    def hear(self, message: FromTracker) -> None:
        """Take a message of the tracker."""
        match message:
            case JobOffer():
                self.jobs.append(message)
            case Leases():
                self.seconds = message.seconds
                for lease in message.leases:
                    assert lease.token not in self.leases, "one lease was handed out twice"
                    self.leases[lease.token] = UnitId(message.job, lease.index)
            case Ask():
                assert message.token not in self.leases, "asked after the lease"
                self.asks[message.token] = message
            case Halt():
                self.halts[message.token] = message.after
            case Committed():
                self.acked |= set(message.tokens)
                for token in message.tokens:
                    self.leases.pop(token, None)
            case RevealRequest():
                assert set(message.tokens) <= self.acked, "asked for what was never acknowledged"
                self.asked += [token for token in message.tokens if token not in self.asked]
            case Revealed():
                self.revealed |= set(message.tokens)
                self.acked -= set(message.tokens)
            case Revoked():
                for token in message.tokens:
                    self.leases.pop(token, None)
                    self.revoked[token] = message.reason
                    self.pairs.pop(token, None)
                self.asked = [token for token in self.asked if token not in message.tokens]
            case Compare():
                self.seconds = message.seconds
                assert message.job in {job.open().id for job in self.jobs}
                for pair in message.pairs:
                    assert pair.token not in self.pairs, "one comparison was asked for twice"
                    job = self.world.submitted[message.job]
                    for row in self.world.executions(job, pair.index):
                        kin = not {self.key, self.owner}.isdisjoint((row.peer, row.owner))
                        assert not (kin and row.commitment), "asked about its own unit"
                    self.pairs[pair.token] = message.job, pair
            case Failure():
                self.failures.append(message)


class World:
    """A desk, its actors, its clock, and every row that it ever asked to keep."""

    def __init__(self, *, credit: int = 10**9) -> None:
        self.now = 1000.0
        self.desk = Desk(Book(OPERATOR.key), PATIENCE)
        self.actors: dict[PeerKey, Actor] = {}
        self.rows: list[Row] = []
        self.table: dict[tuple[object, ...], Row] = {}
        self.frames: list[bytes] = []
        self.submitted: dict[JobId, Job] = {}
        self.names: set[str] = set()
        if credit:
            self.desk.book.mint(SUBMITTER.key, credit, granted(SUBMITTER.key, credit))
        self.pump()

    def actor(
        self, name: str, *, owner: str = "", validator: bool = False, connect: bool = True
    ) -> Actor:
        """An actor with a key made from its name, connected."""
        identity, whose = identity_of(name), identity_of(owner or name)
        whose = {"operator": OPERATOR, "submitter": SUBMITTER}.get(owner, whose)
        self.names |= {owner or name, name}
        actor = self.actors[identity.key] = Actor(self, identity, whose.key, validator)
        return actor.connect() if connect else actor

    def vouch(self, actor: Actor) -> Vouch:
        """The word of an actor's owner."""
        owners = (OPERATOR, SUBMITTER, *map(identity_of, self.names))
        return Vouch.sign(next(each for each in owners if each.key == actor.owner), actor.key)

    def submit(self, job: Manifest, ringers: Ringers | None = None) -> Job:
        """Submit a job."""
        signed = SignedManifest.sign(job, SUBMITTER)
        made = self.desk.submit(signed, self.now, wall=self.now, ringers=ringers)
        self.submitted[made.id] = made
        self.pump()
        return made

    def cancel(self, job: Job) -> None:
        """Cancel a job."""
        statement = Statement.sign(SUBMITTER, Cancel(job.id), time=int(self.now), nonce=bytes(16))
        self.desk.cancel(job, statement, self.now)
        self.pump()

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.now += seconds
        self.desk.tick(self.now)
        self.pump()

    def pump(self) -> None:
        """Keep the rows, then deliver the messages."""
        effects = self.desk.take()
        for row in effects.rows:
            self.rows.append(row)
            self.table[type(row), *row[: TABLES[type(row)].keys]] = row
        for key, message in effects.sends:
            frame = work.encode(message)
            self.frames.append(frame)
            actor = self.actors[key]
            if actor.connected:
                actor.hear(work.parse_from_tracker(frame))
        for tell in effects.told:
            tell()

    def unit(self, job: Job, index: int = 0) -> UnitRow:
        """The kept row of a unit."""
        row = self.table[UnitRow, job.id, index]
        assert isinstance(row, UnitRow)
        return row

    def executions(self, job: Job, index: int = 0) -> list[ExecutionRow]:
        """The kept rows of a unit's executions, oldest first."""
        rows = [row for row in self.table.values() if isinstance(row, ExecutionRow)]
        return sorted(row for row in rows if (row.job, row.idx) == (job.id, index))

    def entries(self) -> list[EntryRow]:
        """Every ledger entry."""
        return [row for row in self.table.values() if isinstance(row, EntryRow)]

    def audit(self) -> Audit:
        """Replay the ledger as a stranger would; it must hold, and say what the book says."""
        audit = Audit(OPERATOR.key)
        for row in sorted(self.entries()):
            audit.take(row.entry)
        book = self.desk.book
        assert (audit.size, audit.root) == (book.entries, book.head)
        said = {name: amount for name, amount in audit.balances.items() if amount}
        assert said == {name: each.balance for name, each in book.accounts.items() if each.balance}
        return audit

    def balance(self, actor: Actor) -> int:
        """What an actor has."""
        return self.desk.book.balance(actor.key)

    def snapshot(self) -> Snapshot:
        """What a reader finds in a real database that holds every row."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tracker.sqlite"
            problems: list[Exception] = []
            writer = Writer(path, lambda _: None, problems.append)
            writer.start()
            writer.write(list(self.rows))
            writer.stop()
            assert not problems
            reader = Reader(path)
            try:
                return reader.snapshot()
            finally:
                reader.close()

    def restart(self) -> None:
        """Stop the tracker, and start one on what was kept. Everybody has to come back."""
        self.now += 5
        for actor in self.actors.values():
            actor.connected = False
        self.desk = restore(self.snapshot(), self.now, PATIENCE, operator=OPERATOR.key)
        self.submitted |= self.desk.jobs
        self.pump()


def pair(world: World) -> tuple[Actor, Actor]:
    """A volunteer and a validator."""
    return world.actor("worker"), world.actor("checker", validator=True)
