"""The tracker as one aiohttp application: announce, work, REST, pages; and its start and end."""

import asyncio
import fcntl
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from aiohttp import web

from tracker.address import ADDRESS_FILE, Address, operator_identity
from tracker.announce.admission import Admission
from tracker.announce.front import AnnounceSite
from tracker.announce.handlers import AnnounceService
from tracker.announce.udp import serve_udp
from tracker.api.errors import errors
from tracker.api.handlers import Api
from tracker.api.log import Log
from tracker.api.models import Models
from tracker.api.torrents import Torrents
from tracker.blobs import WebSeed
from tracker.endpoint.catalogue import Catalogue
from tracker.endpoint.keys import Keys
from tracker.endpoint.routes import Endpoint
from tracker.endpoint.swarm_parlour import SwarmParlour
from tracker.members import Directory, passkey_secret
from tracker.pages import Pages
from tracker.registry import Registry
from tracker.sessions import Sessions
from tracker.settings import NO_UDP, Settings
from tracker.store.reader import Reader
from tracker.store.writer import Then, Writer
from tracker.work.desk import Desk
from tracker.work.floor import Patience
from tracker.work.restore import restore
from workunits.errors import LocalError
from workunits.ids import PeerKey
from workunits.signing import Domain, Identity

log = logging.getLogger(__name__)

DATABASE = "tracker.sqlite"
LOCK_FILE = "lock"
ENDPOINT = "endpoint"
"""The folder of files and batches."""

MAX_BODY = 17 << 20


@dataclass(slots=True)
class Running:
    """A tracker that serves. ``failure`` is set when it cannot go on."""

    address: Address
    identity: Identity
    sessions: Sessions
    failure: "asyncio.Future[LocalError]"
    announce: AnnounceService
    listing: Torrents
    parlour: SwarmParlour
    udp_port: int | None = None


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
    data: Path,
    listen: Address,
    *,
    patience: Patience | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[Running]:
    """Run a tracker on ``data`` until the block is left. Raises ``LocalError`` when it cannot."""
    identity = operator_identity(data)
    with _alone_on(data):
        async with _serve(data, listen, identity, patience, settings or Settings()) as running:
            yield running


@asynccontextmanager
async def _serve(
    data: Path,
    listen: Address,
    identity: Identity,
    patience: Patience | None,
    settings: Settings,
) -> AsyncIterator[Running]:
    loop = asyncio.get_running_loop()
    failure: asyncio.Future[LocalError] = loop.create_future()

    def done(callbacks: list[Then]) -> None:
        loop.call_soon_threadsafe(_call_all, callbacks)

    def failed(error: LocalError) -> None:
        loop.call_soon_threadsafe(failure.set_result, error)

    writer = Writer(data / DATABASE, done, failed, lambda rows: listing.registry.watch(rows))
    reader = Reader(data / DATABASE)
    snapshot = reader.snapshot()
    secret = sha256(identity.sign(Domain.CHANCE, b"")).digest()
    now = loop.time()
    desk = restore(
        *(snapshot, now, patience), operator=identity.key, secret=secret, epoch=time.time() - now
    )
    listing = _listing(reader, desk, identity, settings)
    sessions = Sessions(desk, writer, identity, clock=loop.time, secret=secret)
    seed = WebSeed(data / "blobs", await reader.blobs_total())
    said = dict(snapshot.statements)
    models = _models(reader, sessions, seed, listing, identity, settings)
    parlour = models.parlour
    api = Api(sessions, reader, writer, seed, identity.key, version(), listing, models, said)
    ledger = Log(sessions, reader, identity)
    announce = AnnounceService(admission=listing.admission, clock=loop.time)
    app = web.Application(middlewares=[errors], client_max_size=MAX_BODY)
    announce.add_to(app)
    pages = Pages(sessions, announce, listing.registry, lambda: loop.time() - now, parlour)
    app.add_routes([web.get("/work", sessions.handle), *api.routes(), *ledger.routes()])
    app.add_routes([*listing.routes(), *models.routes(), *pages.routes()])
    endpoint = await asyncio.to_thread(Endpoint.open, parlour, parlour.keys, data / ENDPOINT)
    app.add_routes(endpoint.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    writer.start()
    parlour.start()
    sessions.apply()
    await runner.setup()
    try:
        address = await _listen(runner, announce, listen)
        async with AsyncExitStack() as stack:
            port = listing.udp_port = await _listen_udp(stack, announce, address, settings.udp)
            (data / ADDRESS_FILE).write_text(address.url + "\n")
            async with asyncio.TaskGroup() as group:
                ticking = [group.create_task(each.tick()) for each in (sessions, parlour)]
                ticking.append(group.create_task(endpoint.runner.run()))
                yield Running(
                    *(address, identity, sessions, failure, announce, listing, parlour, port)
                )
                await sessions.close()
                for task in ticking:
                    task.cancel()
    finally:
        await runner.cleanup()
        endpoint.close()
        await asyncio.to_thread(writer.stop)
        reader.close()
        (data / ADDRESS_FILE).unlink(missing_ok=True)


def _models(
    reader: Reader,
    sessions: Sessions,
    seed: WebSeed,
    listing: Torrents,
    identity: Identity,
    settings: Settings,
) -> Models:
    """Published models, API keys and the parlour, as the database has them."""
    keys = Keys(reader.api_keys(), reader.usage())
    catalogue = Catalogue(trusted=listing.members.__contains__, operator=identity.key)
    parlour = SwarmParlour(
        *(sessions, identity, keys, catalogue), policy=settings.answers, waiting=settings.waiting
    )
    models = Models(parlour, sessions.desk.book, seed, identity.key, time.time)
    catalogue.fill(reader.models(), models.read_known)
    return models


def _listing(reader: Reader, desk: Desk, identity: Identity, settings: Settings) -> Torrents:
    """Which torrents are tracked and for whom, as the database has it."""

    def accounted(key: PeerKey) -> bool:
        peer = desk.peers.get(key)
        return key in desk.book.accounts and not (peer and peer.banned)

    directory = Directory(
        *(passkey_secret(identity), reader.members()), operator=identity.key, accounted=accounted
    )
    registry = Registry(trusted=directory.__contains__, operator=identity.key)
    registry.fill(reader.naming(), reader.web_seeded(), reader.torrents())
    admission = Admission(
        settings.mode,
        listed=registry.__contains__,
        members=directory,
        tracker=identity.key,
        wall=time.time,
    )
    clock = asyncio.get_running_loop().time
    return Torrents(
        *(registry, directory, admission, identity.key, settings.reach), clock, time.time
    )


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


async def _listen_udp(
    stack: AsyncExitStack, announce: AnnounceService, tcp: Address, chosen: Address | None
) -> int | None:
    """The port of the UDP tracker, if there is one."""
    if chosen == NO_UDP:
        return None
    at = chosen or tcp
    try:
        return await stack.enter_async_context(serve_udp(announce, at.host, at.port))
    except OSError as error:
        if chosen is not None:
            raise LocalError(
                f"cannot listen on {at.host}:{at.port} for UDP: {error.strerror}",
                hint="Choose another address: swarm tracker serve --udp HOST:PORT, or --udp off",
            ) from None
        # The port was asked for TCP, or drawn for it; for UDP it may be taken.
        log.warning("no UDP: cannot listen on %s:%s: %s", at.host, at.port, error.strerror)
        return None


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


def version() -> str:
    """The installed version."""
    try:
        return installed_version("openswarm")
    except PackageNotFoundError:
        return "0"
