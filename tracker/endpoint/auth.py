"""Who asks: a secret in ``Authorization: Bearer`` or, as Anthropic's clients do, ``x-api-key``."""

from collections.abc import Mapping
from typing import Protocol

from tracker.endpoint.errors import ApiError, Fault
from tracker.endpoint.keys import ApiKey


class KeyRing(Protocol):
    """Knows API keys by their secrets."""

    def find(self, secret: str, /) -> ApiKey:
        """Raises ``UnknownKeyError``."""

    def get(self, hash_: bytes, /) -> ApiKey | None:
        """The key with that hash."""


def caller(keys: KeyRing, headers: Mapping[str, str]) -> ApiKey:
    """The key that a request came with. Raises ``ApiError`` or ``UnknownKeyError``."""
    kind, _, secret = headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        secret = headers.get("x-api-key", "")
    if not secret.strip():
        raise ApiError(
            Fault.KEY,
            "You did not provide an API key. Send it as 'Authorization: Bearer osk-...' or as "
            "'x-api-key'; make one with `swarm api-key create`.",
        )
    return keys.find(secret.strip())
