"""The simulated world: the tracker's own desk, peers that are played, a clock that jumps.

Everything that decides is real: lease table, policy, draw, book. Peers, time and chance are not.
There are no sockets, and unless an auditor is to check them no signatures: the session layer
checks those before the desk sees them.
"""

from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count, islice
from math import inf

from simulator.actor import Actor, Claim
from simulator.answers import OUTPUT, Answers
from simulator.attackers import Deed
from simulator.book import Unlogged
from simulator.crew import Member, behaviour, crew, patience, referees
from simulator.scene import Scene, Tally
from tracker.ledger import Book
from tracker.network import SIZE as NETWORK_SIZE
from tracker.rows import EntryRow, ExecutionRow, UnitRow
from tracker.work.desk import Desk
from tracker.work.floor import Patience
from tracker.work.sanctions import BannedError
from tracker.work.state import Job, JobState
from tracker.work.table import Doing, Stage
from workunits.beacon import Beacon
from workunits.errors import LocalError
from workunits.ids import LeaseToken, PeerKey
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.parameters import Range, Sweep
from workunits.signing import Identity
from workunits.statements import Cancel, Grant, Statement
from workunits.verification import Comparator, Policy
from workunits.wire.handshake import Offerings, Vouch
from workunits.wire.work import (
    Commit,
    Commits,
    Failure,
    FromTracker,
    Leases,
    Reveal,
    RevealRequest,
    Revoked,
)

PRICE = 1
WALL_SECONDS = 60
LATENCY = 0.1
"""Seconds from a request to reveal to the reveal."""

TICK = 5.0
"""Seconds between two looks of the desk at its deadlines."""

TELL = 500
"""Verdicts between two reports of progress."""

_IMAGE = "sha256:" + "a" * 64
_MEMORY = 1 << 30
OPERATOR = Identity.from_seed(sha256(b"operator").digest())
_SUBMITTER = Identity.from_seed(sha256(b"submitter").digest())
_OPEN, _RIGHT, _WRONG, _FAILED, _SETTLED = range(5)
_LOST = frozenset({Doing.EXPIRED.value, Doing.WITHHELD.value})
_ENDS = (Doing.RIGHT, Doing.SPARE, Doing.WRONG, Doing.REVOKED, Doing.STRUCK)
_WATCHED = _LOST | {each.value for each in _ENDS}

Tell = Callable[[int], None]


def _say(author: Identity, claim: Cancel | Grant) -> Statement:
    return Statement.sign(author, claim, time=0, nonce=bytes(16))


class UnbalancedError(LocalError):
    """The books do not balance: a bug of the tracker's."""

    code = "unbalanced"


class World:
    """One run. ``tell`` hears how many units have a verdict, now and then."""

    def __init__(self, scene: Scene, tell: Tell = lambda _: None) -> None:
        self.scene = scene
        self.now = 0.0
        secret = sha256(b"chance %d" % scene.seed).digest()
        book = Book if scene.logged else Unlogged
        waits = Patience(quarantine=scene.rejoin)
        self.desk = Desk(book(OPERATOR.key, Beacon(secret)), waits)
        self.actors: dict[PeerKey, Actor] = {}
        self.claims: dict[LeaseToken, Claim] = {}
        self.log: list[bytes] = []
        self.job = self._submit()
        self._tell = tell
        self._answers = Answers(self.job.id)
        self._units = bytearray(scene.units)
        self._settled = 0
        self._moved = 0.0
        self._events: list[tuple[float, int, Callable[[Actor, LeaseToken], None], Actor, int]] = []
        self._numbers = count()
        self._leaks: dict[int, Claim] = {}
        self._asked: set[LeaseToken] = set()
        self._latest: Claim | None = None
        self._leaky = scene.attack == "copycat"
        self._deserved: dict[PeerKey, int] = {}
        self._executions = self._lost = self._copies = self._copies_accepted = 0

    def run(self) -> Tally:
        """Let everybody work until the job is over, or nothing moves any more."""
        for member in (*crew(self.scene), *referees(self.scene)):
            self._join(member, 0)
        next_tick = TICK
        events, desk, stall = self._events, self.desk, patience(self.scene)
        while self.job.state is JobState.ACTIVE and self.now - self._moved < stall:
            when = events[0][0] if events else inf
            if next_tick <= when:
                self.now = next_tick
                next_tick += TICK
                desk.tick(self.now)
            else:
                self.now, _, happen, actor, token = heappop(events)
                happen(actor, LeaseToken(token))
            self._hear()
        if self.job.state is JobState.ACTIVE:
            desk.cancel(self.job, _say(_SUBMITTER, Cancel(self.job.id)), self.now)
        self._hear()
        return self._tally()

    def _submit(self) -> Job:
        submitter = _SUBMITTER
        manifest = Manifest(
            submitter=submitter.key,
            name="simulated",
            program=Program(_IMAGE, ("run", "{n}")),
            parameters=Sweep((Range("n", 0, 1, self.scene.units),)),
            inputs=(),
            outputs=(OUTPUT,),
            limits=Limits(WALL_SECONDS, WALL_SECONDS, _MEMORY, 1 << 20),
            price=PRICE,
            policy=Policy(self.scene.policy),
            comparator=Comparator(),
            nonce=self.scene.seed.to_bytes(16, "big"),
        )
        grant = Grant(submitter.key, manifest.escrow)
        self.desk.book.mint(grant.account, grant.amount, _say(OPERATOR, grant))
        return self.desk.submit(SignedManifest.sign(manifest, submitter), self.now, wall=0.0)

    # what peers do

    def _join(self, member: Member, life: int) -> None:
        name = f"peer {self.scene.seed} {member.number} {life}"
        seed = sha256(name.encode()).digest()
        identity = Identity.from_seed(seed) if self.scene.signed else None
        key = identity.key if identity else PeerKey(seed)
        actor = Actor(member, life, key, behaviour(self.scene, member, life), identity)
        self.actors[key] = actor
        validator = member.validator or actor.behaviour.validator
        offerings = Offerings(validator, 1, _MEMORY, (_IMAGE,), "simulated")
        vouch = Vouch.sign(OPERATOR, key) if member.referee else None
        network = sha256(b"network %d" % member.number).digest()[:NETWORK_SIZE]
        peer = self.desk.connect(key, offerings, self.now, vouch=vouch, network=network)
        actor.session = peer.session
        self.desk.catch_up(peer, self.now)
        self.desk.want(key, self.scene.hold, self.now)
        self._hear()

    def _later(
        self,
        seconds: float,
        happen: Callable[[Actor, LeaseToken], None],
        actor: Actor,
        token: int = 0,
    ) -> None:
        heappush(self._events, (self.now + seconds, next(self._numbers), happen, actor, token))

    def _begin(self, actor: Actor) -> None:
        while actor.busy is None and actor.queue:
            token, index = actor.queue.popleft()
            deed = actor.behaviour.meet(index)
            if not deed.commits:
                continue
            actor.busy = token
            self.claims[token] = self._claim(actor, token, index, deed)
            self._later(actor.member.seconds * deed.effort, self._finish, actor, token)

    def _claim(self, actor: Actor, token: LeaseToken, index: int, deed: Deed) -> Claim:
        answer, made = deed.answer, self._answers
        commitment = made.commitment(index, answer)
        return Claim(
            actor,
            index,
            deed,
            answer,
            Commit(index, token, commitment, made.seal(actor.key, index, answer)),
        )

    def _finish(self, actor: Actor, token: LeaseToken) -> None:
        if actor.busy != token:
            return
        actor.busy = None
        claim = self.claims[token]
        if claim.deed.copies:
            claim = self._copy(claim)
        elif self._leaky:
            self._leaks.setdefault(claim.index, claim)
            self._latest = claim
        self._executions += 1
        commit, desk = claim.commit, self.desk
        desk.commit(actor.key, self._batch(actor, commit), self.now)
        if claim.deed.recants:
            self._hear()
            if token not in self._asked:
                desk.release(actor.key, [token], self.now)
        if claim.deed.repeats:
            stolen = [
                self._claim(actor, at, each.index, each.deed).commit
                for at, each in self._of_others(actor)
            ]
            desk.commit(actor.key, self._batch(actor, commit, commit, *stolen), self.now)
        self._begin(actor)

    def _batch(self, actor: Actor, *commits: Commit) -> Commits:
        if actor.identity:
            return Commits.sign(actor.identity, self.job.id, commits)
        return Commits.unsigned(self.job.id, commits)

    def _of_others(self, actor: Actor) -> list[tuple[LeaseToken, Claim]]:
        """A live claim of somebody else, if there is one."""
        others = ((at, each) for at, each in self.claims.items() if each.actor is not actor)
        return list(islice(others, 1))

    def _copy(self, claim: Claim) -> Claim:
        """Replace a claim by the unit's earliest one, or else by the latest of any unit."""
        seen = self._leaks.get(claim.index, self._latest)
        if seen is None:
            return claim
        self._copies += 1
        old = seen.commit
        commit = Commit(claim.index, claim.commit.token, old.commitment, old.seal)
        copy = Claim(claim.actor, claim.index, claim.deed, seen.answer, commit, copied=True)
        self.claims[commit.token] = copy
        return copy

    def _show(self, actor: Actor, token: LeaseToken) -> None:
        claim = self.claims.get(token)
        if claim is None or not claim.deed.reveals:
            return
        reveal = Reveal(token, self._answers.raw(claim.index, claim.answer))
        desk = self.desk
        desk.reveal(actor.key, [reveal], self.now)
        if claim.deed.repeats:
            desk.reveal(actor.key, [reveal, reveal], self.now)
            for at, each in self._of_others(actor):
                raw = self._answers.raw(each.index, each.answer)
                desk.reveal(actor.key, [Reveal(at, raw)], self.now)
                desk.release(actor.key, [token, at], self.now)

    def _come_back(self, actor: Actor, _: LeaseToken) -> None:
        self._join(actor.member, actor.life + 1)

    # what they and we are told

    def _hear(self) -> None:
        effects = self.desk.take()
        for row in effects.rows:
            if isinstance(row, ExecutionRow):
                if row.doing in _WATCHED:
                    self._execution(LeaseToken(row.token), row.doing)
            elif isinstance(row, UnitRow):
                self._unit(row)
            elif isinstance(row, EntryRow) and self.scene.signed:
                self.log.append(row.entry)
        for key, message in effects.sends:
            self._message(self.actors[key], message)

    def _message(self, actor: Actor, message: FromTracker) -> None:
        match message:
            case Leases():
                actor.queue.extend((each.token, each.index) for each in message.leases)
                self._begin(actor)
            case RevealRequest():
                self._asked.update(message.tokens)
                for token in message.tokens:
                    self._later(LATENCY, self._show, actor, token)
            case Revoked():
                gone = set(message.tokens)
                actor.queue = type(actor.queue)(each for each in actor.queue if each[0] not in gone)
                if actor.busy in gone:
                    actor.busy = None
                self._begin(actor)
            case Failure(code=BannedError.code):
                actor.queue.clear()
                actor.busy = None
                if actor.behaviour.returns:
                    self._later(self.scene.rejoin, self._come_back, actor)
            case _:
                pass

    def _execution(self, token: LeaseToken, doing: str) -> None:
        self._lost += doing in _LOST
        if (claim := self.claims.pop(token, None)) is None:
            return
        if doing in (Doing.RIGHT, Doing.SPARE) and claim.copied:
            self._copies_accepted += 1
        if doing == Doing.RIGHT and claim.deed.earns and not claim.copied:
            key = claim.actor.key
            self._deserved[key] = self._deserved.get(key, 0) + PRICE

    def _unit(self, row: UnitRow) -> None:
        before = self._units[row.idx]
        if row.stage == Stage.ACCEPTED:
            is_true = self._answers.is_true(row.idx, row.result)
            self._units[row.idx] = _RIGHT if is_true else _WRONG
        elif row.stage == Stage.FAILED:
            self._units[row.idx] = _FAILED
        elif row.stage == Stage.SETTLED:
            self._units[row.idx] = _SETTLED
        else:
            self._units[row.idx] = _OPEN
        if self._units[row.idx] != before:
            self._moved = self.now
            self._settled += (before == _OPEN) - (self._units[row.idx] == _OPEN)
            if self._settled % TELL == 0:
                self._tell(self._settled)

    def _tally(self) -> Tally:
        book = self.desk.book
        held = book.total() + book.minted
        if held != book.minted or book.escrowed(self.job.id):
            raise UnbalancedError(f"{held} credits are held, {book.minted} were minted")
        peers = self.desk.peers
        earned = {key: book.balance(key) for key in self.actors}
        banned = [self.actors[key] for key in self.actors if peers[key].banned]
        wrong, right = self._units.count(_WRONG), self._units.count(_RIGHT)
        return Tally(
            accepted=right + wrong,
            wrong=wrong,
            failed=self._units.count(_FAILED),
            unfinished=self._units.count(_OPEN),
            executions=self._executions,
            lost=self._lost,
            banned=len(banned),
            honest_banned=sum(each.member.honest for each in banned),
            identities=len(self.actors),
            paid=sum(earned.values()),
            unearned=sum(max(0, paid - self._deserved.get(key, 0)) for key, paid in earned.items()),
            copies=self._copies,
            copies_accepted=self._copies_accepted,
            minted=book.minted,
            held=held,
            makespan=round(self._moved, 1),
            head=book.head.hex(),
        )
