"""A real announce service on a real port, and clients for it."""

import json
import time
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tracker.announce.admission import Admission, Mode
from tracker.announce.front import AnnounceSite
from tracker.announce.handlers import AnnounceService, peer_address
from tracker.announce.swarms import Limits, track_everything
from workunits.wire import signalling as wire


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Serving:
    """A running service and one HTTP session to it."""

    service: AnnounceService
    runner: web.AppRunner
    base: str
    session: aiohttp.ClientSession
    clock: Clock
    sockets: list["Socket"] = field(default_factory=list)

    async def get(self, path: str) -> bytes:
        """The body of a GET that must succeed; ``path`` is sent as it is."""
        async with self.session.get(URL(self.base + path, encoded=True)) as response:
            assert response.status == 200, path
            return await response.read()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.base.rpartition(":")[2])

    async def connect(self, query: str = "", *, autoping: bool = True) -> "Socket":
        """A new WebSocket to /announce."""
        url, timeout = self.base + "/announce" + query, aiohttp.ClientWSTimeout(ws_close=1.0)
        opened = await self.session.ws_connect(url, timeout=timeout, autoping=autoping)
        socket = Socket(opened)
        self.sockets.append(socket)
        return socket

    async def close(self) -> None:
        """Close what clients left open."""
        async with TaskGroup() as tasks:
            for socket in self.sockets:
                tasks.create_task(socket.raw.close())


@dataclass
class Socket:
    """A WebTorrent client's socket."""

    raw: aiohttp.ClientWebSocketResponse

    async def send(self, message: wire.FromClient | str | bytes) -> None:
        if isinstance(message, bytes):
            await self.raw.send_bytes(message)
        else:
            await self.raw.send_str(message if isinstance(message, str) else message.encode())

    async def take(self) -> wire.FromTracker:
        return wire.parse_from_tracker(await self.raw.receive_str(timeout=10))

    async def ask(self, message: wire.FromClient | str | bytes) -> wire.FromTracker:
        await self.send(message)
        return await self.take()

    async def idle(self) -> bool:
        """Whether nothing waits before the answer to a question asked now."""
        reply = await self.ask(json.dumps({"action": "scrape"}))
        return isinstance(reply, wire.Failure)


Serve = Callable[..., AbstractAsyncContextManager[Serving]]


@pytest.fixture
def serve() -> Serve:
    """A context manager, because the service's task group must start and end in one task."""

    @asynccontextmanager
    async def serving(
        tracked: Callable[[bytes], bool] = track_everything,
        limits: Limits | None = None,
        source: Callable[[str, Mapping[str, str]], str] | None = None,
        admission: Admission | None = None,
        *,
        behind_aiohttp: bool = False,
    ) -> AsyncIterator[Serving]:
        clock = Clock()
        service = AnnounceService(
            admission=admission or Admission(Mode.LISTED, listed=tracked, wall=time.time),
            limits=limits,
            clock=clock,
            rng=Random(7),
            source=source or peer_address,
        )
        app = web.Application()
        service.add_to(app)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await (
                site if behind_aiohttp else AnnounceSite(runner, service, "127.0.0.1", 0)
            ).start()
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession() as session:
                at = Serving(service, runner, base, session, clock)
                try:
                    yield at
                finally:
                    await at.close()
        finally:
            await runner.cleanup()

    return serving
