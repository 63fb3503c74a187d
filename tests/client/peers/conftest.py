"""A real tracker that can be stopped and started, and peers with stores of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, overload

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from client.blobs import BlobStore
from client.peers.engine import AIORTC, Engine, choose
from client.peers.extensions import Gossip
from client.peers.network import Network, TcpPolicy
from client.peers.swarm import BlobSwarm
from client.peers.transport import Connector
from tracker.announce.admission import Admission
from tracker.announce.handlers import AnnounceService
from workunits.ids import PeerKey
from workunits.passes import SignedPass
from workunits.signing import Identity

PATIENCE = 60.0
TRACKER = Identity.from_seed(b"t" * 32).key
WITHOUT_TCP = Network(tcp=TcpPolicy.NEVER)


async def until(condition: Callable[[], object], *, seconds: float = PATIENCE) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any expression, no event to wait for
            await asyncio.sleep(0.02)


class Tracker:
    """The tracker's announce service and a web seed, on one port for the whole test."""

    def __init__(self) -> None:
        self.port = 0
        self.blobs: dict[str, tuple[bytes, bytes]] = {}
        self.blob_requests = 0
        self.reach: dict[str, object] | None = None
        """What it says of how to reach peers; nothing, like old trackers, if None."""

        self.told_members: dict[str, object] | None = None
        """What it says to ``members``, if that is more."""

        self.admission: Admission | None = None
        self.members: set[PeerKey] = set()
        self.reach_requests = 0
        self.announced: list[str] = []
        """The queries of HTTP announces."""

        self.sockets: list[str] = []
        """The queries of WebSockets."""

        self.service: AnnounceService | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        admission, tracked = self.admission, None if self.admission else (lambda _: True)
        self.service = AnnounceService(admission=admission, tracked=tracked)
        app = web.Application(middlewares=[self._listen])
        self.service.add_to(app)
        app.add_routes(
            [
                web.get("/api/v1/reach", self._reach),
                web.get("/api/v1/blobs/{v2}", self._blob),
                web.get("/api/v1/blobs/{v2}/info", self._info),
            ]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _listen(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/announce"):
            asked = self.sockets if "Upgrade" in request.headers else self.announced
            asked.append(request.query_string)
        return await handler(request)

    async def _reach(self, request: web.Request) -> web.Response:
        self.reach_requests += 1
        if request.query_string and self.told_members is not None:
            signed = SignedPass.parse(request.query_string, TRACKER)
            if signed is None or signed.member not in self.members:
                raise web.HTTPForbidden
            return web.json_response(self.told_members)
        if self.reach is None:
            raise web.HTTPNotFound
        return web.json_response(self.reach)

    async def _blob(self, request: web.Request) -> web.Response:
        self.blob_requests += 1
        found = self.blobs.get(request.match_info["v2"])
        if found is None:
            raise web.HTTPNotFound
        part = request.http_range
        data = found[1][part.start : part.stop]
        headers = {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{len(found[1])}"}
        return web.Response(status=206, body=data, headers=headers)

    async def _info(self, request: web.Request) -> web.Response:
        found = self.blobs.get(request.match_info["v2"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found[0])


@pytest.fixture
async def tracker() -> AsyncIterator[Tracker]:
    server = Tracker()
    await server.start()
    yield server
    await server.stop()


MakeStore = Callable[..., BlobStore]


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[MakeStore]:
    stores: list[BlobStore] = []

    def make(quota: int = 10**9) -> BlobStore:
        stores.append(BlobStore(tmp_path / f"store{len(stores)}", quota=quota))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


class Peers:
    """Swarms that end with the ``async with`` block."""

    def __init__(self, tracker: Tracker, make_store: MakeStore) -> None:
        self._tracker = tracker
        self._make_store = make_store
        self._stack = AsyncExitStack()

    def apart(self) -> "Peers":
        """Others, that can be ended before these."""
        return Peers(self._tracker, self._make_store)

    async def __aenter__(self) -> "Peers":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @overload
    async def add(
        self, *, engine: str, quota: int = 10**9, **options: Any
    ) -> tuple[Engine, BlobStore]: ...

    @overload
    async def add(
        self,
        *,
        network: Network = WITHOUT_TCP,
        connector: Connector | None = None,
        identity: Identity | None = None,
        gossip: Gossip | None = None,
        local_hosts: Sequence[str] | None = None,
        grace: float = 1000.0,
        patience: float = 1000.0,
    ) -> tuple[BlobSwarm, BlobStore]: ...

    async def add(self, *, engine: str = AIORTC, quota: int = 10**9, **options: Any) -> Any:
        store = self._make_store() if quota == 10**9 else self._make_store(quota)
        settings: dict[str, Any] = {"network": WITHOUT_TCP, "grace": 1000.0, "patience": 1000.0}
        settings |= options
        swarm: Any = choose(engine)(store, self._tracker.url, **settings)
        await self._stack.enter_async_context(swarm)
        return swarm, store


@pytest.fixture
def peers(tracker: Tracker, make_store: MakeStore) -> Peers:
    """Enter it inside of the test: task groups end in the task in which they began."""
    return Peers(tracker, make_store)
