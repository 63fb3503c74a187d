"""The volunteer: carries out what the scheduler decides, and tells it what became of it."""

import asyncio
import platform
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random, SystemRandom

from client.scheduling import moves
from client.scheduling.leases import UNCOMMITTED, State
from client.scheduling.moves import Command, Event
from client.scheduling.pace import Tuning
from client.scheduling.scheduler import Scheduler
from client.work import notices
from client.work.clock import Clock
from client.work.dispatch import Dispatch
from client.work.holdings import PAUSE, Holdings
from client.work.images import Images
from client.work.notices import Notice
from client.work.session import SKEW, Peer, Session
from client.work.speech import Speeches
from client.work.stash import Entry, Stash
from client.work.supply import Blobs
from client.work.witness import LedgerWitness
from client.work.workshop import Runtime, Workshop, why_output
from workunits.errors import LocalError, SwarmError, UnavailableError
from workunits.ids import BlobRef, Digest, JobId, LeaseToken, PeerKey, short
from workunits.manifest import SignedManifest
from workunits.models.answer import Answer
from workunits.results import Result
from workunits.signing import Identity
from workunits.wire.handshake import Offerings, Vouch
from workunits.wire.models import Tokens
from workunits.wire.work import Failure, FromTracker, JobOffer, Welcome

AGENT = "openswarm/0.1"
TICK = 1.0
TEND = 30.0
"""Seconds between looks at the sandbox: leftovers, images that came or went."""

MAX_IMAGES = 256
_RESULTS = "results"
_BROUGHT = "images.json"
_UNITS = "units"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a person gives: slots, one CPU each, and bytes of memory over all of them."""

    cpus: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Status:
    """Where a volunteer stands."""

    online: bool
    running: int
    held: int
    """Leases that are not committed, the running ones included."""
    committed: int
    """Units whose result was not asked for yet, or is on its way."""
    done: int
    """Units whose result the tracker has, since the start."""


class Volunteer:
    """One volunteer or validator of one tracker. ``run`` it once.

    It ends its own cells, but neither ``sandbox`` nor ``blobs``: those are their owner's to close.
    """

    def __init__(
        self,
        tracker: str,
        identity: Identity,
        sandbox: Runtime,
        blobs: Blobs,
        *,
        capacity: Capacity,
        state: Path,
        scratch: Path,
        validator: bool = False,
        no_models: str = "",
        vouch: Vouch | None = None,
        witness: LedgerWitness | None = None,
        notify: Callable[[Notice], None] = lambda _: None,
        tuning: Tuning | None = None,
        clock: Clock | None = None,
        rng: Random | None = None,
        agent: str = AGENT,
    ) -> None:
        """``tracker`` is a base URL.

        ``state`` is the folder that survives a crash, ``scratch`` the one for files of running
        units; this process must be the only user of both. ``no_models`` is why no models are run:
        ``models`` if that is not wanted, ``platform`` if the machine cannot; empty if they are.
        ``witness`` watches the same tracker's ledger meanwhile. ``notify`` must not block or raise.
        """
        self._identity = identity
        self._sandbox = sandbox
        self._blobs = blobs
        self._capacity = capacity
        self._state = state
        self._scratch = scratch / _UNITS
        self._validator = validator
        self._models = not no_models
        self._witness = witness
        self._tell_people = notify
        self._clock = clock or Clock()
        self._agent = agent
        rng = rng or SystemRandom()
        tuning = replace(
            tuning or Tuning(),
            slots=capacity.cpus,
            memory_bytes=capacity.memory_bytes,
            models=no_models,
        )
        self._scheduler = Scheduler(tuning, rng)
        peer = Peer(identity, self._offerings, vouch)
        self._session = Session(tracker, peer, self, clock=self._clock, rng=rng)
        self._finished = asyncio.Event()
        self._dispatch = Dispatch(
            self._session, identity, self._read, self._lose, self._finished.set
        )
        self._images = Images(sandbox, blobs, state / _BROUGHT, self._stale_offer)
        self._holdings = Holdings()
        self._stale = asyncio.Event()
        self._speeches = Speeches(self._say)
        self._workshop = Workshop(
            *(self, sandbox, blobs, self._images, self._speeches, self._scratch),
            self._clock.monotonic,
        )
        self._stash: Stash | None = None
        self._tracker: PeerKey | None = None
        self._offered: tuple[str, ...] | None = None
        self._shared: dict[LeaseToken, tuple[BlobRef, ...]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._online = False
        self._done = 0

    # -- for the owner ----------------------------------------------------------------------

    async def run(self) -> None:
        """Work until drained or cancelled; either way nothing is left running.

        Raises ``RefusedError`` or ``SignatureError`` when the tracker will not have this peer,
        ``LocalError`` when the state folder cannot be used, and ``ForkError`` when the witness
        has found out that the tracker shows two histories.
        """
        self._prepare()
        try:
            async with asyncio.TaskGroup() as group:
                self._workshop.start(group)
                loops = [
                    group.create_task(each)
                    for each in (
                        self._session.run(),
                        self._dispatch.run(),
                        self._tick_forever(),
                        self._tend_forever(),
                        self._renew_forever(),
                        self._report_forever(),
                        *([self._witness.run()] if self._witness else []),
                    )
                ]
                await self._finished.wait()
                for task in loops:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await self._workshop.close()
            if self._stash is not None:
                self._stash.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def drain(self) -> None:
        """Take nothing new, finish what runs, commit and reveal it; then ``run`` returns.

        To stop at once cancel ``run``; what was committed is kept on disk for the next start.
        """
        self.tell(moves.Drain())

    def pause(self) -> None:
        """Start nothing new until ``resume``."""
        self.tell(moves.Pause())

    def resume(self) -> None:
        """End a pause."""
        self.tell(moves.Resume())

    @property
    def status(self) -> Status:
        """Where it stands now."""
        count = self._scheduler.count
        return Status(
            online=self._online,
            running=count(State.RUNNING),
            held=count(*UNCOMMITTED),
            committed=count(State.COMMITTED, State.REVEALING),
            done=self._done,
        )

    # -- from the session -------------------------------------------------------------------

    def up(self, welcome: Welcome, tracker: PeerKey, skew: float) -> None:
        """See ``session.Listener``."""
        kept: tuple[moves.Kept, ...] = ()
        if tracker != self._tracker:
            if self._tracker is not None:
                self._warn(
                    f"the tracker has another key than before: {short(tracker)}",
                    "If its operator did not reinstall it, check who answers at that address.",
                )
                self.tell(moves.Connected())  # drops all that the other one leased
            kept = self._load(tracker, {*welcome.held, *welcome.committed})
            if abs(skew) > SKEW:
                self._warn(
                    f"the clocks of this machine and the tracker differ by {abs(skew):.0f} s",
                    "Work goes on; set the clock (NTP) so that times in logs and pages agree.",
                )
        self._online = True
        self._holdings.forget()
        self._report()  # before we want anything
        if self._witness is not None:
            self._witness.expect(tracker)
        self._speeches.again(welcome.held)  # before they are committed to again
        self.notify(notices.Online(tracker))
        self.tell(moves.Connected(welcome.held, welcome.committed, kept))

    def down(self, error: SwarmError, retry: float, *, was_up: bool) -> None:
        """See ``session.Listener``."""
        self._online = False
        if was_up:
            self._dispatch.clear()
            self.tell(moves.Disconnected())
        self.notify(notices.Offline(error.message, error.hint, retry))

    def message(self, message: FromTracker) -> None:
        """See ``session.Listener``."""
        match message:
            case JobOffer():
                signed = message.open()
                if not self._scheduler.knows(signed.id):
                    self.notify(_seen(signed))
                self.tell(moves.Offered(signed))
            case Failure():
                self._warn(f"the tracker says: {message.message}", message.hint)
            case _:
                self.tell(message)  # type: ignore[arg-type]  # the session keeps the handshake

    # -- from the workshop ------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """See ``workshop.Desk``."""
        for command in self._scheduler.handle(event, self._clock.monotonic()):
            self._carry_out(command)
        due = self._scheduler.due()
        if due is not None and self._timer is None:
            delay = max(0.0, due - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def notify(self, notice: Notice) -> None:
        """See ``workshop.Desk``."""
        self._tell_people(notice)

    def job(self, job: JobId) -> SignedManifest:
        """See ``workshop.Desk``."""
        return self._scheduler.job(job)

    def keep(self, entry: Entry) -> None:
        """See ``workshop.Desk``."""
        assert self._stash is not None
        self._stash.put(entry)

    def computed(self, token: LeaseToken, digest: Digest, shared: tuple[BlobRef, ...]) -> None:
        """See ``workshop.Desk``."""
        if shared:
            self._shared[token] = shared
        self.tell(moves.Computed(token, digest))
        if self._scheduler.state_of(token) is None:  # revoked while it was being stored
            self._forget(token)

    # -- commands ---------------------------------------------------------------------------

    def _carry_out(self, command: Command) -> None:
        match command:
            case moves.Run():
                self._workshop.run(command)
            case moves.Judge():
                self._workshop.judge(command)
            case moves.Fetch():
                self._workshop.fetch(command)
            case moves.Drop():
                self._workshop.drop(command)
            case moves.Open():
                self._workshop.open(command)
            case moves.Cut():
                self._workshop.cut(command)
            case moves.Stop():
                self._workshop.stop(command)
            case moves.Close():
                self._workshop.end(command)
            case moves.Over():
                self._over(command)
            case moves.Committed(unit):
                self.notify(notices.Committed(unit))
            case moves.Warn(message, hint):
                self._warn(message, hint)
            case _:
                self._dispatch.put(command)

    def _over(self, command: moves.Over) -> None:
        match command.state:
            case State.DONE:
                for ref in self._shared.get(command.token, ()):
                    # Only now it is a blob that the tracker knows.
                    self._blobs.reshare(ref, why_output(command.token))
                self._done += 1
                self.notify(notices.Revealed(command.unit))
            case State.JUDGED:
                pass  # told when its comparator ended
            case State.RELEASED:
                self.notify(notices.GivenBack(command.unit, command.reason))
            case _:
                self.notify(notices.TakenBack(command.unit, command.reason))
        self._forget(command.token)

    def _forget(self, token: LeaseToken) -> None:
        assert self._stash is not None
        self._stash.remove(token)
        self._speeches.forget(token)
        for ref in self._shared.pop(token, ()):
            self._blobs.release(ref, why_output(token))

    def _read(self, tokens: tuple[LeaseToken, ...]) -> list[Entry]:
        assert self._stash is not None
        return [entry for entry in map(self._stash.get, tokens) if entry is not None]

    def _lose(self, tokens: tuple[LeaseToken, ...]) -> None:
        self.tell(moves.ResultsLost(tokens))

    def _load(self, tracker: PeerKey, known: set[LeaseToken]) -> tuple[moves.Kept, ...]:
        """What an earlier run computed for ``tracker``, as far as that still counts on it."""
        if self._stash is not None:
            self._stash.close()
        self._tracker = tracker
        self._stash = Stash(self._state / _RESULTS / tracker.hex())
        entries, broken = self._stash.load()
        if broken:
            self._warn(f"{broken} kept results could not be read", "Check the disk for errors.")
        kept = []
        for entry in entries:
            result = Result.parse(entry.result)
            self._shared[entry.token] = (
                () if entry.contents else tuple(output.ref for output in result.outputs)
            )
            why = why_output(entry.token)
            missing = [r for r in self._shared[entry.token] if not self._blobs.reshare(r, why)]
            if missing or entry.token not in known:
                self._forget(entry.token)
            else:
                if result.meter and entry.contents:
                    with suppress(SwarmError):  # it was a model's, or so it said
                        self._speeches.restore(entry.token, Answer.parse(entry.contents[0]))
                kept.append(moves.Kept(entry.token, entry.unit, result.digest))
        return tuple(kept)

    # -- tasks ------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        self._timer = None
        self.tell(moves.Tick())

    async def _tick_forever(self) -> None:
        while True:
            await self._clock.sleep(TICK)
            self.tell(moves.Tick())

    async def _tend_forever(self) -> None:
        """Have leftovers removed, and offer anew when images come or go."""
        with suppress(SwarmError):  # whoever needs an image says so louder
            await self._images.start()
        while True:
            with suppress(UnavailableError):  # whoever opens a cell says so louder
                await self._sandbox.reap()
            await self._clock.sleep(TEND)
            await self._offer_anew()

    async def _renew_forever(self) -> None:
        """Offer anew at once when we brought an image or let one go."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            await self._offer_anew()

    async def _offer_anew(self) -> None:
        if self._offered is not None and await self._present() != self._offered:
            await self._session.renew()

    async def _report_forever(self) -> None:
        """Tell the tracker what is held, when that changes."""
        while True:
            await self._clock.sleep(PAUSE)
            if self._online:
                self._report()

    def _report(self) -> None:
        try:
            room = self._blobs.room() + self._images.spare
        except LocalError as error:
            self._warn(f"the disk cannot be used: {error.message}", error.hint)
            room = 0
        quota, now = self._blobs.quota, self._clock.monotonic()
        holds = self._holdings.next(self._blobs.held(), room, quota, now)
        if holds is not None:
            self._dispatch.put(holds)

    def _stale_offer(self) -> None:
        """There are other images than were offered."""
        self._stale.set()

    async def _offerings(self) -> Offerings:
        self._offered = await self._present()
        return Offerings(
            validator=self._validator,
            cores=self._capacity.cpus,
            memory_bytes=self._capacity.memory_bytes,
            images=self._offered,
            agent=self._agent,
            platform=platform.machine(),
            disk_bytes=self._blobs.quota,
            models=self._models,
        )

    async def _present(self) -> tuple[str, ...]:
        try:
            return tuple(sorted(await self._sandbox.images())[:MAX_IMAGES])
        except UnavailableError as error:
            if self._offered != ():
                self._warn(f"the sandbox cannot be used: {error.message}", error.hint)
            return ()

    def _say(self, tokens: Tokens) -> None:
        if self._online:
            self._dispatch.put(tokens)

    def _warn(self, message: str, hint: str = "") -> None:
        self.notify(notices.Warned(message, hint))

    def _prepare(self) -> None:
        try:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch.mkdir(parents=True, mode=0o700)
            self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise LocalError(
                f"cannot use the folders {self._state} and {self._scratch}: {error.strerror}",
                hint="Check that they are yours and that their disks work.",
            ) from None


def _seen(job: SignedManifest) -> notices.JobSeen:
    manifest = job.manifest
    model = manifest.program.model
    return notices.JobSeen(
        *(job.id, manifest.name, manifest.units),
        model=model.engine.value if model else "",
        asked=manifest.is_asked,
    )


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a person should see: the first that is not itself a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
