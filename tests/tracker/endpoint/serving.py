"""The APIs on a real port, in front of a parlour without a swarm."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.tracker.endpoint.tiny import CARD, OTHER, ids
from tracker.endpoint.fake import FakeParlour, Script
from tracker.endpoint.keys import ApiKey, Keys
from tracker.endpoint.routes import Endpoint
from workunits.ids import PeerKey
from workunits.models.apikey import hash_of, secret_of

SECONDS = 20.0
SECRET, SECOND = (secret_of(bytes([seed]) * 32) for seed in (1, 2))
BUDGET = 10**9


@dataclass(eq=False)
class Serving:
    """APIs that serve, and a client without manners."""

    url: str
    parlour: FakeParlour
    keys: Keys
    key: ApiKey
    http: aiohttp.ClientSession
    endpoint: Endpoint

    @property
    def script(self) -> Script:
        """How calls go."""
        return self.parlour.script

    def say(self, text: str, **settings: Any) -> Script:
        """From now on every answer is ``text``."""
        return self.obey(lambda _, request: ids(text), **settings)

    def obey(self, answer: Callable[[Any, Any], tuple[int, ...]], **settings: Any) -> Script:
        """From now on answers are what ``answer`` gives for a card and a request."""
        self.parlour.script = Script(answer=answer, **settings)
        return self.parlour.script

    def post(self, path: str, **request: Any) -> Any:
        """A POST request, as a context manager."""
        headers = {"Authorization": f"Bearer {SECRET}"} | request.pop("headers", {})
        return self.http.post(self.url + path, headers=headers, **request)

    async def ask(self, path: str, status: int = 200, **request: Any) -> Any:
        """The JSON that a POST is answered with, which must come with ``status``."""
        async with self.post(path, **request) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer

    async def events(self, path: str, **request: Any) -> list[bytes]:
        """The events of a stream, comments among them."""
        async with self.post(path, **request) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            body: bytes = await response.read()
            return body.split(b"\n\n")[:-1]


async def until(true: Callable[[], object]) -> None:
    """Return as soon as something is true."""
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


@asynccontextmanager
async def served(
    folder: Path, *, per_minute: int = 100_000, pause: float = 15.0
) -> AsyncIterator[Serving]:
    """Run the APIs; their files are in ``folder``."""
    keys = Keys()
    owner = PeerKey(b"o" * 32)
    key = keys.open(owner, hash_of(SECRET), "first", BUDGET, per_minute, 0)
    keys.open(owner, hash_of(SECOND), "second", BUDGET, per_minute, 0)
    parlour = FakeParlour([CARD, OTHER], keys)
    endpoint = Endpoint.open(parlour, keys, folder, pause=pause)
    app = web.Application(client_max_size=17 << 20)
    app.add_routes(endpoint.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with asyncio.TaskGroup() as group, aiohttp.ClientSession(timeout=timeout) as http:
            working = group.create_task(endpoint.runner.run())
            yield Serving(f"http://{host}:{port}", parlour, keys, key, http, endpoint)
            working.cancel()
    finally:
        await runner.cleanup()
        endpoint.close()
