"""A world around a scheduler, for tests: a tracker, a wire that loses, a shell that may fail."""

from collections import deque
from dataclasses import dataclass, field, replace
from hashlib import sha256
from random import Random

from client.scheduling import moves
from client.scheduling.leases import OVER, State
from client.scheduling.moves import Command, Event
from client.scheduling.needs import Need
from client.scheduling.pace import Tuning
from client.scheduling.scheduler import Scheduler
from tests.client.work.models import model_job, request_of
from tests.client.work.tracker import JUDGE, job_of, ref_of, shown
from workunits.ids import Digest, JobId, LeaseToken, UnitId
from workunits.images import Image, Layer, chain_id
from workunits.manifest import SignedManifest
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result
from workunits.wire import work
from workunits.wire.compare import Compare, Judgement, Opinion, Pair, Shown
from workunits.wire.models import Ask, Halt

PROGRAM = NamedBlob("program", ref_of(1))
DATA = NamedBlob("data", ref_of(2))
OTHER = NamedBlob("other", ref_of(3))
PLAIN = job_of(100)
FED = job_of(100, files=(PROGRAM,), inputs=(DATA,), name="fed")
BIG = job_of(100, inputs=(DATA, OTHER), memory=600 << 20, name="big")
JUDGED = job_of(100, files=(PROGRAM,), comparator=JUDGE, name="judged")
HUGE = job_of(100, memory=8 << 30, name="huge")
LAYERS = tuple(Layer(bytes([at]) * 32, ref_of(at)) for at in (7, 8))
IMAGE = Image(chain_id([layer.diff for layer in LAYERS]), LAYERS)
SHARED = job_of(100, files=(PROGRAM,), name="shared", image=IMAGE.name, layers=LAYERS)
"""A job whose image can be fetched."""
ASKED = model_job(100, model=ref_of(40), memory=500 << 20)
BATCH = model_job(100, asked=False, model=ref_of(42), memory=300 << 20, name="batch")


INLINE = shown({"out": b"inline"})


def far(number: int) -> Shown:
    """A result whose output is a blob."""
    return Shown(Result(Ending.EXITED, 0, (NamedBlob("out", ref_of(number)),)))


def digest_of(token: LeaseToken) -> Digest:
    """The digest that the world's programs give."""
    return Digest(sha256(str(token).encode()).digest())


@dataclass(eq=False)
class World:
    """Carries commands out in memory and checks every one of them."""

    tuning: Tuning
    jobs: list[SignedManifest]
    now: float = 1000.0
    connected: bool = False
    restarted: bool = False
    outgoing: deque[Command] = field(default_factory=deque)
    fetching: set[Need] = field(default_factory=set)
    here: set[Need] = field(default_factory=set)
    opening: dict[int, moves.Open] = field(default_factory=dict)
    cells: dict[int, moves.Open] = field(default_factory=dict)
    closing: set[int] = field(default_factory=set)
    stopping: set[int] = field(default_factory=set)
    asks: dict[LeaseToken, Ask] = field(default_factory=dict)
    cuts: list[moves.Cut] = field(default_factory=list)
    running: dict[int, moves.Run | moves.Judge] = field(default_factory=dict)
    storing: list[LeaseToken] = field(default_factory=list)
    disk: dict[LeaseToken, moves.Kept] = field(default_factory=dict)
    offered: set[LeaseToken] = field(default_factory=set)
    """Whose commits were ever sent."""
    leased: dict[LeaseToken, UnitId] = field(default_factory=dict)
    ended: dict[LeaseToken, State] = field(default_factory=dict)
    finished: int = 0
    warned: list[str] = field(default_factory=list)
    # What the tracker knows
    held: dict[LeaseToken, UnitId] = field(default_factory=dict)
    committed: set[LeaseToken] = field(default_factory=set)
    asked: set[LeaseToken] = field(default_factory=set)
    done: set[LeaseToken] = field(default_factory=set)
    comparing: dict[LeaseToken, Pair] = field(default_factory=dict)
    judged: list[Judgement] = field(default_factory=list)
    want: int = 0
    released: list[tuple[LeaseToken, str]] = field(default_factory=list)
    acks: deque[Event] = field(default_factory=deque)
    next_token: int = 1

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.tuning, Random(3))
        self.by_id = {job.id: job for job in self.jobs}

    # -- events -----------------------------------------------------------------------------

    def tell(self, event: Event) -> list[Command]:
        """Feed one event and take what comes of it."""
        commands = self.scheduler.handle(event, self.now)
        for command in commands:
            self.take(command)
        self.check()
        return commands

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.tell(moves.Tick())

    @property
    def alive(self) -> list[LeaseToken]:
        """The leases that are not over."""
        return sorted(self.leased.keys() - self.ended.keys())

    @property
    def going(self) -> set[int]:
        """The cells in which something runs that is not to be ended."""
        return self.running.keys() - self.closing - self.stopping

    def connect(self) -> None:
        """A session, with the tracker's true word."""
        kept = tuple(self.disk.values()) if self.restarted else ()
        self.connected, self.restarted, self.want = True, False, 0
        self.tell(moves.Connected(tuple(self.held), tuple(sorted(self.committed)), kept))
        for job in self.jobs:
            self.tell(moves.Offered(job))

    def disconnect(self) -> None:
        """The wire breaks; what was on it is lost."""
        self.connected = False
        self.outgoing.clear()
        self.acks.clear()
        self.comparing.clear()
        self.tell(moves.Disconnected())

    def restart(self) -> None:
        """The volunteer is killed and started again."""
        self.connected, self.restarted, self.finished = False, True, 0
        for each in (self.outgoing, self.acks, self.fetching, self.here, self.opening, self.cells):
            each.clear()
        for more in (self.closing, self.stopping, self.running, self.storing):
            more.clear()
        self.comparing.clear()
        # What was not over is held anew, or gone with the memory.
        self.leased = {token: unit for token, unit in self.leased.items() if token in self.disk}
        self.scheduler = Scheduler(self.tuning, Random(3))

    def lease(self, job: JobId, indices: list[int], seconds: int = 600) -> list[LeaseToken]:
        """The tracker leases units."""
        leases = []
        for index in indices:
            token = LeaseToken(self.next_token)
            self.next_token += 1
            self.held[token] = self.leased[token] = UnitId(job, index)
            leases.append(work.Lease(index, token))
        self.tell(work.Leases(job, seconds, tuple(leases)))
        return [lease.token for lease in leases]

    def inquire(
        self,
        job: JobId,
        index: int = 0,
        *,
        seconds: int = 600,
        stream: bool = False,
        given: tuple[int, ...] = (),
        asked: bool = True,
    ) -> LeaseToken:
        """The tracker leases a unit of a model, after it said what that asks."""
        request = request_of(index) if asked else None
        token = LeaseToken(self.next_token)
        self.asks[token] = Ask(token, request, given, stream=stream)
        self.tell(self.asks[token])
        return self.lease(job, [index], seconds)[0]

    def halt(self, token: LeaseToken, after: int) -> None:
        """The tracker needs no more of an answer."""
        if token in self.asks:
            self.asks[token] = replace(self.asks[token], halt=max(1, after))
        self.tell(Halt(token, after))

    def compare(
        self, job: JobId, *pairs: tuple[Shown, Shown], index: int = 0, seconds: int = 600
    ) -> list[LeaseToken]:
        """The tracker asks whether results of a unit are the same."""
        asked = []
        for a, b in pairs:
            pair = Pair(LeaseToken(self.next_token), index, a, b)
            self.next_token += 1
            self.comparing[pair.token] = pair
            self.leased[pair.token] = UnitId(job, index)
            asked.append(pair)
        self.tell(Compare(job, seconds, tuple(asked)))
        return [pair.token for pair in asked]

    def revoke(self, token: LeaseToken) -> None:
        """The tracker takes a lease or a comparison back."""
        self.comparing.pop(token, None)
        self.held.pop(token, None)
        self.committed.discard(token)
        self.tell(work.Revoked("late", (token,)))

    def ask(self, *tokens: LeaseToken) -> None:
        """The tracker asks for results."""
        self.asked.update(tokens)
        self.tell(work.RevealRequest(60, tokens))

    # -- the shell --------------------------------------------------------------------------

    def fetched(self, ref: Need) -> None:
        """A fetch is through."""
        self.fetching.remove(ref)
        self.here.add(ref)
        self.tell(moves.Fetched(ref))

    def fetch_failed(self, ref: Need) -> None:
        """A fetch came to nothing."""
        self.fetching.remove(ref)
        self.tell(moves.FetchFailed(ref))

    def opened(self, cell: int) -> None:
        """A cell is open."""
        self.cells[cell] = self.opening.pop(cell)
        self.tell(moves.Opened(cell))

    def open_failed(self, cell: int, reason: str) -> None:
        """A cell could not be opened."""
        del self.opening[cell]
        self.tell(moves.OpenFailed(cell, reason))

    def closed(self, cell: int) -> None:
        """A cell is gone."""
        self.closing.discard(cell)
        self.stopping.discard(cell)
        del self.cells[cell]
        self.running.pop(cell, None)
        self.tell(moves.Closed(cell))

    def stopped(self, cell: int) -> None:
        """What ran in a cell gave up, and the cell is good."""
        self.stopping.remove(cell)
        del self.running[cell]
        self.tell(moves.Stopped(cell))

    def ran(self, cell: int) -> LeaseToken:
        """The program in a cell ended."""
        command = self.running.pop(cell)
        token = command.token
        if isinstance(command, moves.Judge):
            self.tell(moves.Judged(token, Opinion(token % len(Opinion))))
            return token
        self.storing.append(token)
        self.tell(moves.Ran(token))
        return token

    def run_failed(self, cell: int, reason: str = "engine") -> None:
        """A unit was lost."""
        self.tell(moves.RunFailed(self.running.pop(cell).token, reason))

    def stored(self, token: LeaseToken) -> None:
        """A result is on disk."""
        self.storing.remove(token)
        alive = self.scheduler.state_of(token) is not None
        if alive:
            self.disk[token] = moves.Kept(token, self.leased[token], digest_of(token))
        self.tell(moves.Computed(token, digest_of(token)))

    def store_failed(self, token: LeaseToken) -> None:
        """The disk is full."""
        self.storing.remove(token)
        self.tell(moves.StoreFailed(token, "disk"))

    # -- the wire ---------------------------------------------------------------------------

    def deliver(self) -> None:
        """The tracker gets the oldest message."""
        match self.outgoing.popleft():
            case moves.SendWant(hold):
                self.want = hold
            case moves.SendCommits(_, units):
                tokens = tuple(unit.token for unit in units)
                for token in tokens:
                    if token in self.held:
                        del self.held[token]
                        self.committed.add(token)
                self.acks.append(work.Committed(tokens))
            case moves.SendReveals(tokens):
                self.committed -= set(tokens)
                self.done |= set(tokens)
                self.acks.append(work.Revealed(tokens))
            case moves.SendJudgement(_, judgement):
                del self.comparing[judgement.token]
                self.judged.append(judgement)
            case moves.SendRelease(tokens, reason):
                for token in tokens:
                    self.comparing.pop(token, None)
                    self.held.pop(token, None)
                    self.committed.discard(token)
                    self.released.append((token, reason))

    def acknowledge(self) -> None:
        """The volunteer gets the oldest answer."""
        self.tell(self.acks.popleft())

    def progress(self) -> bool:
        """Let the next thing succeed; whether there was any."""
        if self.fetching:
            self.fetched(min(self.fetching, key=str))
        elif self.closing:
            self.closed(min(self.closing))
        elif self.stopping:
            self.stopped(min(self.stopping))
        elif self.opening:
            self.opened(min(self.opening))
        elif self.running:
            self.ran(min(self.running))
        elif self.storing:
            self.stored(self.storing[0])
        elif self.outgoing and self.connected:
            self.deliver()
        elif self.acks:
            self.acknowledge()
        else:
            return False
        return True

    def run_through(self) -> None:
        """Let everything succeed until nothing is left to do."""
        for _ in range(10_000):
            if not self.progress():
                return
        raise AssertionError("it never ends")

    # -- what must hold ---------------------------------------------------------------------

    def take(self, command: Command) -> None:
        """Carry out one command, if it is a lawful one."""
        match command:
            case moves.Fetch(ref):
                assert ref not in self.fetching | self.here
                self.fetching.add(ref)
            case moves.Drop(ref):
                assert ref in self.fetching | self.here
                self.fetching.discard(ref)
                self.here.discard(ref)
            case moves.Open(cell, job, slot):
                assert cell not in self.cells and cell not in self.opening
                assert 0 <= slot < self.tuning.slots
                files = self.by_id[job].manifest.program.files
                assert {file.ref for file in files} <= self.here
                self.opening[cell] = command
            case moves.Run(token, unit, cell, ask):
                assert cell not in self.running and cell not in self.closing
                assert ask == self.asks.get(token)
                assert self.cells[cell].job == unit.job
                assert self.leased[token] == unit
                inputs = self.by_id[unit.job].manifest.unit(unit.job, unit.index).inputs
                assert {each.ref for each in inputs} <= self.here
                self.running[cell] = command
            case moves.Judge(token, unit, cell, pair):
                assert cell not in self.running and cell not in self.closing
                assert self.cells[cell].job == unit.job
                assert self.comparing[token] == pair
                for result in (pair.a, pair.b):
                    blobs = () if result.contents else result.result.outputs
                    assert {blob.ref for blob in blobs} <= self.here
                self.running[cell] = command
            case moves.Cut(cell, _):
                assert cell in self.running and cell not in self.closing | self.stopping
                self.cuts.append(command)
            case moves.Stop(cell):
                assert self.scheduler.state_of(self.running[cell].token) is None
                assert self.cells[cell].job in (ASKED.id, BATCH.id)
                self.stopping.add(cell)
            case moves.Close(cell):
                assert cell in self.cells and cell not in self.closing | self.stopping
                self.closing.add(cell)
            case moves.Over(token, unit, state):
                assert token not in self.ended, "a lease ended twice"
                assert state in OVER
                assert self.leased[token] == unit
                self.ended[token] = state
                self.disk.pop(token, None)
            case moves.SendCommits(job, units):
                for each in units:
                    assert each.digest == self.disk[each.token].digest
                    assert self.leased[each.token] == UnitId(job, each.index)
                    self.offered.add(each.token)
            case moves.SendReveals(tokens):
                assert set(tokens) <= self.asked, "revealed what nobody asked for"
                assert set(tokens) <= self.disk.keys()
                assert set(tokens) <= self.offered, "revealed what was not committed"
            case moves.SendJudgement(_, judgement):
                pair = self.comparing[judgement.token]
                assert judgement == pair.judged(judgement.opinion)
            case moves.SendRelease(tokens, _):
                for token in set(tokens) & self.leased.keys() - self.ended.keys():
                    assert self.scheduler.state_of(token) is None
                    del self.leased[token]  # refused at the door: it was never held
            case moves.Warn(message, _):
                self.warned.append(message)
            case moves.Finish():
                self.finished += 1
        if isinstance(
            command,
            moves.SendWant
            | moves.SendCommits
            | moves.SendReveals
            | moves.SendJudgement
            | moves.SendRelease,
        ):
            assert self.connected
            self.outgoing.append(command)

    def check(self) -> None:
        """The rules that hold at every moment."""
        slots = [self.cells[cell].slot for cell in self.running]
        slots += [open_.slot for open_ in self.opening.values()]
        assert len(slots) == len(set(slots)) <= self.tuning.slots
        cells = self.opening | self.cells
        manifests = {cell: self.by_id[each.job].manifest for cell, each in cells.items()}
        memory = sum(
            manifest.limits.memory_bytes
            for cell, manifest in manifests.items()
            if cell in self.running or manifest.program.model
        )
        assert memory <= self.tuning.memory_bytes
        assert len(self.fetching) <= self.tuning.fetches
        assert self.finished <= 1
        for token in self.leased:
            held = self.scheduler.state_of(token) is not None
            assert held != (token in self.ended) or self.restarted, f"lease {token} is lost"
        assert self.scheduler.count(State.RUNNING) <= self.tuning.slots


TUNING = Tuning(slots=2)


def world_of(*jobs: SignedManifest, tuning: Tuning = TUNING, connected: bool = True) -> World:
    world = World(tuning, list(jobs or (PLAIN,)))
    if connected:
        world.connect()
    return world


def commits_in(world: World) -> list[moves.SendCommits]:
    """The commits on the wire."""
    return [each for each in world.outgoing if isinstance(each, moves.SendCommits)]
