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
    STATEMENT = b"openswarm statement v1\n"
    OWNER = b"openswarm owner v1\n"
    CHECKPOINT = b"openswarm checkpoint v1\n"


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

    def __repr__(self) -> str:
        return f"Identity({self.key.hex()[:12]})"


def verify(key: PeerKey, domain: Domain, message: bytes, signature: bytes) -> None:
    """Raise ``SignatureError`` unless ``key`` signed ``message`` for ``domain``."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, domain.value + message)
    except (InvalidSignature, ValueError):
        raise SignatureError(
            f"the {domain.name.lower()} signature does not match key {key.hex()[:12]}"
        ) from None
