"""What the tracker keeps, as rows: the state machine emits them, the store writes them.

A row is the whole new state of one thing, so writing it twice changes nothing and of several
versions in one transaction only the last counts.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class JobRow(NamedTuple):
    """A job. Counts are those of the moment the row was written; a live job counts in memory."""

    id: bytes
    manifest: bytes
    signature: bytes
    submitter: bytes
    name: str
    state: str
    created: float
    units: int
    accepted: int
    failed: int
    executions: int
    wrong: int
    paid: int
    returned: int
    reason: str


class UnitRow(NamedTuple):
    """A unit that was leased at least once."""

    job: bytes
    idx: int
    stage: str
    attempts: int
    drawn: bytes
    shown: bytes
    reopened: int
    confirmed: int
    result: bytes
    reason: str


class ExecutionRow(NamedTuple):
    """One peer's attempt at one unit."""

    token: int
    job: bytes
    idx: int
    peer: bytes
    owner: bytes
    doing: str
    commitment: bytes
    seal: bytes
    lot: int
    proven: int
    referee: int
    platform: str
    entry: int
    result: bytes


class ContentRow(NamedTuple):
    """A small output that came inline, by v2 info-hash."""

    v2: bytes
    data: bytes


class PeerRow(NamedTuple):
    """What verdicts have said of a peer."""

    key: bytes
    owner: bytes
    validator: int
    right: int
    wrong: int
    withheld: int
    alone: int
    late: int
    banned: int


class ScoreRow(NamedTuple):
    """What a peer is worth: in a kind of work, or struck by a submitter or by all (``about``)."""

    peer: bytes
    what: str
    about: bytes
    amount: float
    at: float


class BeaconRow(NamedTuple):
    """How many links of its beacon the tracker has shown."""

    id: int
    used: int


class RingersRow(NamedTuple):
    """The answers to some units of a job that its submitter knows."""

    job: bytes
    ringers: bytes


class EntryRow(NamedTuple):
    """A ledger entry and its leaf of the log's tree."""

    number: int
    leaf: bytes
    entry: bytes


class AccountRow(NamedTuple):
    """A balance, and what led to it."""

    account: bytes
    balance: int
    earned: int
    spent: int


class StatementRow(NamedTuple):
    """A signed statement that was carried out."""

    id: bytes
    raw: bytes
    signature: bytes
    time: int


class BlobRow(NamedTuple):
    """A blob that the tracker keeps as a web seed."""

    v2: bytes
    length: int
    info: bytes
    account: bytes


class TorrentRow(NamedTuple):
    """A torrent that somebody registered: v1 (20 bytes) or v2 (32 bytes) info-hash, or both; the
    other one is empty. ``removed`` is 1 for one that is to be forgotten."""

    account: bytes
    v1: bytes
    v2: bytes
    length: int
    name: str
    private: int
    time: int
    removed: int


class MemberRow(NamedTuple):
    """What the operator said of a key: whether it is a member whatever else it is, and which of
    its passkeys is valid (0 for none). ``issued`` counts all that there ever were."""

    account: bytes
    admitted: int
    issued: int
    valid: int


class ModelRow(NamedTuple):
    """A published model: its card is a blob. ``withdrawn`` is Unix seconds, 0 while it stands."""

    name: str
    author: bytes
    v2: bytes
    v1: bytes
    length: int
    created: int
    withdrawn: int


class ApiKeyRow(NamedTuple):
    """An API key, by the SHA-256 of its secret; ``budget`` and ``spent`` are credits."""

    hash: bytes
    owner: bytes
    name: str
    budget: int
    spent: int
    per_minute: int
    created: int
    closed: int


class UsageRow(NamedTuple):
    """What an API key used a model for: counts, never what was said."""

    key: bytes
    model: str
    requests: int
    prompt: int
    generated: int
    milliseconds: int
    verified: int
    cost: int


Row: TypeAlias = (
    JobRow
    | UnitRow
    | ExecutionRow
    | ContentRow
    | PeerRow
    | ScoreRow
    | BeaconRow
    | RingersRow
    | EntryRow
    | AccountRow
    | StatementRow
    | BlobRow
    | TorrentRow
    | MemberRow
    | ModelRow
    | ApiKeyRow
    | UsageRow
)


@dataclass(frozen=True, slots=True)
class Table:
    """Where rows of a kind live; the first ``keys`` columns identify one."""

    name: str
    keys: int


TABLES: dict[type[Row], Table] = {
    JobRow: Table("jobs", 1),
    UnitRow: Table("units", 2),
    ExecutionRow: Table("executions", 1),
    ContentRow: Table("contents", 1),
    PeerRow: Table("peers", 1),
    ScoreRow: Table("scores", 3),
    BeaconRow: Table("beacon", 1),
    RingersRow: Table("ringers", 1),
    EntryRow: Table("ledger", 1),
    AccountRow: Table("accounts", 1),
    StatementRow: Table("statements", 1),
    BlobRow: Table("blobs", 1),
    TorrentRow: Table("torrents", 3),
    MemberRow: Table("members", 1),
    ModelRow: Table("models", 1),
    ApiKeyRow: Table("api_keys", 1),
    UsageRow: Table("usage", 2),
}
