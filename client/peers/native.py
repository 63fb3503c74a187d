"""Fetch and seed with libtorrent: what ``client.peers.swarm`` promises, several times faster.

libtorrent speaks with peers, checks pieces and writes them; blobs, holds, folders and the end of a
download are ours. What it cannot do is in ``client.peers.engine``.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any

import aiohttp
import libtorrent

from client.blobs import BlobStore
from client.folders import FolderShelf, places_of
from client.peers.engine import EVERYWHERE, GRACE, PATIENCE, SEED_REASON
from client.peers.native_alerts import NativeAlerts
from client.peers.native_member import Listener, NativeMember
from client.peers.native_params import (
    FLAGS,
    SEED,
    extend,
    params_of,
    params_of_blob,
    place,
    resume,
)
from client.peers.native_renewal import FLUSH_SECONDS, Renewal
from client.peers.native_tracker import NativeTracker
from client.peers.native_webseed import assist
from client.peers.network import Network
from client.peers.session import Session, digests_of, rates_of
from client.peers.stats import BlobStats, SwarmStats, Traffic
from client.peers.storage import begin
from client.peers.throttle import Rates
from client.peers.webseed import WebSeed
from workunits.errors import LocalError, SwarmError, UnavailableError
from workunits.ids import BlobRef
from workunits.links import Target
from workunits.metainfo import Metainfo
from workunits.signing import Identity
from workunits.torrents import TorrentInfo

if TYPE_CHECKING:
    from client.peers.extensions import Gossip

log = logging.getLogger(__name__)

TICK = 1.0


class NativeSwarm:
    """An ``Engine`` on libtorrent."""

    def __init__(
        self,
        store: BlobStore,
        tracker: str,
        *,
        network: Network = EVERYWHERE,
        identity: Identity | None = None,
        gossip: "Gossip | None" = None,
        limits: Rates | None = None,
        grace: float = GRACE,
        patience: float = PATIENCE,
        rng: Random | None = None,
    ) -> None:
        """See ``client.peers.engine.Make``. Raises ``LocalError`` for what libtorrent cannot do."""
        if network.relay_only:
            raise LocalError(
                "libtorrent shows its addresses to peers", hint="Use the engine aiortc."
            )
        if gossip is not None:
            log.info("libtorrent carries no checkpoints between peers")
        self._store = store
        self._grace = grace
        self._patience = patience
        self._limits = limits or network.limits
        self._network = network
        self._rng = rng or Random(secrets.randbits(64))  # noqa: S311 - jitter is no secret
        self._members: dict[bytes, NativeMember] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._past = Traffic()
        self._base = tracker.rstrip("/")
        self._alerts = NativeAlerts(
            *(store, self._members),
            clock=lambda: self._clock(),
            leave=self._leave,
            renew=lambda member, error: self._renewal.renew(member, error),
        )
        self._session = Session(network, self._limits, self._alerts.hear)
        self._renewal = Renewal(self._session, self._spawn)
        self._tracker = NativeTracker(
            *(self._base, network, self._session, self._members),
            identity=identity,
            rng=self._rng,
        )

    async def __aenter__(self) -> "NativeSwarm":
        self._clock = asyncio.get_running_loop().time
        self._http = aiohttp.ClientSession()
        self._seed = WebSeed(self._http, self._base)
        await self._tracker.open(self._http)
        self._session.open()
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._spawn(self._tracker.listen)
        self._spawn(self._tracker.connect)
        self._spawn(self._tracker.part)
        self._spawn(self._tick_forever)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            # An error of the caller's own is not for the group to wrap.
            if isinstance(error, asyncio.CancelledError):
                await self._group.__aexit__(kind, error, trace)
            else:
                await self._group.__aexit__(None, None, None)
        finally:
            await self._keep_all()
            for member in list(self._members.values()):
                self._forget(member)
            await self._session.removed()
            await self._tracker.close()
            await self._session.close()
            await self._http.close()

    # -- for callers ------------------------------------------------------------------------

    @property
    def stats(self) -> SwarmStats:
        """Counters and what is open now."""
        self._refresh(list(self._members.values()))
        blobs = tuple(
            BlobStats(m.name, m.ref, m.seeding, m.peers, m.from_peers, m.from_webseed, m.sent)
            for m in self._members.values()
        )
        return SwarmStats(
            self._past.peers + sum(blob.from_peers for blob in blobs),
            self._past.webseed + sum(blob.from_webseed for blob in blobs),
            self._past.sent + sum(blob.sent for blob in blobs),
            sum(blob.peers for blob in blobs),
            self._tracker.online,
            blobs,
        )

    @property
    def limits(self) -> Rates:
        """Bandwidth over everything; may be changed at any time."""
        return self._limits

    @limits.setter
    def limits(self, rates: Rates) -> None:
        self._limits = rates
        self._session.apply(rates_of(rates))

    async def fetch(self, ref: BlobRef, *, progress: Listener | None = None) -> Path:
        """See ``Engine.fetch``."""
        if ref.length == 0:
            await asyncio.to_thread(self._store.add, b"")
        path = self._store.path_of(ref)
        if path is not None:
            self._join(ref)
            return path
        found = await self._wait(self._member_of(ref) or self._begin(ref), progress)
        assert isinstance(found, Path)
        return found

    def seed(self, ref: BlobRef) -> None:
        """See ``Engine.seed``."""
        if self._store.path_of(ref) is None:
            raise UnavailableError(f"blob {ref} is not in the store", hint="Add or fetch it first.")
        self._store.hold(ref, SEED_REASON)
        member = self._member_of(ref)
        if member is not None:
            self._tracker.again(member)
        self._join(ref)

    def unseed(self, ref: BlobRef) -> None:
        """See ``Engine.unseed``."""
        self._store.release(ref, SEED_REASON)
        member = self._members.get(ref.v1)
        if member is not None and member.ref == ref and not member.waiters:
            self._leave(member)

    async def download(
        self,
        target: Target,
        folder: Path,
        *,
        progress: Listener | None = None,
        sequential: bool = False,
    ) -> TorrentInfo:
        """See ``Engine.download``. Who else asks for the same torrent gets the same folder."""
        member = self._members.get(target.hash20)
        if member is None:
            known = target.known
            shelf = FolderShelf(folder, name=target.name, layers=known.layers if known else {})
            # Until the metainfo is here nothing is fetched: it says what may be overwritten.
            params = params_of(target.v1, target.v2, folder, self._tracker.urls())
            params.flags |= FLAGS.default_dont_download
            extend(params, target, self._network)
            member = self._add(target.hash20, params, shelf=shelf)
            member.info = known.info if known else None
            member.result = asyncio.get_running_loop().create_future()
            work = self._run_folder(member, target, folder, sequential=sequential)
            self._spawn(self._run, member, member.result, work, member=member)
        found = await self._wait(member, progress)
        assert isinstance(found, TorrentInfo)
        return found

    async def share(
        self,
        info: TorrentInfo,
        folder: Path,
        *,
        name: str = "",
        layers: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """See ``Engine.share``."""
        if info.hash20 in self._members:
            return
        shelf = FolderShelf(folder, info, name=name, layers=layers, complete=True)
        shelf.open().close()  # whether it is there
        urls = self._tracker.urls()
        params = params_of(info.v1, info.v2, folder, urls, raw=info.raw, layers=layers)
        place(params, places_of(info, name))
        params.have_pieces = [True] * info.count
        params.flags |= SEED
        self._add(info.hash20, params, shelf=shelf, info=info, seeding=True)

    # -- members ----------------------------------------------------------------------------

    def _add(self, name: bytes, params: Any, **about: Any) -> NativeMember:
        handle = self._renewal.admit(params)
        member = NativeMember(name, handle, handle.status(0), self._clock(), **about)
        self._members[name] = member
        return member

    def _member_of(self, ref: BlobRef) -> NativeMember | None:
        member = self._members.get(ref.v1)
        if member is not None and member.ref != ref:
            raise UnavailableError(
                f"blob {ref} shares its v1 hash with another one", hint="One of them is forged."
            )
        return member

    def _join(self, ref: BlobRef) -> None:
        """Serve a blob of the store."""
        info, path = self._store.info_of(ref), self._store.path_of(ref)
        if self._member_of(ref) is not None or info is None or path is None or not ref.length:
            return
        digests = self._store.digests_of(ref)
        params = params_of_blob(ref, path.parent, self._tracker.urls(), info, digests=digests)
        params.have_pieces = [True] * info.count
        params.flags |= SEED
        self._add(ref.v1, params, ref=ref, blob=info, seeding=True)

    def _begin(self, ref: BlobRef) -> NativeMember:
        """Fetch a blob, or go on with it."""
        known = self._store.part_info_of(ref)
        storage = self._store.begin(known) if known is not None else None
        have = storage.verified if storage is not None else frozenset()
        params = self._blob_params(ref, known, have)
        member = self._add(ref.v1, params, ref=ref, blob=known, storage=storage)
        member.params = lambda have: self._blob_params(ref, member.blob, have)
        member.kept = sum(map(known.size_of, have)) if known is not None else 0
        member.result = asyncio.get_running_loop().create_future()
        self._spawn(self._run, member, member.result, self._run_blob(member, ref), member=member)
        return member

    def _blob_params(self, ref: BlobRef, info: Metainfo | None, have: frozenset[int]) -> Any:
        params = params_of_blob(ref, self._store.part_folder(ref), self._tracker.urls(), info)
        if info is not None and have:
            resume(params, have, info.count)
        return params

    async def _wait(self, member: NativeMember, progress: Listener | None) -> Any:
        assert member.result is not None
        member.waiters += 1
        if progress is not None:
            member.listeners.append(progress)
        try:
            return await asyncio.shield(member.result)
        finally:
            member.waiters -= 1
            if progress is not None:
                member.listeners.remove(progress)
            if not member.waiters and not member.seeding:
                self._leave(member)

    def _leave(self, member: NativeMember) -> None:
        self._forget(member)
        for task in member.tasks:
            task.cancel()

    def _forget(self, member: NativeMember) -> None:
        if self._members.get(member.name) is not member:
            return
        self._refresh([member])
        del self._members[member.name]
        self._past.peers += member.from_peers
        self._past.webseed += member.from_webseed
        self._past.sent += member.sent
        self._session.remove(member.handle)
        self._tracker.left(member)
        member.close()

    def _refresh(self, members: list[NativeMember]) -> None:
        statuses = self._session.refresh([member.status for member in members])
        for member, status in zip(members, statuses, strict=True):
            member.status = status

    # -- a download -------------------------------------------------------------------------

    async def _run(
        self,
        member: NativeMember,
        result: "asyncio.Future[Any]",
        work: Coroutine[Any, Any, Any],
    ) -> None:
        try:
            found = await work
        except SwarmError as error:
            member.fail(error)
            self._leave(member)
            return
        except Exception:
            self._leave(member)
            raise
        member.seeding = True
        member.handle.set_flags(FLAGS.upload_mode)
        self._refresh([member])
        member.report()
        if not result.done():
            result.set_result(found)

    async def _run_blob(self, member: NativeMember, ref: BlobRef) -> Path:
        async with asyncio.TaskGroup() as group:
            helper = group.create_task(
                assist(
                    *(member, ref, self._seed),
                    grace=self._grace,
                    know=lambda info: self._told(member, ref, info),
                    clock=self._clock,
                    rng=self._rng,
                )
            )
            await member.ended.wait()
            helper.cancel()
        assert member.blob is not None or member.failure is not None
        path = await self._commit(member, member.blob)
        moved = member.ask("moved")
        how = libtorrent.move_flags_t.reset_save_path_unchecked
        member.handle.move_storage(str(path.parent), how)
        await moved
        return path

    async def _run_folder(
        self, member: NativeMember, target: Target, folder: Path, *, sequential: bool
    ) -> TorrentInfo:
        shelf = member.shelf
        assert shelf is not None
        info: TorrentInfo = member.info or await member.ask("metadata")

        def params(have: frozenset[int]) -> Any:
            made = params_of(info.v1, info.v2, folder, self._tracker.urls(), raw=info.raw)
            extend(made, target, self._network)
            place(made, places_of(info, target.name))
            resume(made, have, info.count)
            made.flags |= FLAGS.sequential_download if sequential else 0
            return made

        member.storage, member.params = await begin(shelf, info), params
        member.progressed = self._clock()
        self._renewal.replace(member)
        await member.ended.wait()
        await self._commit(member, info if info.single and info.v2 else None)
        return info

    async def _commit(self, member: NativeMember, tree: Metainfo | TorrentInfo | None) -> Path:
        """Every piece is there: check the SHA-256 side, and give it all its name."""
        if member.failure is not None:
            raise member.failure
        storage, about = member.storage, member.about
        assert storage is not None and about is not None
        asked = member.ask("resume")
        member.handle.save_resume_data(libtorrent.save_resume_flags_t.flush_disk_cache)
        resume = await asked
        digests = await asyncio.to_thread(digests_of, resume, tree) if tree is not None else {}
        for piece in range(about.count):
            if piece not in storage.verified:
                storage.keep(piece, digests.get(piece, b""))
        path = await asyncio.to_thread(storage.commit)
        member.storage = None
        storage.close()
        return path

    async def _keep_all(self) -> None:
        """At the end: what came is to be there the next time."""
        members = [m for m in self._members.values() if m.storage is not None]
        asked = []
        for member in members:
            asked.append(member.ask("flushed"))
            member.flushing |= member.fresh
            member.handle.flush_cache()
        if asked:
            await asyncio.wait(asked, timeout=FLUSH_SECONDS)

    def _told(self, member: NativeMember, ref: BlobRef, info: Metainfo) -> None:
        """The info dictionary came from the web seed."""
        if member.blob is not None:
            return
        try:
            member.blob, member.storage = info, self._store.begin(info)
            self._renewal.replace(member)
        except SwarmError as error:
            member.fail(error)

    # -- tasks ------------------------------------------------------------------------------

    def _spawn(
        self,
        work: Callable[..., Coroutine[Any, Any, None]],
        *args: object,
        member: NativeMember | None = None,
    ) -> None:
        """Run ``work(*args)`` until it ends, ``member`` is left, or we close."""
        task = self._group.create_task(self._contained(work, args))
        for tasks in (self._tasks, member.tasks if member is not None else self._tasks):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _contained(
        self, work: Callable[..., Coroutine[Any, Any, None]], args: tuple[object, ...]
    ) -> None:
        """A bug about one torrent must not end the others."""
        try:
            await work(*args)
        except Exception:
            log.exception("a task of the swarm failed")

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._tick(self._clock())

    def _tick(self, now: float) -> None:
        self._refresh([member for member in self._members.values() if not member.seeding])
        for member in list(self._members.values()):
            self._tracker.tick(member, now)
            if not member.seeding:
                self._watch(member, now)
            elif member.ref is not None and self._store.info_of(member.ref) is None:
                self._leave(member)  # evicted

    def _watch(self, member: NativeMember, now: float) -> None:
        if member.ended.is_set():
            return
        if member.from_peers > member.received:
            member.received, member.progressed = member.from_peers, now
        if now - member.progressed > self._patience:
            member.fail(
                UnavailableError(
                    f"nobody delivered {member.ref or member.name.hex()} "
                    f"for {self._patience:.0f} s",
                    hint="Check that a peer which has it is online and can be reached.",
                )
            )
        if member.storage is not None and member.fresh and not member.flushing:
            member.flushing, member.fresh = member.fresh, set()
            member.handle.flush_cache()
        member.report()
