"""What a volunteer tells people while it works. The command line prints these."""

from dataclasses import dataclass
from typing import TypeAlias

from workunits.ids import BlobRef, JobId, PeerKey, UnitId


@dataclass(frozen=True, slots=True)
class Online:
    """Connected to the tracker with this key."""

    tracker: PeerKey


@dataclass(frozen=True, slots=True)
class Offline:
    """The connection was lost or could not be made; the next try is in ``retry`` seconds."""

    reason: str
    hint: str
    retry: float


@dataclass(frozen=True, slots=True)
class JobSeen:
    """The tracker offers a job. ``model`` is the engine of the model that it asks, if it asks one;
    with ``asked`` its units come one by one."""

    job: JobId
    name: str
    units: int
    model: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Fetching:
    """A blob is being fetched."""

    ref: BlobRef


@dataclass(frozen=True, slots=True)
class Started:
    """A unit runs."""

    unit: UnitId
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Finished:
    """A unit has ended, after ``seconds``. ``failure`` is empty when it gave what it should."""

    unit: UnitId
    seconds: float
    failure: str
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A unit that asks a model has ended, after ``seconds``. Of its ``tokens`` it made ``rate`` a
    second; with ``checked`` it looked at somebody else's. ``failure`` as in ``Finished``."""

    unit: UnitId
    seconds: float
    tokens: int
    rate: float
    checked: bool
    failure: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A job's comparator has ended, after ``seconds``: ``same``, ``different`` or ``failed``."""

    unit: UnitId
    seconds: float
    opinion: str
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Committed:
    """The tracker has our commitment to a unit's result."""

    unit: UnitId


@dataclass(frozen=True, slots=True)
class Revealed:
    """The tracker has a unit's result: our part in it is done."""

    unit: UnitId


@dataclass(frozen=True, slots=True)
class GivenBack:
    """We gave a unit back."""

    unit: UnitId
    reason: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The tracker took a unit back."""

    unit: UnitId
    reason: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is not as it should be; work goes on."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Forked:
    """The tracker has shown two histories of its ledger; the volunteer stops."""

    message: str
    hint: str


Notice: TypeAlias = (
    Online
    | Offline
    | JobSeen
    | Fetching
    | Started
    | Finished
    | Answered
    | Compared
    | Committed
    | Revealed
    | GivenBack
    | TakenBack
    | Warned
    | Forked
)
