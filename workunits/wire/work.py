"""The work session's messages (``docs/protocol.md``, "Work session").

One WebSocket per peer at ``/work``; every binary frame is one canonical bencoded dictionary whose
``t`` names its type. Records that come by the hundred are packed byte strings, not lists. All
times are durations in seconds, so a wrong clock on either side does no harm.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

from workunits import canonical
from workunits.canonical import Fields
from workunits.errors import Blame, MalformedError
from workunits.ids import JobId, LeaseToken, PeerKey
from workunits.manifest import MAX_MANIFEST, MAX_OUTPUTS, SignedManifest
from workunits.results import MAX_RESULT
from workunits.signing import Domain, Identity, verify
from workunits.wire.compare import Compare, Compared
from workunits.wire.handshake import Challenge, Hello
from workunits.wire.holds import Holds
from workunits.wire.models import Ask, Halt, Tokens
from workunits.wire.packing import pack_tokens, read_packed, read_tokens

MAX_FRAME = MAX_MANIFEST + 4096
MAX_BATCH = 1000
MAX_HOLD = 5000
MAX_INLINE = 256 << 10
_LEASE = struct.Struct(">QQ")
_COMMIT = struct.Struct(">QQ32s32s")
COMMIT_SIZE = _COMMIT.size


# From the tracker


@dataclass(frozen=True, slots=True)
class Welcome:
    """The session stands. ``held`` are the leases that the tracker still counts as this peer's,
    ``committed`` those whose results are still to be revealed; the peer forgets all others.

    ``time`` is the tracker's clock in Unix seconds, for telling people that theirs is off.
    """

    t: ClassVar[str] = "welcome"
    time: int
    held: tuple[LeaseToken, ...] = ()
    committed: tuple[LeaseToken, ...] = ()

    def value(self) -> dict[str, object]:
        return {
            "committed": pack_tokens(self.committed),
            "held": pack_tokens(self.held),
            "time": self.time,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Welcome":
        return cls(
            time=fields.integer("time"),
            held=read_tokens(fields, "held", 2 * MAX_HOLD),
            committed=read_tokens(fields, "committed", 100 * MAX_HOLD),
        )


@dataclass(frozen=True, slots=True)
class JobOffer:
    """The signed manifest of a job, sent once a session before the first lease on it."""

    t: ClassVar[str] = "job"
    manifest: bytes
    signature: bytes

    def value(self) -> dict[str, object]:
        return {"manifest": self.manifest, "signature": self.signature}

    @classmethod
    def read(cls, fields: Fields) -> "JobOffer":
        return cls(
            fields.octets("manifest", limit=MAX_MANIFEST), fields.octets("signature", length=64)
        )

    def open(self) -> SignedManifest:
        """Parse the manifest and check its signature."""
        return SignedManifest.of(self.manifest, self.signature)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to compute one unit, until the deadline of its batch."""

    index: int
    token: LeaseToken


@dataclass(frozen=True, slots=True)
class Leases:
    """Units to compute. The batch must be committed within ``seconds``."""

    t: ClassVar[str] = "leases"
    job: JobId
    seconds: int
    leases: tuple[Lease, ...]

    def value(self) -> dict[str, object]:
        packed = b"".join(_LEASE.pack(lease.index, lease.token) for lease in self.leases)
        return {"job": self.job, "leases": packed, "seconds": self.seconds}

    @classmethod
    def read(cls, fields: Fields) -> "Leases":
        return cls(
            job=JobId(fields.octets("job", length=32)),
            seconds=fields.integer("seconds", 1),
            leases=tuple(
                Lease(index, LeaseToken(token))
                for index, token in _LEASE.iter_unpack(
                    read_packed(fields, "leases", _LEASE.size, MAX_HOLD)
                )
            ),
        )


@dataclass(frozen=True, slots=True)
class Committed:
    """These commits are on disk."""

    t: ClassVar[str] = "committed"
    tokens: tuple[LeaseToken, ...]

    def value(self) -> dict[str, object]:
        return {"tokens": pack_tokens(self.tokens)}

    @classmethod
    def read(cls, fields: Fields) -> "Committed":
        return cls(read_tokens(fields, "tokens", MAX_BATCH))


@dataclass(frozen=True, slots=True)
class RevealRequest:
    """Nothing more can be committed for these units: show the results within ``seconds``."""

    t: ClassVar[str] = "reveal"
    seconds: int
    tokens: tuple[LeaseToken, ...]

    def value(self) -> dict[str, object]:
        return {"seconds": self.seconds, "tokens": pack_tokens(self.tokens)}

    @classmethod
    def read(cls, fields: Fields) -> "RevealRequest":
        return cls(fields.integer("seconds", 1), read_tokens(fields, "tokens", MAX_HOLD))


@dataclass(frozen=True, slots=True)
class Revealed:
    """These reveals are on disk; the peer may forget the results (blobs stay seeded)."""

    t: ClassVar[str] = "revealed"
    tokens: tuple[LeaseToken, ...]

    def value(self) -> dict[str, object]:
        return {"tokens": pack_tokens(self.tokens)}

    @classmethod
    def read(cls, fields: Fields) -> "Revealed":
        return cls(read_tokens(fields, "tokens", MAX_BATCH))


@dataclass(frozen=True, slots=True)
class Revoked:
    """These leases are gone (late, cancelled, banned): stop working on them."""

    t: ClassVar[str] = "revoked"
    reason: str
    tokens: tuple[LeaseToken, ...]

    def value(self) -> dict[str, object]:
        return {"reason": self.reason, "tokens": pack_tokens(self.tokens)}

    @classmethod
    def read(cls, fields: Fields) -> "Revoked":
        return cls(fields.text("reason", limit=200), read_tokens(fields, "tokens", MAX_HOLD))


@dataclass(frozen=True, slots=True)
class Failure:
    """An error, with blame. ``blame`` is from the sender's side: ``theirs`` is the receiver's."""

    t: ClassVar[str] = "failure"
    code: str
    message: str
    hint: str
    blame: Blame

    def value(self) -> dict[str, object]:
        return {
            "blame": self.blame.value,
            "code": self.code,
            "hint": self.hint,
            "message": self.message,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Failure":
        blame = fields.text("blame", limit=10)
        if blame not in list(Blame):
            raise MalformedError(f"failure: unknown blame {blame!r}")
        return cls(
            blame=Blame(blame),
            code=fields.text("code", limit=40),
            hint=fields.text("hint", limit=1000),
            message=fields.text("message", limit=2000),
        )


# From the peer


@dataclass(frozen=True, slots=True)
class Want:
    """Flow control: never let me hold more than ``hold`` uncommitted leases. 0 means drain.

    Units that somebody waits for (``wire.models.Ask``) come on top, as many as I have cores.
    """

    t: ClassVar[str] = "want"
    hold: int

    def value(self) -> dict[str, object]:
        return {"hold": self.hold}

    @classmethod
    def read(cls, fields: Fields) -> "Want":
        return cls(fields.integer("hold", 0, MAX_HOLD))


@dataclass(frozen=True, slots=True)
class Commit:
    """One unit's commitment and seal, under a lease."""

    index: int
    token: LeaseToken
    commitment: bytes
    seal: bytes


@dataclass(frozen=True, slots=True)
class Commits:
    """A signed batch of commits for one job."""

    t: ClassVar[str] = "commit"
    job: JobId
    packed: bytes
    signature: bytes

    @classmethod
    def sign(cls, identity: Identity, job: JobId, commits: tuple[Commit, ...]) -> "Commits":
        """Pack and sign ``commits``."""
        batch = cls.unsigned(job, commits)
        return replace(batch, signature=identity.sign(Domain.COMMITS, job + batch.packed))

    @classmethod
    def unsigned(cls, job: JobId, commits: Iterable[Commit]) -> "Commits":
        """Pack ``commits``, for who needs no signature: a simulation."""
        packed = b"".join(
            _COMMIT.pack(each.index, each.token, each.commitment, each.seal) for each in commits
        )
        return cls(job, packed, bytes(64))

    def check(self, peer: PeerKey) -> None:
        """Raise ``SignatureError`` unless ``peer`` signed this batch."""
        verify(peer, Domain.COMMITS, self.job + self.packed, self.signature)

    def __iter__(self) -> Iterator[Commit]:
        for index, token, commitment, seal in _COMMIT.iter_unpack(self.packed):
            yield Commit(index, LeaseToken(token), commitment, seal)

    def value(self) -> dict[str, object]:
        return {"commits": self.packed, "job": self.job, "signature": self.signature}

    @classmethod
    def read(cls, fields: Fields) -> "Commits":
        return cls(
            packed=read_packed(fields, "commits", _COMMIT.size, MAX_BATCH),
            job=JobId(fields.octets("job", length=32)),
            signature=fields.octets("signature", length=64),
        )


@dataclass(frozen=True, slots=True)
class Reveal:
    """One unit's result manifest; ``contents`` are its outputs when they travel inline."""

    token: LeaseToken
    result: bytes
    contents: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Reveals:
    """A batch of reveals."""

    t: ClassVar[str] = "results"
    reveals: tuple[Reveal, ...]

    def value(self) -> dict[str, object]:
        return {
            "results": [
                {"contents": list(each.contents), "result": each.result, "token": each.token}
                for each in self.reveals
            ]
        }

    @classmethod
    def read(cls, fields: Fields) -> "Reveals":
        reveals = []
        for group in fields.groups("results", MAX_BATCH):
            contents = group.blocks("contents", MAX_OUTPUTS, MAX_INLINE)
            result = group.octets("result", limit=MAX_RESULT)
            reveals.append(Reveal(LeaseToken(group.integer("token")), result, contents))
            group.end()
        return cls(tuple(reveals))


@dataclass(frozen=True, slots=True)
class Release:
    """Leases given back uncomputed, and why (``image``, ``engine``, ``blob``, ``shutdown``...)."""

    t: ClassVar[str] = "release"
    tokens: tuple[LeaseToken, ...]
    reason: str

    def value(self) -> dict[str, object]:
        return {"reason": self.reason, "tokens": pack_tokens(self.tokens)}

    @classmethod
    def read(cls, fields: Fields) -> "Release":
        return cls(read_tokens(fields, "tokens", MAX_HOLD), fields.text("reason", limit=200))


FromTracker: TypeAlias = (
    Challenge
    | Welcome
    | JobOffer
    | Leases
    | Committed
    | RevealRequest
    | Revealed
    | Revoked
    | Compare
    | Ask
    | Halt
    | Failure
)
FromPeer: TypeAlias = Hello | Holds | Want | Commits | Reveals | Release | Compared | Tokens

_TRACKER_TYPES: dict[str, Callable[[Fields], FromTracker]] = {
    kind.t: kind.read
    for kind in (
        Challenge,
        Welcome,
        JobOffer,
        Leases,
        Committed,
        RevealRequest,
        Revealed,
        Revoked,
        Compare,
        Ask,
        Halt,
        Failure,
    )
}
_PEER_TYPES: dict[str, Callable[[Fields], FromPeer]] = {
    kind.t: kind.read for kind in (Hello, Holds, Want, Commits, Reveals, Release, Compared, Tokens)
}


def encode(message: FromTracker | FromPeer) -> bytes:
    """The frame of ``message``."""
    return canonical.encode(message.value() | {"t": message.t})


def parse_from_tracker(frame: bytes) -> FromTracker:
    """Parse a frame that a tracker sent."""
    fields, kind = _open(frame)
    if kind not in _TRACKER_TYPES:
        raise MalformedError(f"a tracker sends no message of type {kind!r}")
    message = _TRACKER_TYPES[kind](fields)
    fields.end()
    return message


def parse_from_peer(frame: bytes) -> FromPeer:
    """Parse a frame that a peer sent."""
    fields, kind = _open(frame)
    if kind not in _PEER_TYPES:
        raise MalformedError(f"a peer sends no message of type {kind!r}")
    message = _PEER_TYPES[kind](fields)
    fields.end()
    return message


def _open(frame: bytes) -> tuple[Fields, str]:
    fields = canonical.decode_fields(frame, limit=MAX_FRAME, what="frame")
    return fields, fields.text("t", limit=20)
