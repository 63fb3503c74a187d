"""The tracker as one aiohttp application: announce, work, REST, pages; and its start and end."""

import asyncio
import fcntl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from aiohttp import web

from tracker.address import ADDRESS_FILE, Address, operator_identity
from tracker.announce.front import AnnounceSite
from tracker.announce.handlers import AnnounceService
from tracker.api.errors import errors
from tracker.api.handlers import Api
from tracker.api.log import Log
from tracker.blobs import WebSeed
from tracker.pages import Pages
from tracker.sessions import Sessions
from tracker.store.reader import Reader
from tracker.store.writer import Then, Writer
from tracker.work.floor import Patience
from tracker.work.restore import restore
from workunits.errors import LocalError
from workunits.signing import Domain, Identity

DATABASE = "tracker.sqlite"
LOCK_FILE = "lock"
MAX_BODY = 17 << 20


@dataclass(slots=True)
class Running:
    """A tracker that serves. ``failure`` is set when it cannot go on."""

    address: Address
    identity: Identity
    sessions: Sessions
    failure: "asyncio.Future[LocalError]"


@contextmanager
def _alone_on(data: Path) -> Iterator[None]:
    with (data / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(
                f"another tracker is running on {data}",
                hint="Stop it first, or choose another directory with --data.",
            ) from None
        yield


@asynccontextmanager
async def serve(
    data: Path, listen: Address, *, patience: Patience | None = None
) -> AsyncIterator[Running]:
    """Run a tracker on ``data`` until the block is left. Raises ``LocalError`` when it cannot."""
    identity = operator_identity(data)
    with _alone_on(data):
        async with _serve(data, listen, identity, patience) as running:
            yield running


@asynccontextmanager
async def _serve(
    data: Path, listen: Address, identity: Identity, patience: Patience | None
) -> AsyncIterator[Running]:
    loop = asyncio.get_running_loop()
    failure: asyncio.Future[LocalError] = loop.create_future()

    def done(callbacks: list[Then]) -> None:
        loop.call_soon_threadsafe(_call_all, callbacks)

    def failed(error: LocalError) -> None:
        loop.call_soon_threadsafe(failure.set_result, error)

    writer = Writer(data / DATABASE, done, failed)
    reader = Reader(data / DATABASE)
    snapshot = reader.snapshot()
    secret = sha256(identity.sign(Domain.CHANCE, b"")).digest()
    now = loop.time()
    desk = restore(
        *(snapshot, now, patience), operator=identity.key, secret=secret, epoch=time.time() - now
    )
    sessions = Sessions(desk, writer, identity, clock=loop.time, secret=secret)
    seed = WebSeed(data / "blobs", await reader.blobs_total())
    said = dict(snapshot.statements)
    api = Api(sessions, reader, writer, seed, identity.key, version(), said)
    log = Log(sessions, reader, identity)
    announce = AnnounceService(tracked=lambda _: True)
    app = web.Application(middlewares=[errors], client_max_size=MAX_BODY)
    announce.add_to(app)
    pages = Pages(sessions).routes()
    app.add_routes([web.get("/work", sessions.handle), *api.routes(), *log.routes(), *pages])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    writer.start()
    await runner.setup()
    try:
        address = await _listen(runner, announce, listen)
        (data / ADDRESS_FILE).write_text(address.url + "\n")
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(sessions.tick())
            yield Running(address, identity, sessions, failure)
            await sessions.close()
            ticking.cancel()
    finally:
        await runner.cleanup()
        await asyncio.to_thread(writer.stop)
        reader.close()
        (data / ADDRESS_FILE).unlink(missing_ok=True)


async def _listen(runner: web.AppRunner, announce: AnnounceService, listen: Address) -> Address:
    site = AnnounceSite(runner, announce, listen.host, listen.port)
    try:
        await site.start()
    except OSError as error:
        raise LocalError(
            f"cannot listen on {listen.host}:{listen.port}: {error.strerror}",
            hint="Choose another address: swarm tracker serve --listen HOST:PORT",
        ) from None
    port = runner.addresses[0][1]
    return Address(listen.host, port)


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


def version() -> str:
    """The installed version."""
    try:
        return installed_version("openswarm")
    except PackageNotFoundError:
        return "0"
