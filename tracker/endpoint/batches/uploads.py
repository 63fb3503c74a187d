"""An upload to ``/v1/files``: ``multipart/form-data`` with a file, a purpose, perhaps a life."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

from tracker.endpoint.batches.lines import MAX_FILE
from tracker.endpoint.batches.records import FILE_LIFE, INPUT
from tracker.endpoint.errors import invalid, unsupported
from tracker.endpoint.fields import too_large

MAX_FIELD = 1000
MAX_PARTS = 20
MAX_FILE_NAME = 255
SHORTEST_LIFE, LONGEST_LIFE = 3600, FILE_LIFE


@dataclass(frozen=True, slots=True)
class Upload:
    """What came, with its bytes in a draft."""

    name: str
    size: int
    life: int


async def receive(request: web.Request, draft: Callable[[], Path]) -> Upload:
    """Read an upload, its file into ``draft()``. Raises ``ApiError``; the draft may then be left
    half written."""
    if not request.content_type.startswith("multipart/"):
        raise invalid("Send the file as multipart/form-data.", "file")
    try:
        return await _receive(request, draft)
    except (ValueError, AssertionError, HttpProcessingError, web.HTTPException) as error:
        raise invalid(f"The multipart body cannot be read: {str(error)[:200]}") from None


async def _receive(request: web.Request, draft: Callable[[], Path]) -> Upload:
    fields: dict[str, str] = {}
    name, size = "", -1
    parts = 0
    async for part in await request.multipart():
        parts += 1
        if not isinstance(part, BodyPartReader) or parts > MAX_PARTS:
            raise invalid("The multipart body has too many parts, or parts in parts.")
        if part.name == "file":
            name = (part.filename or "upload.jsonl")[-MAX_FILE_NAME:]
            size = await _save(part, draft())
        else:
            fields[part.name or ""] = await _text(part)
    if "purpose" not in fields:
        raise invalid("Missing required parameter: 'purpose'.", "purpose")
    if fields["purpose"] != INPUT:
        raise unsupported("purpose", f"files here are inputs of batches; say {INPUT!r}")
    if size < 0:
        raise invalid("Missing required parameter: 'file'.", "file")
    anchor = fields.get("expires_after[anchor]", "created_at")
    return Upload(
        name, size, life(anchor, _number(fields.get("expires_after[seconds]", str(FILE_LIFE))))
    )


def life(anchor: object, seconds: object) -> int:
    """Seconds that a file lives. Raises ``ApiError``."""
    right = isinstance(seconds, int) and SHORTEST_LIFE <= seconds <= LONGEST_LIFE
    if anchor != "created_at" or not right or not isinstance(seconds, int):
        raise invalid(
            f"'expires_after' is from {SHORTEST_LIFE} to {LONGEST_LIFE} seconds after 'created_at'",
            "expires_after",
        )
    return seconds


async def _save(part: BodyPartReader, path: Path) -> int:
    size = 0
    with path.open("wb") as file:
        path.chmod(0o600)
        while chunk := await part.read_chunk(1 << 16):
            size += len(chunk)
            if size > MAX_FILE:
                raise too_large(MAX_FILE)
            file.write(chunk)
    return size


async def _text(part: BodyPartReader) -> str:
    value = b""
    while chunk := await part.read_chunk(MAX_FIELD + 1):
        value += chunk
        if len(value) > MAX_FIELD:
            raise invalid(f"'{(part.name or '')[:100]}' is longer than {MAX_FIELD} bytes")
    return value.decode()


def _number(text: str) -> object:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else text
