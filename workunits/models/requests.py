"""The file ``requests``: all requests of a batch job, one for each unit.

The number of requests, then how many bytes each takes, u32 big-endian, then one after the other: a
unit's request is found without the others.
"""

import struct
from collections.abc import Iterable

from workunits.errors import LimitError, MalformedError
from workunits.models.request import MAX_REQUEST, Request

MAX_REQUESTS = 1_000_000
MAX_FILE = 1 << 30
_U32 = struct.Struct(">I")


def pack_requests(requests: Iterable[Request]) -> bytes:
    """The file of ``requests``. Raises ``LimitError`` if there are too many or they are none."""
    packed = [request.encode() for request in requests]
    if not 0 < len(packed) <= MAX_REQUESTS:
        raise LimitError(
            f"a file has 1 to {MAX_REQUESTS:,} requests, not {len(packed):,}",
            hint="Split the prompts into several jobs.",
        )
    sizes = struct.pack(f">{len(packed) + 1}I", len(packed), *map(len, packed))
    size = len(sizes) + sum(map(len, packed))
    if size > MAX_FILE:
        raise LimitError(
            f"the requests have {size:,} bytes, more than {MAX_FILE:,}",
            hint="Split the prompts into several jobs.",
        )
    return sizes + b"".join(packed)


def count_requests(raw: bytes) -> int:
    """How many requests there are. Raises ``MalformedError`` unless the file's sizes add up."""
    if len(raw) > MAX_FILE:
        raise LimitError(f"a file of requests of {len(raw):,} bytes is over {MAX_FILE:,}")
    if len(raw) < _U32.size:
        raise MalformedError("the file of requests is cut off")
    count: int = _U32.unpack_from(raw)[0]
    if not 0 < count <= MAX_REQUESTS:
        raise LimitError(f"a file has 1 to {MAX_REQUESTS:,} requests, not {count:,}")
    start = _U32.size * (count + 1)
    if len(raw) < start:
        raise MalformedError("the file of requests is cut off")
    if start + sum(struct.unpack_from(f">{count}I", raw, _U32.size)) != len(raw):
        raise MalformedError("the requests are not as long as their file says")
    return count


def read_request(raw: bytes, index: int) -> Request:
    """Request ``index``. Raises ``MalformedError`` or ``LimitError``."""
    count = count_requests(raw)
    if not 0 <= index < count:
        raise MalformedError(f"there is no request {index}; there are {count}")
    sizes = struct.unpack_from(f">{index + 1}I", raw, _U32.size)
    if sizes[-1] > MAX_REQUEST:
        raise LimitError(f"a request of {sizes[-1]:,} bytes is over {MAX_REQUEST:,}")
    start = _U32.size * (count + 1) + sum(sizes[:-1])
    return Request.parse(raw[start : start + sizes[-1]])
