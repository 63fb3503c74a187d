"""How a work session begins: the tracker challenges, the peer says who it is and what it brings."""

from dataclasses import dataclass
from typing import ClassVar, Self

from workunits import canonical
from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import HASH_SIZE, PeerKey
from workunits.signing import SIGNATURE_SIZE, Domain, Identity, verify

MAX_DISK = 2**60
MAX_VOUCH = 256
"""Bytes of a vouch outside of a hello."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """First frame: sign this nonce, for this tracker."""

    t: ClassVar[str] = "challenge"
    nonce: bytes
    tracker: PeerKey

    def value(self) -> dict[str, object]:
        return {"nonce": self.nonce, "tracker": self.tracker}

    @classmethod
    def read(cls, fields: Fields) -> "Challenge":
        return cls(fields.octets("nonce", length=32), PeerKey(fields.octets("tracker", length=32)))


@dataclass(frozen=True, slots=True)
class Offerings:
    """What a peer brings: its role, what it may be asked to run, and what it holds.

    ``platform`` is its class of machines, such as ``x86_64``: floating point may differ between
    two of them. ``disk_bytes`` is all that it gives for what jobs read; what is left of it at the
    moment, and what it holds, is in ``Holds``. ``models`` is whether it may be asked to run
    language models.
    """

    validator: bool
    cores: int
    memory_bytes: int
    images: tuple[str, ...]
    agent: str
    platform: str = ""
    disk_bytes: int = 0
    models: bool = True

    def value(self) -> dict[str, object]:
        value: dict[str, object] = {
            "agent": self.agent,
            "cores": self.cores,
            "images": list(self.images),
            "memory": self.memory_bytes,
            "platform": self.platform,
            "validator": int(self.validator),
        }
        if self.disk_bytes:
            value["disk"] = self.disk_bytes
        if not self.models:
            value["models"] = 0
        return value

    @classmethod
    def read(cls, fields: Fields) -> "Offerings":
        offerings = cls(
            agent=fields.text("agent", limit=100),
            cores=fields.integer("cores", 1, 4096),
            disk_bytes=fields.integer("disk", 1, MAX_DISK) if fields.has("disk") else 0,
            images=fields.texts("images", count=256, limit=80),
            memory_bytes=fields.integer("memory", 0, 2**50),
            models=not fields.has("models") or bool(fields.integer("models", 0, 0)),
            platform=fields.text("platform", limit=40),
            validator=fields.flag("validator"),
        )
        fields.end()
        return offerings


@dataclass(frozen=True, slots=True)
class Vouch:
    """An owner's word that a peer is his. Two peers of one owner never check each other."""

    owner: PeerKey
    signature: bytes

    @classmethod
    def sign(cls, owner: Identity, peer: PeerKey) -> "Vouch":
        """Let ``owner`` vouch for ``peer``."""
        return cls(owner.key, owner.sign(Domain.OWNER, peer))

    def check(self, peer: PeerKey) -> None:
        """Raise ``SignatureError`` unless the owner vouched for ``peer``."""
        verify(self.owner, Domain.OWNER, peer, self.signature)

    def line(self) -> str:
        """The vouch as a line of hex, which people hand over from machine to machine."""
        return canonical.encode([self.owner, self.signature]).hex()

    @classmethod
    def parse_line(cls, text: str) -> Self:
        """Read what ``line`` gives. Raises ``MalformedError``."""
        try:
            raw = bytes.fromhex(text[: 2 * MAX_VOUCH].strip())
        except ValueError:
            raise MalformedError("a vouch is a line of hex digits") from None
        match canonical.decode(raw, limit=MAX_VOUCH, what="vouch"):
            case [bytes(owner), bytes(signature)] if (
                len(owner) == HASH_SIZE and len(signature) == SIGNATURE_SIZE
            ):
                return cls(PeerKey(owner), signature)
        raise MalformedError("a vouch is an owner and a signature")


@dataclass(frozen=True, slots=True)
class Hello:
    """The answer to the challenge: who I am, what I bring, signed."""

    t: ClassVar[str] = "hello"
    key: PeerKey
    offerings: Offerings
    vouch: Vouch | None
    signature: bytes

    @classmethod
    def sign(
        cls,
        identity: Identity,
        challenge: Challenge,
        offerings: Offerings,
        vouch: Vouch | None = None,
    ) -> "Hello":
        """Answer ``challenge`` as ``identity``."""
        hello = cls(identity.key, offerings, vouch, b"")
        message = hello._message(challenge)
        return cls(identity.key, offerings, vouch, identity.sign(Domain.SESSION, message))

    def check(self, challenge: Challenge) -> None:
        """Raise ``SignatureError`` unless this hello answers ``challenge`` and the vouch holds."""
        verify(self.key, Domain.SESSION, self._message(challenge), self.signature)
        if self.vouch:
            self.vouch.check(self.key)

    @property
    def owner(self) -> PeerKey:
        """The key that vouched for the peer; a peer without one is its own owner."""
        return self.vouch.owner if self.vouch else self.key

    def value(self) -> dict[str, object]:
        return self._body() | {"signature": self.signature}

    @classmethod
    def read(cls, fields: Fields) -> "Hello":
        vouch = None
        if fields.has("vouch"):
            group = fields.group("vouch")
            vouch = Vouch(
                PeerKey(group.octets("owner", length=32)), group.octets("signature", length=64)
            )
            group.end()
        return cls(
            key=PeerKey(fields.octets("key", length=32)),
            offerings=Offerings.read(fields.group("offerings")),
            vouch=vouch,
            signature=fields.octets("signature", length=64),
        )

    def _body(self) -> dict[str, object]:
        body: dict[str, object] = {"key": self.key, "offerings": self.offerings.value()}
        if self.vouch:
            body["vouch"] = {"owner": self.vouch.owner, "signature": self.vouch.signature}
        return body

    def _message(self, challenge: Challenge) -> bytes:
        return canonical.encode(
            self._body() | {"nonce": challenge.nonce, "tracker": challenge.tracker}
        )
