"""Ed25519 identities and signatures (RFC 8032), with a domain in front of every message.

The domain keeps a signature made for one purpose from being used for another.
"""

from dataclasses import dataclass
from enum import Enum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from workunits.errors import SignatureError
from workunits.ids import PeerKey

SIGNATURE_SIZE = 64
SEED_SIZE = 32


class Domain(Enum):
    """What a signature is for."""

    MANIFEST = b"openswarm manifest v1\n"
    SESSION = b"openswarm session v1\n"
    COMMITS = b"openswarm commits v1\n"
    JUDGEMENTS = b"openswarm judgements v1\n"
    STATEMENT = b"openswarm statement v1\n"
    CHANCE = b"openswarm chance v1\n"
    OWNER = b"openswarm owner v1\n"
    CHECKPOINT = b"openswarm checkpoint v1\n"
    ANNOUNCE = b"openswarm announce v1\n"


_DOMAINS = tuple(domain.value for domain in Domain)


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and the public key that names it. Never printed, never sent."""

    key: PeerKey
    _private: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """Derive the identity from 32 secret bytes."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(PeerKey(private.public_key().public_bytes_raw()), private)

    def seed(self) -> bytes:
        """The 32 secret bytes, for the key file only."""
        return self._private.private_bytes_raw()

    def sign(self, domain: Domain, message: bytes) -> bytes:
        """Sign ``message`` for one purpose; 64 bytes."""
        return self._private.sign(domain.value + message)

    def sign_note(self, message: bytes) -> bytes:
        """Sign a C2SP note as it stands; 64 bytes. Raises ``ValueError`` for a domain's message.

        Others' verifiers know nothing of our domains, so none can be in front: what separates a
        note from our other messages is that it does not begin with any of them.
        """
        if message.startswith(_DOMAINS):
            raise ValueError("a note must not begin like a message with a domain")
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"Identity({self.key.hex()[:12]})"


def verify(key: PeerKey, domain: Domain, message: bytes, signature: bytes) -> None:
    """Raise ``SignatureError`` unless ``key`` signed ``message`` for ``domain``."""
    _verify(key, domain.value + message, signature, domain.name.lower())


def verify_note(key: PeerKey, message: bytes, signature: bytes) -> None:
    """Raise ``SignatureError`` unless ``key`` signed ``message`` as a note."""
    if message.startswith(_DOMAINS):
        raise SignatureError("a message with a domain is no note")
    _verify(key, message, signature, "note")


def _verify(key: PeerKey, message: bytes, signature: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise SignatureError(f"the {what} signature does not match key {key.hex()[:12]}") from None
