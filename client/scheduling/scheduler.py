"""The volunteer's scheduler: events in, commands out. No I/O, no clock, no randomness of its own.

It decides how many leases to hold, what to fetch, which unit runs in which cell, when to commit,
what to give back. ``client.work.volunteer`` carries its commands out.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

from client.scheduling import comparisons, moves, reconnects
from client.scheduling.asks import is_urgent
from client.scheduling.batches import Batches
from client.scheduling.book import Book, JobRecord
from client.scheduling.cells import CellRecord, Life
from client.scheduling.leases import EARLY, Held, State
from client.scheduling.moves import Command, Event
from client.scheduling.needs import Need
from client.scheduling.pace import Pace, Tuning, averaged
from client.scheduling.placement import Choice, choose
from client.scheduling.strikes import Strikes
from workunits.errors import LimitError
from workunits.ids import JobId, LeaseToken
from workunits.images import Image
from workunits.manifest import SignedManifest
from workunits.wire import work
from workunits.wire.compare import Compare
from workunits.wire.models import Ask, Halt

MAX_JOBS = 4096
"""Most jobs that a tracker may offer in one session."""


class Scheduler:
    """The state of one volunteer."""

    def __init__(self, tuning: Tuning, rng: Random) -> None:
        self._tuning = tuning
        self._book = Book(tuning)
        self._strikes = Strikes(tuning, rng, self._book)
        self._pace = Pace(tuning)
        self._commits = Batches(tuning.batch, tuning.batch_wait)
        self._waiting: deque[LeaseToken] = deque()
        self._urgent: deque[LeaseToken] = deque()
        self._ready: dict[JobId, JobRecord] = {}
        self._paused = False
        self._draining = False
        self._finished = False
        self._progress = -inf
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            moves.Connected: self._on_connected,
            moves.Disconnected: self._on_disconnected,
            moves.Offered: self._on_offered,
            work.Leases: self._on_leases,
            work.Committed: self._on_committed,
            work.RevealRequest: self._on_reveal_request,
            work.Revealed: self._on_revealed,
            work.Revoked: self._on_revoked,
            Compare: self._on_compare,
            Ask: self._on_ask,
            Halt: self._on_halt,
            moves.Fetched: self._on_fetched,
            moves.FetchFailed: self._on_fetch_failed,
            moves.Opened: self._on_opened,
            moves.OpenFailed: self._on_open_failed,
            moves.Closed: self._on_closed,
            moves.Stopped: self._on_stopped,
            moves.Ran: self._on_ran,
            moves.RunFailed: self._on_run_failed,
            moves.Computed: self._on_computed,
            moves.StoreFailed: self._on_store_failed,
            moves.Judged: self._on_judged,
            moves.ResultsLost: self._on_results_lost,
            moves.Tick: self._on_tick,
            moves.Pause: self._on_pause,
            moves.Resume: self._on_resume,
            moves.Drain: self._on_drain,
        }

    # -- from outside -----------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event at monotonic time ``now``; return what to do, in order.

        Raises ``LimitError`` when the tracker offers too much; nothing has changed then.
        """
        self._handlers[type(event)](event, now)
        self._settle(now)
        out, self._book.out = self._book.out, []
        if any(isinstance(command, moves.Over) for command in out):
            self._progress = now
        # Less credit before leases go back, or the tracker fills the gap with the same again.
        out.sort(key=lambda command: not isinstance(command, moves.SendWant))
        return out

    def due(self) -> float | None:
        """When ``Tick`` is wanted for a batch; apart from that about once a second will do."""
        return self._commits.due() if self._book.connected else None

    def count(self, *states: State) -> int:
        """How many leases are in ``states``."""
        return self._book.count(*states)

    def state_of(self, token: LeaseToken) -> State | None:
        """Where a lease stands; ``None`` once it is over or was never held."""
        lease = self._book.leases.get(token)
        return lease.state if lease else None

    def knows(self, job: JobId) -> bool:
        """Whether ``job`` was offered in this session, or is still in use."""
        return job in self._book.jobs

    def job(self, job: JobId) -> SignedManifest:
        """A job that we hold leases or cells of."""
        return self._book.jobs[job].signed

    # -- the session ------------------------------------------------------------------------

    def _on_connected(self, event: moves.Connected, now: float) -> None:
        book = self._book
        book.connected = True
        self._strikes.calm()
        self._pace.forget()
        reconnects.settle(book, event)
        self._commits.clear()
        for lease in book.leases.values():
            if lease.state is State.COMPUTED:
                self._commits.add(lease.job, lease.token, now)
        self._book.forget_jobs(now)

    def _on_disconnected(self, _: moves.Disconnected, __: float) -> None:
        self._book.connected = False
        self._book.asks.keep_only(self._book.leases)
        comparisons.forget(self._book)

    def _on_offered(self, event: moves.Offered, _: float) -> None:
        jobs = self._book.jobs
        if event.job.id not in jobs:
            if len(jobs) >= MAX_JOBS:
                raise LimitError(f"the tracker offers more than {MAX_JOBS} jobs in one session")
            jobs[event.job.id] = JobRecord.of(event.job)

    def _on_ask(self, event: Ask, _: float) -> None:
        if event.token not in self._book.leases:
            self._book.asks.hear(event)

    def _on_halt(self, event: Halt, _: float) -> None:
        book = self._book
        book.asks.halt(event)
        for lease in book.known([event.token], State.RUNNING):
            assert lease.cell is not None
            cell = book.cells[lease.cell]
            if cell.heavy and cell.life is Life.BUSY:
                book.out.append(moves.Cut(cell.id, max(1, event.after)))

    def _on_leases(self, event: work.Leases, now: float) -> None:
        self._take_leases(event, now)
        self._book.asks.keep_only(self._book.leases)

    def _take_leases(self, event: work.Leases, now: float) -> None:
        book, job = self._book, self._book.jobs.get(event.job)
        reason = "job" if job is None else self._refusal(job, event.seconds, now)
        if job is None or reason:
            fresh = [each.token for each in event.leases if each.token not in book.leases]
            book.send_release(fresh, reason)
            return
        malformed = []
        for each in event.leases:
            known, ask = book.leases.get(each.token), book.asks.get(each.token)
            if known is not None:
                if known.state in EARLY and (known.job, known.index) == (event.job, each.index):
                    known.deadline = now + event.seconds
            elif job.flaw(each.index, ask) or book.uncommitted >= work.MAX_HOLD:
                malformed.append(each.token)
            else:
                lease = Held(each.token, event.job, each.index, now + event.seconds)
                lease.urgent = is_urgent(ask)
                book.add(lease)
                (self._urgent if lease.urgent else self._waiting).append(each.token)
        book.send_release(malformed, "malformed")

    def _refusal(self, job: JobRecord, seconds: float, now: float) -> str:
        return "shutdown" if self._draining else self._strikes.refusal(job, seconds, now)

    def _on_committed(self, event: work.Committed, _: float) -> None:
        for lease in self._book.known(event.tokens):
            if lease.state is State.COMMITTING:
                self._book.commit_stands(lease)

    def _on_reveal_request(self, event: work.RevealRequest, _: float) -> None:
        show, early = [], 0
        for lease in self._book.known(event.tokens):
            if lease.state is State.COMMITTING:
                self._book.commit_stands(lease)
            if lease.state is State.COMMITTED:
                lease.asked = True
                self._book.move(lease, State.REVEALING)
            if lease.state is State.REVEALING:
                show.append(lease.token)
            else:
                early += 1
        if show:
            self._book.out.append(moves.SendReveals(tuple(show)))
        unknown = set(event.tokens) - self._book.leases.keys()
        self._book.send_release(sorted(unknown), "lost")
        if early:
            self._warn(f"the tracker asked for {early} results that were not committed yet")

    def _on_revealed(self, event: work.Revealed, _: float) -> None:
        for lease in self._book.known(event.tokens):
            if lease.state is State.REVEALING:
                self._book.end(lease, State.DONE)

    def _on_revoked(self, event: work.Revoked, _: float) -> None:
        for lease in self._book.known(event.tokens):
            self._book.end(lease, State.REVOKED, event.reason)

    def _on_compare(self, event: Compare, now: float) -> None:
        job = self._book.jobs.get(event.job)
        refused = "job" if job is None else self._refusal(job, inf, now)
        for lease, needs in comparisons.take(self._book, event, refused, now):
            self._prepare(lease, needs)

    # -- blobs, cells, results --------------------------------------------------------------

    def _on_fetched(self, event: moves.Fetched, now: float) -> None:
        arrival = self._book.needs.arrived(event.ref)
        if arrival is None:
            return
        asked, tokens = arrival
        self._pace.fetched(now - asked)
        for lease in self._book.known(sorted(tokens)):
            lease.missing.discard(event.ref)
            if not lease.missing:
                self._make_ready(lease)

    def _on_fetch_failed(self, event: moves.FetchFailed, now: float) -> None:
        leases = self._book.known(sorted(self._book.needs.failed(event.ref)))
        # Others' results may be gone without the job being at fault.
        jobs = {lease.job: self._book.jobs[lease.job] for lease in leases if lease.pair is None}
        reason = "image" if isinstance(event.ref, Image) else "blob"
        self._book.give_back([lease.token for lease in leases], reason)
        for job in jobs.values():
            self._strikes.strike(job, reason, now)

    def _on_opened(self, event: moves.Opened, now: float) -> None:
        cell = self._book.cells.get(event.cell)
        if cell is None or cell.life is not Life.OPENING:
            return
        if cell.token is None:
            self._book.cells.idle(cell, now)
        else:
            cell.life = Life.BUSY
            self._run(self._book.leases[cell.token], cell, now)

    def _on_open_failed(self, event: moves.OpenFailed, now: float) -> None:
        cell = self._book.cells.get(event.cell)
        if cell is None or cell.life is not Life.OPENING:
            return
        if cell.token is not None:
            self._book.give_back([cell.token], event.reason)
        self._book.gone(cell)
        self._strikes.strike(self._book.jobs[cell.job], event.reason, now)

    def _on_closed(self, event: moves.Closed, _: float) -> None:
        cell = self._book.cells.get(event.cell)
        if cell is not None and cell.life in (Life.CLOSING, Life.STOPPING):
            self._book.gone(cell)

    def _on_stopped(self, event: moves.Stopped, now: float) -> None:
        cell = self._book.cells.get(event.cell)
        if cell is not None and cell.life is Life.STOPPING:
            self._book.cells.idle(cell, now)

    def _on_ran(self, event: moves.Ran, now: float) -> None:
        for lease in self._book.known([event.token], State.RUNNING):
            assert lease.cell is not None
            job, took = self._book.jobs[lease.job], now - lease.started
            job.works()
            if job.model is None:  # whose units may differ much: one of them foretells nothing
                job.seconds = averaged(job.seconds, took)
            self._pace.ran(took)
            self._book.cells.idle(self._book.cells[lease.cell], now)
            self._book.release_needs(lease)
            self._book.move(lease, State.STORING)

    def _on_run_failed(self, event: moves.RunFailed, now: float) -> None:
        self._lose(self._book.known([event.token], State.RUNNING), event.reason, now)

    def _on_computed(self, event: moves.Computed, now: float) -> None:
        for lease in self._book.known([event.token], State.STORING):
            lease.digest = event.digest
            self._book.move(lease, State.COMPUTED)
            self._commits.add(lease.job, lease.token, now)

    def _on_store_failed(self, event: moves.StoreFailed, now: float) -> None:
        self._lose(self._book.known([event.token], State.STORING), event.reason, now)

    def _on_judged(self, event: moves.Judged, now: float) -> None:
        comparisons.judge(self._book, event, now)

    def _on_results_lost(self, event: moves.ResultsLost, _: float) -> None:
        self._book.give_back([lease.token for lease in self._book.known(event.tokens)], "lost")

    def _lose(self, leases: list[Held], reason: str, now: float) -> None:
        for lease in leases:
            self._book.give_back([lease.token], reason)  # another one may need less memory
            self._strikes.strike(self._book.jobs[lease.job], reason, now, lasting=False)

    # -- people and time --------------------------------------------------------------------

    def _on_tick(self, _: moves.Tick, now: float) -> None:
        book = self._book
        for job in book.jobs.values():
            late = [token for token in job.early if self._is_late(book.leases[token], now)]
            book.give_back(sorted(late), "late")
        for cell in book.cells.stale(now - self._tuning.idle, now - self._tuning.idle_models):
            book.close(cell)
        excess = -2 * max(self._target(now), 2 * self._tuning.slots)
        if self._waiting:  # what somebody waits for never does, and comes beyond what we want
            urgent = sum(lease.urgent and lease.counts for lease in book.leases.values())
            excess += book.uncommitted - urgent
        surplus: list[LeaseToken] = []
        while self._waiting and len(surplus) < excess:
            token = self._waiting.pop()
            if self.state_of(token) is State.WAITING:
                surplus.append(token)
        book.give_back(surplus, "surplus")

    def _on_pause(self, _: moves.Pause, __: float) -> None:
        self._paused = True

    def _on_resume(self, _: moves.Resume, __: float) -> None:
        self._paused = False

    def _on_drain(self, _: moves.Drain, now: float) -> None:
        if not self._draining:
            self._draining, self._progress = True, now
            for job in self._book.jobs.values():
                self._book.give_back(sorted(job.early), "shutdown")

    # -- after every event ------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        self._admit()
        self._start(now)
        self._book.out.extend(map(moves.Fetch, self._book.needs.next_fetches(now)))
        self._flush(now)
        self._tell_want(now)
        self._finish(now)

    def _admit(self) -> None:
        room = self._tuning.window * self._tuning.slots
        while self._urgent:
            self._admit_next(self._urgent)
        while self._waiting and self.count(State.FETCHING, State.READY) < room:
            self._admit_next(self._waiting)

    def _admit_next(self, queue: deque[LeaseToken]) -> None:
        for lease in self._book.known([queue.popleft()], State.WAITING):
            self._prepare(lease, self._book.jobs[lease.job].needs(lease.index))

    def _prepare(self, lease: Held, needs: tuple[Need, ...]) -> None:
        lease.needs = needs
        lease.missing = self._book.needs.take(needs, lease.token)
        if lease.missing:
            self._book.move(lease, State.FETCHING)
        else:
            self._make_ready(lease)

    def _make_ready(self, lease: Held) -> None:
        self._book.ready(lease)
        self._ready[lease.job] = self._book.jobs[lease.job]

    def _start(self, now: float) -> None:
        cells = self._book.cells
        while cells.free and not self._paused and not self._draining:
            jobs = [job for job in list(self._ready.values()) if now >= job.blocked]
            heads = [(job, lease) for job in jobs if (lease := self._head(job, now))]
            choice = choose(heads, cells, self._tuning.warm_bonus)
            if choice is None:
                return
            if not choice.fits:
                for old in cells.crowding(choice.job.memory):
                    self._book.close(old)
                return
            self._place(choice, now)

    def _head(self, job: JobRecord, now: float) -> Held | None:
        while job.ready:
            for lease in self._book.known([job.ready[0]], State.READY):
                if not self._is_late(lease, now):
                    return lease
                self._book.give_back([lease.token], "late")
            job.ready.popleft()
        self._ready.pop(job.id, None)
        return None

    def _place(self, choice: Choice, now: float) -> None:
        job, lease, slot = choice.job, choice.lease, choice.slot
        cells, heavy = self._book.cells, job.model is not None
        job.ready.popleft()
        if cells.warm(slot, job.id):
            cell = cells.reuse(slot, job.id, lease.token)
        else:
            for old in [] if heavy else cells.surplus(slot):
                self._book.close(old)
            self._book.needs.take(job.program)
            cell = cells.open(slot, job.id, job.memory, job.program, lease.token, heavy=heavy)
        lease.cell = cell.id
        self._book.move(lease, State.RUNNING)
        if cell.life is Life.BUSY:
            self._run(lease, cell, now)
        else:
            self._book.out.append(moves.Open(cell.id, job.id, slot))

    def _run(self, lease: Held, cell: CellRecord, now: float) -> None:
        lease.started = now
        if lease.pair is None:
            ask = self._book.asks.get(lease.token)
            self._book.out.append(moves.Run(lease.token, lease.unit, cell.id, ask))
        else:
            self._book.out.append(moves.Judge(lease.token, lease.unit, cell.id, lease.pair))

    def _flush(self, now: float) -> None:
        if not self._book.connected:
            return
        for job, tokens in self._commits.take(now, idle=not self.count(State.COMMITTING)):
            units = []
            for lease in self._book.known(tokens, State.COMPUTED):
                assert lease.digest is not None
                lease.sent = True
                self._book.move(lease, State.COMMITTING)
                units.append(moves.Ready(lease.token, lease.index, lease.digest))
            if units:
                self._book.out.append(moves.SendCommits(job, tuple(units)))

    def _tell_want(self, now: float) -> None:
        target = self._target(now)
        if self._book.connected and self._pace.tell(target, exact=self._strikes.sulks(now)):
            self._book.out.append(moves.SendWant(target))

    def _finish(self, now: float) -> None:
        if not self._draining or self._finished:
            return
        if self._book.cells.busy or self.count(State.STORING):
            self._progress = now
        elif not self._book.leases or now >= self._progress + self._tuning.linger:
            self._finished = True
            self._book.out.append(moves.Finish())

    # -- the pieces -------------------------------------------------------------------------

    def _is_late(self, lease: Held, now: float) -> bool:
        seconds = self._book.jobs[lease.job].seconds if lease.pair is None else None
        return now + (seconds or 0.0) > lease.deadline

    def _target(self, now: float) -> int:
        if self._draining or self._paused:
            return 0
        target = self._pace.target()
        return min(target, self._book.uncommitted) if self._strikes.sulks(now) else target

    def _warn(self, message: str, hint: str = "") -> None:
        self._book.out.append(moves.Warn(message, hint))
