"""Signed statements: every change that a person asks for over REST.

A statement is canonical bencode signed by who says it. Its id is its hash, so saying it twice
changes nothing, and a ledger can carry it as the reason for an entry.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeAlias

from workunits import canonical
from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import BlobRef, JobId, PeerKey
from workunits.names import plain_text
from workunits.signing import Domain, Identity, verify

MAX_STATEMENT = 4096
MAX_AGE = 600
"""Seconds by which the time in a statement may differ from the tracker's clock."""

MAX_AMOUNT = 10**15
MAX_TORRENT_NAME = 200
MAX_MODEL_NAME = 100
MAX_KEY_NAME = 100
MAX_PER_MINUTE = 10**6
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")


@dataclass(frozen=True, slots=True)
class Grant:
    """The operator mints ``amount`` credits for ``account``."""

    t: ClassVar[str] = "grant"
    account: PeerKey
    amount: int

    def value(self) -> dict[str, object]:
        return {"account": self.account, "amount": self.amount}

    @classmethod
    def read(cls, fields: Fields) -> "Grant":
        return cls(
            PeerKey(fields.octets("account", length=32)), fields.integer("amount", 1, MAX_AMOUNT)
        )


@dataclass(frozen=True, slots=True)
class Cancel:
    """The submitter ends a job; what is left of its escrow goes back."""

    t: ClassVar[str] = "cancel"
    job: JobId

    def value(self) -> dict[str, object]:
        return {"job": self.job}

    @classmethod
    def read(cls, fields: Fields) -> "Cancel":
        return cls(JobId(fields.octets("job", length=32)))


@dataclass(frozen=True, slots=True)
class Upload:
    """A peer wants the tracker to keep a blob as its web seed (v2 info-hash, length)."""

    t: ClassVar[str] = "upload"
    blob: bytes
    length: int

    def value(self) -> dict[str, object]:
        return {"blob": self.blob, "length": self.length}

    @classmethod
    def read(cls, fields: Fields) -> "Upload":
        return cls(fields.octets("blob", length=32), fields.integer("length"))


@dataclass(frozen=True, slots=True)
class Pay:
    """The author pays ``amount`` credits to ``account``."""

    t: ClassVar[str] = "pay"
    account: PeerKey
    amount: int

    def value(self) -> dict[str, object]:
        return {"account": self.account, "amount": self.amount}

    @classmethod
    def read(cls, fields: Fields) -> "Pay":
        return cls(
            PeerKey(fields.octets("account", length=32)), fields.integer("amount", 1, MAX_AMOUNT)
        )


@dataclass(frozen=True, slots=True)
class Register:
    """The author wants the tracker to track a torrent, of which it has at least one info-hash.

    ``v1`` is 20 bytes and ``v2`` 32; the one that the torrent has not is empty. ``private`` says
    that its clients ask no other source for peers (BEP 27).
    """

    t: ClassVar[str] = "register"
    v1: bytes
    v2: bytes
    length: int
    name: str
    private: bool = False

    def value(self) -> dict[str, object]:
        return {
            "length": self.length,
            "name": self.name,
            "private": int(self.private),
            "v1": self.v1,
            "v2": self.v2,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Register":
        v1, v2 = _hashes(fields)
        name = plain_text(fields.text("name", limit=MAX_TORRENT_NAME), "the torrent's name")
        return cls(v1, v2, fields.integer("length"), name, fields.flag("private"))


@dataclass(frozen=True, slots=True)
class Unregister:
    """The author takes back what it registered under exactly these info-hashes."""

    t: ClassVar[str] = "unregister"
    v1: bytes
    v2: bytes

    def value(self) -> dict[str, object]:
        return {"v1": self.v1, "v2": self.v2}

    @classmethod
    def read(cls, fields: Fields) -> "Unregister":
        return cls(*_hashes(fields))


@dataclass(frozen=True, slots=True)
class Admit:
    """The operator says whether ``account`` is a member of a tracker that is for members."""

    t: ClassVar[str] = "admit"
    account: PeerKey
    admitted: bool

    def value(self) -> dict[str, object]:
        return {"account": self.account, "admitted": int(self.admitted)}

    @classmethod
    def read(cls, fields: Fields) -> "Admit":
        return cls(PeerKey(fields.octets("account", length=32)), fields.flag("admitted"))


@dataclass(frozen=True, slots=True)
class Passkey:
    """The operator ends the passkey of ``account``, and makes a new one if it is ``wanted``."""

    t: ClassVar[str] = "passkey"
    account: PeerKey
    wanted: bool

    def value(self) -> dict[str, object]:
        return {"account": self.account, "wanted": int(self.wanted)}

    @classmethod
    def read(cls, fields: Fields) -> "Passkey":
        return cls(PeerKey(fields.octets("account", length=32)), fields.flag("wanted"))


@dataclass(frozen=True, slots=True)
class Publish:
    """The author lets a model be asked under ``name``, which is its own from then on; ``card`` is
    the blob that describes it (``workunits.models.card``). Of two statements with one name the
    later one counts."""

    t: ClassVar[str] = "publish"
    name: str
    card: BlobRef

    def value(self) -> dict[str, object]:
        return {
            "length": self.card.length,
            "name": self.name,
            "v1": self.card.v1,
            "v2": self.card.v2,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Publish":
        v2, v1 = fields.octets("v2", length=32), fields.octets("v1", length=20)
        return cls(_model_name(fields), BlobRef(v2, v1, fields.integer("length", 1)))


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Who published a model, or the operator, takes it back: it cannot be asked any more."""

    t: ClassVar[str] = "withdraw"
    name: str

    def value(self) -> dict[str, object]:
        return {"name": self.name}

    @classmethod
    def read(cls, fields: Fields) -> "Withdraw":
        return cls(_model_name(fields))


@dataclass(frozen=True, slots=True)
class OpenKey:
    """The author pays ``amount`` credits to the operator, and whoever has the secret may ask
    models for as much.

    ``hash`` is SHA-256 of the secret, ``name`` is for people, ``per_minute`` how many requests the
    key may make in a minute.
    """

    t: ClassVar[str] = "open_key"
    hash: bytes
    name: str
    amount: int
    per_minute: int

    def value(self) -> dict[str, object]:
        return {
            "amount": self.amount,
            "hash": self.hash,
            "name": self.name,
            "per_minute": self.per_minute,
        }

    @classmethod
    def read(cls, fields: Fields) -> "OpenKey":
        return cls(
            fields.octets("hash", length=32),
            plain_text(fields.text("name", limit=MAX_KEY_NAME), "the key's name"),
            fields.integer("amount", 1, MAX_AMOUNT),
            fields.integer("per_minute", 1, MAX_PER_MINUTE),
        )


@dataclass(frozen=True, slots=True)
class CloseKey:
    """Whoever opened a key, or the operator, ends it. What is left of its amount is paid back by
    the operator's own word (``Pay``)."""

    t: ClassVar[str] = "close_key"
    hash: bytes

    def value(self) -> dict[str, object]:
        return {"hash": self.hash}

    @classmethod
    def read(cls, fields: Fields) -> "CloseKey":
        return cls(fields.octets("hash", length=32))


def _model_name(fields: Fields) -> str:
    name = fields.text("name", limit=MAX_MODEL_NAME)
    if not _MODEL_NAME.fullmatch(name):
        raise MalformedError(
            f"a model cannot have the name {name!r}",
            hint="Use letters, digits and . _ : / -, beginning with a letter or a digit.",
        )
    return name


def _hashes(fields: Fields) -> tuple[bytes, bytes]:
    v1, v2 = fields.octets("v1", limit=20), fields.octets("v2", limit=32)
    if len(v1) not in (0, 20) or len(v2) not in (0, 32) or not (v1 or v2):
        raise MalformedError(
            "a torrent needs a v1 info-hash of 20 bytes, or a v2 one of 32, or both",
            hint="Leave the one that it has not empty.",
        )
    return v1, v2


Claim: TypeAlias = (
    Grant
    | Cancel
    | Upload
    | Pay
    | Register
    | Unregister
    | Admit
    | Passkey
    | Publish
    | Withdraw
    | OpenKey
    | CloseKey
)
_TYPES: dict[str, type[Claim]] = {
    kind.t: kind
    for kind in (
        *(Grant, Cancel, Upload, Pay, Register, Unregister, Admit, Passkey),
        *(Publish, Withdraw, OpenKey, CloseKey),
    )
}


@dataclass(frozen=True)
class Statement:
    """A claim, who makes it, when (Unix seconds), and the bytes and signature that prove it."""

    raw: bytes
    signature: bytes
    author: PeerKey
    time: int
    claim: Claim

    @cached_property
    def id(self) -> bytes:
        """SHA-256 of the signed bytes."""
        return hashlib.sha256(self.raw).digest()

    @classmethod
    def sign(cls, identity: Identity, claim: Claim, *, time: int, nonce: bytes) -> "Statement":
        """Sign ``claim``; ``nonce`` (16 bytes) tells two equal claims apart."""
        raw = canonical.encode(
            {"author": identity.key, "claim": claim.value(), "nonce": nonce, "t": claim.t}
            | {"time": time}
        )
        return cls(raw, identity.sign(Domain.STATEMENT, raw), identity.key, time, claim)

    def encode(self) -> bytes:
        """The bytes that travel."""
        return canonical.encode({"signature": self.signature, "statement": self.raw})

    @classmethod
    def parse(cls, envelope: bytes) -> "Statement":
        """Read a statement strictly and check its signature (not its time)."""
        outer = canonical.decode_fields(envelope, limit=MAX_STATEMENT, what="statement")
        raw = outer.octets("statement", limit=MAX_STATEMENT)
        signature = outer.octets("signature", length=64)
        outer.end()
        fields = canonical.decode_fields(raw, limit=MAX_STATEMENT, what="statement")
        author = PeerKey(fields.octets("author", length=32))
        fields.octets("nonce", length=16)
        kind, time = fields.text("t", limit=20), fields.integer("time")
        group = fields.group("claim")
        fields.end()
        if kind not in _TYPES:
            raise MalformedError(f"unknown statement {kind!r}")
        claim = _TYPES[kind].read(group)
        group.end()
        verify(author, Domain.STATEMENT, raw, signature)
        return cls(raw, signature, author, time, claim)
