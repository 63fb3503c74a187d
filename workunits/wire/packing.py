"""Records that come by the hundred, as packed byte strings."""

import struct

from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import LeaseToken

_TOKEN = struct.Struct(">Q")


def pack_tokens(tokens: tuple[LeaseToken, ...]) -> bytes:
    """Tokens as u64 after u64."""
    return b"".join(map(_TOKEN.pack, tokens))


def read_tokens(fields: Fields, key: str, count: int) -> tuple[LeaseToken, ...]:
    """Take at most ``count`` packed tokens."""
    packed = read_packed(fields, key, _TOKEN.size, count)
    return tuple(LeaseToken(token) for (token,) in _TOKEN.iter_unpack(packed))


def read_packed(fields: Fields, key: str, size: int, count: int) -> bytes:
    """Take at most ``count`` whole records of ``size`` bytes."""
    packed = fields.octets(key, limit=size * count)
    if len(packed) % size:
        raise MalformedError(f"{key} must be a multiple of {size} bytes")
    return packed
