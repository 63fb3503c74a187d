"""What goes into the scheduler and what comes out: events and commands, all of them frozen.

The tracker's messages ``Leases``, ``Committed``, ``RevealRequest``, ``Revealed`` and ``Revoked``
are events as they stand, and so are ``Compare``, ``Ask`` and ``Halt``.
"""

from dataclasses import dataclass
from typing import TypeAlias

from client.scheduling.leases import State
from client.scheduling.needs import Need
from workunits.ids import Digest, JobId, LeaseToken, UnitId
from workunits.manifest import SignedManifest
from workunits.wire import work
from workunits.wire.compare import Compare, Judgement, Opinion, Pair
from workunits.wire.models import Ask, Halt

# Events


@dataclass(frozen=True, slots=True)
class Kept:
    """A result that an earlier run of this volunteer left on disk."""

    token: LeaseToken
    unit: UnitId
    digest: Digest


@dataclass(frozen=True, slots=True)
class Connected:
    """A session stands. ``held`` and ``committed`` are the tracker's word, ``kept`` our disk's."""

    held: tuple[LeaseToken, ...] = ()
    committed: tuple[LeaseToken, ...] = ()
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The session is gone; whatever was not acknowledged may or may not have arrived."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A job whose units may be leased to us."""

    job: SignedManifest


@dataclass(frozen=True, slots=True)
class Fetched:
    """A blob or an image is here, and stays until ``Drop``."""

    ref: Need


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """A blob or an image cannot be had now."""

    ref: Need


@dataclass(frozen=True, slots=True)
class Opened:
    """A cell is ready to run units."""

    cell: int


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """A cell could not be opened; it is gone. ``reason`` is ``image``, ``model``,
    ``memory`` or ``engine``."""

    cell: int
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A cell is gone, and whatever ran in it."""

    cell: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """What ran in a cell has ended, and the cell is good for another."""

    cell: int


@dataclass(frozen=True, slots=True)
class Ran:
    """The program of a unit ended; its cell is free."""

    token: LeaseToken


@dataclass(frozen=True, slots=True)
class RunFailed:
    """A unit, or a comparison, was lost on our side: no result."""

    token: LeaseToken
    reason: str


@dataclass(frozen=True, slots=True)
class Computed:
    """The result of a unit is on disk."""

    token: LeaseToken
    digest: Digest


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The result of a unit could not be kept."""

    token: LeaseToken
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparator ended; its cell is free."""

    token: LeaseToken
    opinion: Opinion


@dataclass(frozen=True, slots=True)
class ResultsLost:
    """Results that were on disk cannot be read."""

    tokens: tuple[LeaseToken, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Start nothing new until ``Resume``; what runs goes on."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The end of a pause."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish what runs, commit and reveal it, then end."""


Event: TypeAlias = (
    Connected
    | Disconnected
    | Offered
    | work.Leases
    | work.Committed
    | work.RevealRequest
    | work.Revealed
    | work.Revoked
    | Compare
    | Ask
    | Halt
    | Fetched
    | FetchFailed
    | Opened
    | OpenFailed
    | Closed
    | Stopped
    | Ran
    | RunFailed
    | Computed
    | StoreFailed
    | Judged
    | ResultsLost
    | Tick
    | Pause
    | Resume
    | Drain
)

# Commands


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a blob or an image and keep it here. Answered by ``Fetched`` or ``FetchFailed``."""

    ref: Need


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody needs this blob or image now; end a fetch that is under way (no answer)."""

    ref: Need


@dataclass(frozen=True, slots=True)
class Open:
    """Open a cell for a job. Answered by ``Opened`` or ``OpenFailed``."""

    cell: int
    job: JobId
    slot: int


@dataclass(frozen=True, slots=True)
class Run:
    """Run a unit in an open cell. Answered by ``Ran`` or ``RunFailed``, if not ended first.

    ``ask`` is what the tracker said of a unit that asks a model.
    """

    token: LeaseToken
    unit: UnitId
    cell: int
    ask: Ask | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """Compare two results in an open cell. Answered like ``Run``, by ``Judged``/``RunFailed``."""

    token: LeaseToken
    unit: UnitId
    cell: int
    pair: Pair


@dataclass(frozen=True, slots=True)
class Cut:
    """End the answer under way in a cell after so many tokens. Its unit goes on as ever."""

    cell: int
    after: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End what runs in the cell of a model, whose unit is over, and keep the cell if that can be.

    Answered by ``Stopped``, or by ``Closed``.
    """

    cell: int


@dataclass(frozen=True, slots=True)
class Close:
    """End a cell, and what runs in it. Answered by ``Closed``."""

    cell: int


@dataclass(frozen=True, slots=True)
class SendWant:
    """Tell the tracker how many uncommitted leases we want to hold."""

    hold: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A computed unit that is to be committed."""

    token: LeaseToken
    index: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class SendCommits:
    """Commit these units of one job."""

    job: JobId
    units: tuple[Ready, ...]


@dataclass(frozen=True, slots=True)
class SendReveals:
    """Show these results."""

    tokens: tuple[LeaseToken, ...]


@dataclass(frozen=True, slots=True)
class SendJudgement:
    """Say what the comparator of a job said."""

    job: JobId
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class SendRelease:
    """Give these leases back."""

    tokens: tuple[LeaseToken, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Over:
    """A lease ended, once and for all. ``state`` is one of ``leases.OVER``; forget its result."""

    token: LeaseToken
    unit: UnitId
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    """For people: the tracker has the commit of a unit."""

    unit: UnitId


@dataclass(frozen=True, slots=True)
class Warn:
    """For people: something is not as it should be."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """The drain is over."""


Command: TypeAlias = (
    Fetch
    | Drop
    | Open
    | Run
    | Judge
    | Cut
    | Stop
    | Close
    | SendWant
    | SendCommits
    | SendReveals
    | SendJudgement
    | SendRelease
    | Over
    | Committed
    | Warn
    | Finish
)
