"""The desk: jobs come in, leases go out, commits and reveals come back, verdicts are written.

Pure: every method takes ``now`` (seconds on a clock that never goes back) and leaves its effects,
rows to keep and messages to send, for ``take``. Messages may be sent only when the rows that came
with them are on disk; then whatever a peer was told survives a crash.
"""

from collections.abc import Iterable

from tracker.ledger import Book
from tracker.rows import RingersRow
from tracker.work.asking import Asking
from tracker.work.court import Court
from tracker.work.dispute import Question
from tracker.work.docket import Docket
from tracker.work.floor import Floor, Patience
from tracker.work.hints import Hints, is_unchecked, saw_trap
from tracker.work.larder import Larder
from tracker.work.leasing import Leasing
from tracker.work.outbox import Effects
from tracker.work.query import Listener, Query
from tracker.work.routing import Routing
from tracker.work.sanctions import banned
from tracker.work.state import Execution, Job, Peer, Unit
from tracker.work.table import HIDDEN, Act, Doing, Stage
from validators.electorate import Member
from workunits.errors import RefusedError, RemoteError
from workunits.ids import JobId, LeaseToken, PeerKey
from workunits.ledger.roster import NETWORK
from workunits.manifest import SignedManifest
from workunits.models.request import Request
from workunits.ringers import Ringers
from workunits.statements import Statement
from workunits.wire.compare import Compared
from workunits.wire.handshake import Offerings, Vouch
from workunits.wire.holds import Holds
from workunits.wire.models import Tokens
from workunits.wire.work import Commits, Committed, Reveal, Revealed


class Desk:
    """All live work of one tracker."""

    def __init__(self, book: Book, patience: Patience | None = None, secret: bytes = b"") -> None:
        """``secret`` decides which hints to checkers of models' answers are altered."""
        self.book = book
        self.floor = floor = Floor(book, patience or Patience())
        self._leasing = Leasing(floor, Hints(secret))
        self._routing = Routing(floor, self._leasing)
        docket = Docket(floor, self._routing)
        self._court = Court(floor, self._leasing, self._routing, docket)
        self._asking = Asking(floor, self._routing, docket, self._court)

    @property
    def jobs(self) -> dict[JobId, Job]:
        """The jobs that are not over."""
        return self.floor.jobs

    @property
    def peers(self) -> dict[PeerKey, Peer]:
        """Every peer that was ever seen."""
        return self.floor.peers

    def take(self) -> Effects:
        """Everything that happened since the last call."""
        return self.floor.take()

    def public(self, now: float) -> int:
        """How many of the ledger's entries may be shown (``work.concealed``)."""
        first = self.floor.concealed.first(now)
        return self.book.entries if first is None else first

    def submit(
        self, signed: SignedManifest, now: float, wall: float, ringers: Ringers | None = None
    ) -> Job:
        """Escrow and publish a job; a live one is returned as it is.

        Raises ``RefusedError`` when the submitter cannot pay, or asks for verification settings
        that are out of bounds. ``wall`` is Unix seconds, for people.
        """
        if signed.id in self.jobs:
            return self.jobs[signed.id]
        job = Job(signed, wall, ringers=ringers)
        if job.asked and not job.settings.at_once:
            raise RefusedError(
                "a job that is asked needs verdicts that are final at once",
                hint="Choose the policy pair, or trusted.",
            )
        self.book.escrow(signed)
        self.floor.open_job(job)
        self.floor.touch(job)
        if ringers:
            self.floor.outbox.rows.append(RingersRow(job.id, ringers.encode()))
        self._leasing.feed(now)
        return job

    def cancel(self, job: Job, statement: Statement, now: float) -> None:
        """End a live job: its leases are revoked, the rest of its escrow goes back."""
        self._court.cancel(job, statement, now)
        self._feed(now)

    def connect(
        self,
        key: PeerKey,
        offerings: Offerings,
        now: float,
        *,
        vouch: Vouch | None = None,
        network: bytes = b"",
    ) -> Peer:
        """A peer has proved its key. Raises ``BannedError`` for a proven cheat.

        Its owner is who vouched for it, or else the ``network`` that it comes from (24 bytes of a
        hash), or else itself. Where there is a network, a vouch counts only from the operator or
        from a key that worked or paid for work: making a key costs nothing.
        """
        floor = self.floor
        if vouch and network and not self._is_known(vouch.owner):
            vouch = None
        owner = key
        if vouch:
            owner = vouch.owner
        elif network and key != self.book.operator and not self.book.has_spent(key):
            owner = PeerKey(NETWORK + network)
        wait = floor.quarantine.get(owner, now) - now
        if key not in floor.peers and wait > 0:
            raise RefusedError(
                f"a peer of this network or owner was banned {floor.patience.quarantine - wait:.0f}"
                " s ago, and new keys have to wait",
                hint=f"Try again in {wait:.0f} s, or have its owner vouch: swarm key vouch",
            )
        peer = floor.peers.setdefault(key, Peer(key, owner))
        if peer.banned:
            raise banned(peer)
        floor.hungry.pop(peer, None)
        peer.owner, peer.offerings, peer.connected = owner, offerings, True
        peer.larder = Larder(offerings, now)
        peer.session += 1
        peer.hold = 0
        peer.jobs.clear()
        self._routing.welcome(peer)
        floor.electorate.join(Member.of(key, owner, offerings))
        self.book.join(key, owner, vouch, offerings)
        floor.touch(peer)
        return peer

    def _is_known(self, owner: PeerKey) -> bool:
        book = self.book
        return owner == book.operator or book.has_earned(owner) or book.has_spent(owner)

    def catch_up(self, peer: Peer, now: float) -> None:
        """The peer was welcomed: ask again for what it owes, and draw for units that wait."""
        for execution in list(peer.live.values()):
            if execution.doing is Doing.ASKED:
                self._court.ask(execution, now)
        self._court.comparing.gone(peer, now)  # an earlier session of it forgot them
        self._court.comparing.catch_up(peer, now)
        for job in list(self.jobs.values()):
            for index in list(job.waiting) if peer.can_run(job.manifest) else ():
                if job.units[index].open_to(peer):
                    self._court.draw(job.units[index], now)

    def disconnect(self, key: PeerKey, session: int, now: float) -> None:
        """A session ended. A newer one of the same peer is left alone."""
        peer = self.peers[key]
        if peer.session == session and peer.connected:
            peer.connected, peer.larder = False, None
            self.floor.electorate.leave(key)
            self.floor.hungry.pop(peer, None)
            self._court.comparing.gone(peer, now)
            if not peer.banned:
                self.book.leave(key)
            self.floor.alarm(now + self.floor.patience.away, peer, session)
            self._asking.gone(peer, now)
            self._routing.feed(now)

    def want(self, key: PeerKey, hold: int, now: float) -> None:
        """The peer wants to hold at most ``hold`` uncommitted leases."""
        self.peers[key].hold = hold
        self._routing.serve(self.peers[key], now)
        self._leasing.serve(self.peers[key], now)

    def holds(self, key: PeerKey, holds: Holds, now: float) -> None:
        """The peer says what it holds and has room for. Raises ``RefusedError`` when it says so too
        often, and ``LimitError`` when it names too much."""
        self._leasing.hear(self.peers[key], holds, now)

    def commit(self, key: PeerKey, batch: Commits, now: float) -> None:
        """Take commitments; the batch's signature was checked. Stale ones are revoked."""
        peer = self.peers[key]
        done: list[LeaseToken] = []
        fresh, void = self._sort(peer, batch)
        # the log has a batch before anything that follows from it
        entered = self.book.commits(key, batch, void) if fresh else None
        for at, each in enumerate(batch):
            if entered and (execution := fresh.get(at)):
                self.floor.commit(execution, each, entered, now)
                if query := execution.unit.query:
                    self._asking.committed(execution, query, now)
                self._court.decide(execution.unit, now)
                done.append(each.token)
                continue
            known = peer.live.get(each.token)
            if known is None or not _is_for(known, batch.job, each.index):
                self.floor.outbox.revoke(peer, each.token, "this lease is over")
            elif (known.commitment, known.seal) == (each.commitment, each.seal):
                done.append(each.token)
            elif known.doing is Doing.LEASED and saw_trap(known, each.commitment):
                self._asking.anew(known, now)
            elif known.doing is Doing.LEASED and is_unchecked(known):
                self.floor.outbox.revoke(
                    peer, each.token, "say the tokens before they are committed"
                )
                self._court.lose(known, Act.REVOKE, now)
            else:
                error = RefusedError(f"the commitment to {known.unit.id} cannot be changed")
                self.floor.outbox.fault(peer, error)
        if done:
            self.floor.outbox.send(peer, Committed(tuple(done)))
        self._routing.feed(now)
        self._leasing.serve(peer, now)

    def _sort(self, peer: Peer, batch: Commits) -> tuple[dict[int, Execution], tuple[int, ...]]:
        """The executions that a batch commits, by place in it, and the places that are void."""
        fresh: dict[int, Execution] = {}
        void, seen = [], set()
        for at, each in enumerate(batch):
            execution = peer.live.get(each.token)
            if (
                execution is None
                or execution.doing is not Doing.LEASED
                or each.token in seen
                or (
                    execution.unit.job.manifest.program.model is not None
                    and (is_unchecked(execution) or saw_trap(execution, each.commitment))
                )
                or not _is_for(execution, batch.job, each.index)
            ):
                void.append(at)
            else:
                fresh[at] = execution
                seen.add(each.token)
        return fresh, tuple(void)

    def reveal(self, key: PeerKey, reveals: Iterable[Reveal], now: float) -> None:
        """Take results. One that is not what was committed counts as withheld.

        A result for a lease that is over is acknowledged too: the peer may forget it.
        """
        peer = self.peers[key]
        done: list[LeaseToken] = []
        for each in reveals:
            execution = peer.live.get(each.token)
            if execution is not None and execution.doing in (Doing.LEASED, Doing.COMMITTED):
                error = RefusedError(f"the result of {execution.unit.id} was not asked for")
                self.floor.outbox.fault(peer, error)
                continue
            done.append(each.token)
            if execution is None or execution.doing is not Doing.ASKED:
                continue
            try:
                self._court.reveal(execution, each, now)
            except RemoteError as error:
                self.floor.outbox.fault(peer, error)
                self._court.withhold(execution, now)
        if done:
            self.floor.outbox.send(peer, Revealed(tuple(done)))
        self._routing.feed(now)
        self._leasing.serve(peer, now)

    def release(
        self, key: PeerKey, tokens: Iterable[LeaseToken], now: float, reason: str = ""
    ) -> None:
        """A peer gives leases back, or says that it lost what it committed."""
        peer = self.peers[key]
        for token in tokens:
            execution = peer.live.get(token)
            if execution is None:
                self._court.decline(peer, token, now)
            elif execution.doing is Doing.LEASED:
                self._court.lose(execution, Act.RELEASE, now, reason)
            elif execution.doing in HIDDEN:
                self._court.withhold(execution, now)
        self._feed(now)

    def compared(self, key: PeerKey, batch: Compared, now: float) -> None:
        """Take opinions; the batch's signature was checked. Those that are late change nothing."""
        self._court.tell(self.peers[key], batch, now)
        self._leasing.feed(now)

    def ask(
        self,
        job: Job,
        request: Request,
        listener: Listener,
        now: float,
        *,
        stream: bool,
        top: int = 0,
        urgent: bool = True,
    ) -> Unit:
        """Have a request answered by a job that is asked, in a unit of its own.

        ``stream`` is whether tokens are wanted as they come, ``top`` as in ``wire.models.Ask``.
        Units that are not ``urgent`` come after all that are. Raises ``RefusedError`` when the job
        does not take it: it is too long, or the budget does not cover it.
        """
        options = {"stream": stream, "urgent": urgent}
        return self._asking.ask(job, request, listener, now, top=top, **options)

    def halt(self, unit: Unit, after: int, now: float) -> None:
        """No more than ``after`` tokens of an answer are needed. Without effect where the answer
        has its end already."""
        self._asking.halt(unit, after)
        self._routing.feed(now)

    def dismiss(self, unit: Unit, now: float) -> None:
        """Nobody listens any more: a unit of which nothing was said is cancelled, any other is
        halted where it is, verified and paid.

        The listener hears no more tokens, but it still hears ``settled`` or ``failed``.
        """
        self._asking.dismiss(unit)
        self._routing.feed(now)

    def said(self, key: PeerKey, tokens: Tokens, now: float) -> None:
        """Take tokens of an answer that a peer makes. Raises ``MalformedError`` or ``LimitError``
        when they are not the next ones, or more than were asked for."""
        self._asking.said(self.peers[key], tokens, now)
        self._routing.feed(now)

    def can_answer(self, job: Job, now: float = 0.0) -> bool:
        """Whether any connected peer could answer what the job asks."""
        return self._routing.is_answerable(job, now)

    def can_check(self, job: Job, now: float = 0.0) -> bool:
        """Whether a connected peer could answer what the job asks and one of another owner could
        check that; never in a job whose answers nobody checks."""
        return job.manifest.executions > 1 and self._routing.is_checkable(job, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        while thing := self.floor.due(now):
            if isinstance(thing, Execution):
                self._execution_due(thing, now)
            elif isinstance(thing, Question):
                self._court.overdue(thing, now)
            elif isinstance(thing, Unit):
                self._court.draw(thing, now)
            elif isinstance(thing, Job):
                self._court.finality.due(thing, now)
            elif isinstance(thing, Query):
                self._asking.late(thing, now)
            else:
                self._gone(thing, now)
        self._asking.sweep(now)
        self._feed(now)

    def resume(self, now: float) -> None:
        """After a restart: give every deadline anew, and let drawn units be drawn again."""
        floor = self.floor
        for job in floor.jobs.values():
            for unit in list(job.units.values()) if job.asked else ():
                self._court.fail(unit, "the tracker was restarted")  # nobody knows the request
        for execution in floor.executions.values():
            if execution.doing is Doing.LEASED:
                floor.alarm(now + self._leasing.seconds(execution), execution, 0)
            elif execution.doing is Doing.ASKED:
                floor.alarm(now + floor.patience.reveal, execution, 1)
        for peer in floor.peers.values():
            if peer.live:
                floor.alarm(now + floor.patience.away, peer, peer.session)
        for job in list(floor.jobs.values()):
            for unit in job.units.values():
                if unit.stage is Stage.COMPUTING and not unit.leased:
                    job.waiting[unit.index] = now
            for unit in list(job.units.values()):
                if job.manifest.comparator.by_margin:
                    self._court.forget(unit, now)
                self._court.settle(unit, now)  # what its results are is asked for again

    def _feed(self, now: float) -> None:
        self._routing.feed(now)
        self._leasing.feed(now)

    def obstacle(self, job: Job) -> str:
        """Why nothing happens with a live job, for people; empty when something does."""
        if job.waiting:
            return f"{len(job.waiting):,} units wait for a peer of another owner to check them"
        if count := self._court.comparing.waiting(job):
            return f"{count:,} results wait for peers of other owners to compare them"
        if job.asked and not self._routing.waiting(job):
            return ""
        if any(unit.leased or unit.drawn for unit in job.units.values()):
            return ""
        roster = self.floor.electorate.present()
        if not roster:
            return "no volunteer is connected"
        if not any(self.peers[key].can_run(job.manifest) for key in roster):
            takes = "takes models, and " if job.manifest.program.model else ""
            has = "has the image, the memory and the disk that the job needs"
            return f"no connected peer {takes}{has}"
        if count := self._routing.waiting(job):
            return f"{count:,} requests wait for a peer that has a core for them"
        return ""

    def _execution_due(self, execution: Execution, now: float) -> None:
        outbox = self.floor.outbox
        if execution.doing is Doing.LEASED:
            outbox.revoke(execution.peer, execution.token, "the lease is over its deadline")
            self._court.lose(execution, Act.EXPIRE, now)
        else:
            outbox.revoke(execution.peer, execution.token, "the result was not revealed in time")
            self._court.withhold(execution, now)

    def _gone(self, peer: Peer, now: float) -> None:
        for execution in list(peer.live.values()):
            if execution.doing is Doing.LEASED:
                self._court.lose(execution, Act.EXPIRE, now)
        self._court.redraw(peer, now)


def _is_for(execution: Execution, job: JobId, index: int) -> bool:
    return execution.unit.index == index and execution.unit.job.id == job
