"""What a tracker's REST interface shows: jobs, units, accounts, peers, status.

Answers are remote input. They are read once, strictly and with limits, into these classes.
"""

from dataclasses import dataclass
from typing import Any, Self

from client.json_fields import JsonFields
from workunits.errors import MalformedError
from workunits.ids import BlobRef, JobId, PeerKey
from workunits.manifest import MAX_OUTPUTS, NO_DEMANDS
from workunits.names import file_name, parameter_name
from workunits.parameters import MAX_AXES, MAX_VALUE_BYTES, NamedBlob
from workunits.results import Ending
from workunits.verification import MAX_SETTINGS, Demands

MAX_PAGE = 10_000
MAX_PEERS_OF_UNIT = 100
_BALANCE = 2**62


@dataclass(frozen=True, slots=True)
class Counts:
    """How many units of a job are in which state."""

    open: int
    computing: int
    revealing: int
    settled: int
    accepted: int
    failed: int
    cancelled: int

    @property
    def done(self) -> int:
        """Units that have a verdict, final or not, or get none any more."""
        return self.settled + self.accepted + self.failed + self.cancelled

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        return cls(**{name: fields.integer(name, default=0) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Escrow:
    """Credits of a job: still set aside, paid to peers, returned to the submitter."""

    held: int
    paid: int
    returned: int

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        return cls(**{name: fields.integer(name, default=0) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class DemandsView:
    """What a job asks of verification beyond its policy; ``ringers``: some answers are known."""

    settings: dict[str, int]
    same_platform: bool
    reputation: int
    ringers: bool

    @classmethod
    def of(cls, demands: Demands) -> Self:
        """What a manifest demands."""
        settings = dict(demands.settings)
        return cls(settings, demands.same_platform, demands.reputation, bool(demands.ringers))

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        settings = fields.integers("settings", MAX_SETTINGS)
        for name in settings:
            parameter_name(name, "setting")
        return cls(
            settings,
            fields.flag("same_platform"),
            fields.integer("reputation"),
            fields.flag("ringers"),
        )


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the tracker sees it. ``created`` is Unix seconds, ``price`` credits; the units of
    one that is ``asked`` come while it runs, and ``units`` is only how many there may be."""

    id: JobId
    name: str
    submitter: PeerKey
    policy: str
    comparator: str
    demands: DemandsView
    price: int
    units: int
    counts: Counts
    executions: int
    wrong: int
    escrow: Escrow
    state: str
    created: float
    reason: str
    asked: bool = False

    @property
    def active(self) -> bool:
        """Whether anything more happens."""
        return self.state == "active"

    @property
    def done(self) -> int:
        """Units that were decided. Those of an ``asked`` job that nobody asked for, which are
        cancelled at its end, do not count."""
        return self.counts.done - (self.counts.cancelled if self.asked else 0)

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        state = fields.text("state", limit=20)
        if state not in ("active", "finished", "cancelled"):
            raise MalformedError(f"job: unknown state {state!r}")
        return cls(
            id=JobId(fields.octets("id", 32)),
            name=fields.text("name", limit=100),
            submitter=PeerKey(fields.octets("submitter", 32)),
            policy=fields.text("policy", limit=20),
            comparator=fields.text("comparator", limit=20),
            demands=DemandsView.read(fields.group("demands"))
            if fields.has("demands")
            else DemandsView.of(NO_DEMANDS),
            price=fields.integer("price"),
            units=fields.integer("units"),
            counts=Counts.read(fields.group("counts")),
            executions=fields.integer("executions", default=0),
            wrong=fields.integer("wrong", default=0),
            escrow=Escrow.read(fields.group("escrow")),
            state=state,
            created=fields.number("created"),
            reason=fields.text("reason", limit=2000, default=""),
            asked=fields.flag("asked", default=False),
        )


@dataclass(frozen=True, slots=True)
class ResultView:
    """How a unit ended, and the blobs that it left."""

    ending: str
    exit_status: int
    outputs: tuple[NamedBlob, ...]

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        ending = fields.text("ending", limit=20)
        if ending not in list(Ending):
            raise MalformedError(f"result: unknown ending {ending!r}")
        return cls(
            ending,
            fields.integer("exit", 0, 255),
            tuple(_output(group) for group in fields.groups("outputs", MAX_OUTPUTS)),
        )


def _output(fields: JsonFields) -> NamedBlob:
    return NamedBlob(
        file_name(fields.text("name", limit=100), "output"),
        BlobRef(fields.octets("v2", 32), fields.octets("v1", 20), fields.integer("length")),
    )


@dataclass(frozen=True, slots=True)
class UnitView:
    """One unit: its state, parameters, final result, who was right and who was wrong."""

    index: int
    state: str
    parameters: dict[str, str]
    result: ResultView | None
    winners: tuple[PeerKey, ...]
    losers: tuple[PeerKey, ...]
    reason: str

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        parameters = fields.texts("parameters", MAX_AXES, MAX_VALUE_BYTES)
        for name in parameters:
            parameter_name(name, "parameter")
        return cls(
            index=fields.integer("index"),
            state=fields.text("state", limit=20),
            parameters=parameters,
            result=ResultView.read(fields.group("result")) if fields.has("result") else None,
            winners=_peers(fields, "winners"),
            losers=_peers(fields, "losers"),
            reason=fields.text("reason", limit=2000, default=""),
        )


def _peers(fields: JsonFields, key: str) -> tuple[PeerKey, ...]:
    if not fields.has(key):
        return ()
    return tuple(PeerKey(value) for value in fields.octets_list(key, 32, MAX_PEERS_OF_UNIT))


@dataclass(frozen=True, slots=True)
class UnitPage:
    """Some units in order of index; ``next`` is the ``after`` of the following page, or None."""

    units: tuple[UnitView, ...]
    next: int | None

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        return cls(
            tuple(UnitView.read(group) for group in fields.groups("units", MAX_PAGE)),
            fields.integer("next") if fields.has("next") else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What verdicts have said of a peer.

    ``right`` and ``wrong`` results, those that were ``withheld`` and leases that were ``late`` are
    counted for good. ``verified`` ones, which somebody else confirmed, and ``strikes`` fade.
    """

    right: int
    wrong: int
    withheld: int
    late: int
    verified: int
    strikes: int
    doubted: bool
    banned: bool

    @property
    def trouble(self) -> str:
        """In a word, what is held against it; empty when nothing is."""
        return "banned" if self.banned else "doubted" if self.doubted else ""


def _standing(fields: JsonFields) -> dict[str, Any]:
    names = ("right", "wrong", "withheld", "late", "verified", "strikes")
    counts = {name: fields.integer(name, default=0) for name in names}
    return counts | {name: fields.flag(name, default=False) for name in ("doubted", "banned")}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView(Standing):
    """Credits of an account and the verdicts on its work."""

    account: str
    balance: int
    earned: int
    spent: int

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        return cls(
            account=fields.text("account", limit=100),
            balance=fields.integer("balance", -_BALANCE, _BALANCE),
            earned=fields.integer("earned", default=0),
            spent=fields.integer("spent", default=0),
            **_standing(fields),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView(Standing):
    """A peer that the tracker knows."""

    key: PeerKey
    owner: PeerKey
    role: str
    cores: int
    agent: str
    leases: int
    connected: bool

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        key = PeerKey(fields.octets("key", 32))
        return cls(
            key=key,
            owner=PeerKey(fields.octets("owner", 32)) if fields.has("owner") else key,
            role=fields.text("role", limit=20, default=""),
            cores=fields.integer("cores", default=0),
            agent=fields.text("agent", limit=100, default=""),
            leases=fields.integer("leases", default=0),
            connected=fields.flag("connected", default=False),
            **_standing(fields),
        )


@dataclass(frozen=True, slots=True)
class StatusView:
    """The tracker itself. ``time`` is its clock in Unix seconds."""

    tracker: PeerKey
    version: str
    time: float
    connected: int
    jobs: int
    entries: int
    minted: int

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        ledger = fields.group("ledger")
        return cls(
            tracker=PeerKey(fields.octets("tracker", 32)),
            version=fields.text("version", limit=40),
            time=fields.number("time"),
            connected=fields.group("peers").integer("connected"),
            jobs=fields.group("jobs").integer("active"),
            entries=ledger.integer("entries"),
            minted=ledger.integer("minted", 0, _BALANCE),
        )
