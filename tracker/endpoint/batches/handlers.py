"""The handlers of ``/v1/files`` and ``/v1/batches``. Everything belongs to one API key; for any
other it is not there."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from tracker.endpoint.batches.lines import URLS, read_lines
from tracker.endpoint.batches.records import (
    FILE_LIFE,
    INPUT,
    WINDOW,
    Batch,
    StoredFile,
    listing,
)
from tracker.endpoint.batches.runner import Runner
from tracker.endpoint.batches.store import Store
from tracker.endpoint.batches.uploads import life, receive
from tracker.endpoint.errors import ApiError, Fault, invalid
from tracker.endpoint.fields import Fields
from tracker.endpoint.keys import ApiKey
from tracker.endpoint.openai import new_id
from tracker.endpoint.shells import Handler, read_body

MAX_FILES = 1000
MAX_BYTES = 1_000_000_000
"""Bytes of all files of one API key."""

MAX_ACTIVE = 32
MAX_METADATA = 16
MAX_FILE_PAGE = 10_000
MAX_BATCH_PAGE, BATCH_PAGE = 100, 20


@dataclass(frozen=True, slots=True)
class Batches:
    """Files and batches. ``draw`` gives random bytes, ``wall`` Unix time."""

    store: Store
    runner: Runner
    draw: Callable[[int], bytes]
    wall: Callable[[], float]

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [
            ("POST", "/v1/files", self.upload),
            ("GET", "/v1/files", self.files),
            ("GET", "/v1/files/{id}", self.file),
            ("DELETE", "/v1/files/{id}", self.delete),
            ("GET", "/v1/files/{id}/content", self.content),
            ("POST", "/v1/batches", self.create),
            ("GET", "/v1/batches", self.batches),
            ("GET", "/v1/batches/{id}", self.batch),
            ("POST", "/v1/batches/{id}/cancel", self.cancel),
        ]

    async def upload(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``POST /v1/files``."""
        count, held = await asyncio.to_thread(self.store.held, key.hash)
        if count >= MAX_FILES or held + (request.content_length or 0) > MAX_BYTES:
            raise ApiError(
                Fault.LARGE,
                f"This API key may keep {MAX_FILES:,} files of {MAX_BYTES:,} bytes in all. Delete "
                "some.",
                tag="storage_full",
            )
        id_ = new_id("file-", self.draw)
        draft = self.store.draft(id_)
        try:
            upload = await receive(request, lambda: draft)
            await asyncio.to_thread(_check, draft)
            now = int(self.wall())
            file = StoredFile(
                id_, key.hash, upload.name, INPUT, upload.size, now, now + upload.life
            )
            await asyncio.to_thread(self.store.keep, file)
        finally:
            draft.unlink(missing_ok=True)
        return web.json_response(file.view())

    async def files(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``GET /v1/files``."""
        limit = _limit(request, MAX_FILE_PAGE, MAX_FILE_PAGE)
        found = await asyncio.to_thread(self.store.files, key.hash)
        if request.query.get("order") == "asc":
            found.reverse()
        if purpose := request.query.get("purpose"):
            found = [file for file in found if file.purpose == purpose]
        if after := request.query.get("after"):
            places = [at for at, file in enumerate(found) if file.id == after]
            found = found[places[0] + 1 :] if places else []
        rows = [file.view() for file in found[:limit]]
        return web.json_response(listing(rows, more=len(found) > limit))

    async def file(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``GET /v1/files/{id}``."""
        return web.json_response((await self._file(request.match_info["id"], key)).view())

    async def content(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``GET /v1/files/{id}/content``."""
        file = await self._file(request.match_info["id"], key)
        headers = {"Content-Type": "application/jsonl", "X-Content-Type-Options": "nosniff"}
        return web.FileResponse(self.store.path(file.id), headers=headers)

    async def delete(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``DELETE /v1/files/{id}``."""
        file = await self._file(request.match_info["id"], key)
        if self.runner.uses(file.id):
            raise invalid("A batch still reads this file. Cancel the batch first.", "file_id")
        await asyncio.to_thread(self.store.forget, file.id)
        return web.json_response({"id": file.id, "object": "file", "deleted": True})

    async def create(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``POST /v1/batches``."""
        body = await read_body(request)
        file = await self._file(body.text("input_file_id", limit=100), key)
        if file.purpose != INPUT:
            raise body.bad("input_file_id", f"its purpose is {file.purpose}, and not {INPUT}")
        endpoint = body.text("endpoint", limit=200)
        if endpoint not in URLS:
            raise body.bad("endpoint", f"expected one of {', '.join(URLS)}, but got {endpoint!r}")
        if (window := body.text("completion_window", limit=20)) != "24h":
            raise body.bad("completion_window", f"expected 24h, but got {window!r}")
        if self.runner.busy(key.hash) >= MAX_ACTIVE:
            raise ApiError(
                Fault.CROWDED,
                f"This API key has {MAX_ACTIVE} batches that are not over.",
                tag="batch_limit_exceeded",
                seconds=60,
            )
        now = int(self.wall())
        batch = Batch(
            id=new_id("batch_", self.draw),
            owner=key.hash,
            input=file.id,
            endpoint=endpoint,
            created=now,
            expires=now + WINDOW,
            metadata=_metadata(body),
            output_life=_life(body),
        )
        body.end()
        await asyncio.to_thread(self.store.save, batch)
        view = batch.view()
        self.runner.add(batch)
        return web.json_response(view)

    async def batches(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``GET /v1/batches``."""
        limit = _limit(request, BATCH_PAGE, MAX_BATCH_PAGE)
        after = request.query.get("after", "")
        found = await asyncio.to_thread(self.store.batches, key.hash, after, limit + 1)
        rows = [batch.view() for batch in found[:limit]]
        return web.json_response(listing(rows, more=len(found) > limit))

    async def batch(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``GET /v1/batches/{id}``."""
        return web.json_response((await self._batch(request, key)).view())

    async def cancel(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``POST /v1/batches/{id}/cancel``."""
        found = await self._batch(request, key)
        batch = self.runner.cancel(found.id)
        if batch is None:
            raise invalid(f"The batch is {found.status}: it cannot be cancelled.", "batch_id")
        await asyncio.to_thread(self.store.save, batch)
        return web.json_response((await self._batch(request, key)).view())

    async def _file(self, id_: str, key: ApiKey) -> StoredFile:
        file = await asyncio.to_thread(self.store.file, id_, key.hash)
        if file is None:
            raise ApiError(Fault.MISSING, f"No such File object: {id_[:100]}", param="id")
        return file

    async def _batch(self, request: web.Request, key: ApiKey) -> Batch:
        id_ = request.match_info["id"]
        batch = await asyncio.to_thread(self.store.batch, id_, key.hash)
        if batch is None:
            raise ApiError(Fault.MISSING, f"No batch found with id '{id_[:100]}'.", param="id")
        return batch


def _check(draft: Path) -> None:
    """Read the lines of an upload; what they ask for is checked when a batch is made of them."""
    with draft.open("rb") as stream:
        for _ in read_lines(stream):
            pass


def _limit(request: web.Request, usual: int, most: int) -> int:
    text = request.query.get("limit", str(usual))
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= most:
        raise invalid(f"Invalid value for 'limit': expected 1 to {most}.", "limit")
    return int(text)


def _metadata(body: Fields) -> dict[str, str]:
    value = body.raw("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_METADATA:
        raise body.bad("metadata", f"expected an object of at most {MAX_METADATA} strings")
    for name, each in value.items():
        if not isinstance(each, str) or len(name) > 64 or len(each) > 512:
            raise body.bad("metadata", "names have at most 64 letters, values are at most 512")
    return value


def _life(body: Fields) -> int:
    wanted = body.group("output_expires_after")
    if wanted is None:
        return FILE_LIFE
    seconds = life(wanted.raw("anchor"), wanted.raw("seconds"))
    wanted.end()
    return seconds
