"""Answering while somebody listens: events as they come, and an end as soon as nobody does."""

import asyncio
from collections.abc import Awaitable
from typing import NoReturn, TypeVar

from aiohttp import web

from tracker.endpoint import sse

WATCH_SECONDS = 0.1
"""How soon it is noticed that a client has gone; aiohttp tells it only to whoever writes."""

PAUSE = 15.0
"""Seconds of silence after which a comment keeps the connection open."""

_T = TypeVar("_T")


class GoneError(Exception):
    """The client closed its connection."""


async def attended(request: web.Request, work: Awaitable[_T]) -> _T:
    """Await ``work``, which is cancelled at once when the client goes away: then ``GoneError``."""
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(request))
            result = await work
            watching.cancel()
    except BaseExceptionGroup as errors:
        raise first(errors) from None
    return result


def first(error: BaseException) -> BaseException:
    """The first mistake in a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _watch(request: web.Request) -> NoReturn:
    while True:
        if request.transport is None or request.transport.is_closing():
            raise GoneError
        await asyncio.sleep(WATCH_SECONDS)


class EventStream:
    """An answer of server-sent events. It begins with the first of them, so that until then an
    error can still have a status of its own."""

    def __init__(
        self,
        request: web.Request,
        headers: dict[str, str],
        *,
        comment: bytes = sse.COMMENT,
        pause: float = PAUSE,
    ) -> None:
        self._request = request
        self._comment = comment
        self._pause = pause
        self._said = 0
        self._opening = asyncio.Lock()
        self.response = web.StreamResponse(
            headers=headers
            | {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
            | {"X-Accel-Buffering": "no"}
        )

    @property
    def begun(self) -> bool:
        """Whether something was sent."""
        return self.response.prepared

    async def send(self, *events: bytes) -> None:
        """Send events. Raises ``GoneError``."""
        try:
            if not self.begun:
                async with self._opening:
                    if not self.begun:
                        await self.response.prepare(self._request)
            self._said += 1
            await self.response.write(b"".join(events))
        except ConnectionError:
            raise GoneError from None

    async def end(self) -> web.StreamResponse:
        """Nothing follows."""
        try:
            await self.response.write_eof()
        except ConnectionError:
            raise GoneError from None
        return self.response

    async def kept(self, work: Awaitable[_T]) -> _T:
        """Await ``work``, and send a comment whenever nothing was sent for a while."""
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(self._keep())
                result = await work
                keeping.cancel()
        except BaseExceptionGroup as errors:
            raise first(errors) from None
        return result

    async def _keep(self) -> NoReturn:
        while True:
            said = self._said
            await asyncio.sleep(self._pause)
            if said == self._said:
                await self.send(self._comment)
