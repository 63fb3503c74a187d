"""A blob and its upload, which a test may get wrong in every way."""

import base64
from io import BytesIO
from typing import Any

from tests.tracker.serving import Served
from tests.tracker.work.world import SUBMITTER
from workunits.metainfo import hash_stream
from workunits.statements import Statement, Upload

DATA = b"some data to share\n" * 1000


def v2(data: bytes = DATA) -> bytes:
    """The name of a blob."""
    return hash_stream(BytesIO(data), len(data)).info.ref.v2


async def upload(
    tracker: Served,
    data: bytes = DATA,
    *,
    claim: Upload | None = None,
    address: bytes = b"",
    status: int = 201,
    statement: Statement | None = None,
) -> Any:
    """Upload ``data`` as ``claim`` says; returns the answer, which must have ``status``."""
    claim = claim or Upload(v2(data), len(data))
    statement = statement or tracker.sign(claim, SUBMITTER)
    answer: Any = await tracker.ask(
        f"/api/v1/blobs/{(address or claim.blob).hex()}",
        *("PUT", status),
        data=data,
        headers={"X-Swarm-Statement": base64.b64encode(statement.encode()).decode()},
    )
    return answer
