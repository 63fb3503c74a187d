"""Secret API keys: what they look like, and the hash under which a tracker knows one."""

import hashlib

from workunits.errors import MalformedError

PREFIX = "osk-"
LENGTH = 40
ENTROPY = 32
"""Random bytes that a secret is made of."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def secret_of(entropy: bytes) -> str:
    """The secret made of ``ENTROPY`` random bytes. Raises ``ValueError`` for fewer."""
    if len(entropy) < ENTROPY:
        raise ValueError(f"a secret is made of {ENTROPY} random bytes")
    number = int.from_bytes(entropy, "big")
    digits = []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return PREFIX + "".join(digits)


def hash_of(secret: str) -> bytes:
    """SHA-256 of a secret, 32 bytes. Raises ``MalformedError``, which does not repeat it."""
    body = secret.removeprefix(PREFIX)
    if not secret.startswith(PREFIX) or len(body) != LENGTH or set(body) - set(_ALPHABET):
        raise MalformedError(
            f"an API key is {PREFIX!r} and {LENGTH} letters and digits",
            hint="Make one with `swarm api-key create`, and copy it whole.",
        )
    return hashlib.sha256(secret.encode()).digest()
