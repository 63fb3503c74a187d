"""Fetch and seed torrents among peers: the whole data plane behind one object.

async with BlobSwarm(store, "http://127.0.0.1:8080") as swarm:
    path = await swarm.fetch(ref)
    swarm.seed(other)
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from types import TracebackType

import aiohttp

from client.blobs import BlobStore
from client.folders import FolderShelf
from client.peers.addresses import AddressBook
from client.peers.direct import Direct
from client.peers.engine import EVERYWHERE, GRACE, PATIENCE, SEED_REASON
from client.peers.extensions import Address, Gossip
from client.peers.member import Listener, Member, Roster
from client.peers.network import Network
from client.peers.reach import Beacon
from client.peers.rendezvous import Rendezvous
from client.peers.signalling import Schedule, TrackerSocket
from client.peers.stats import BlobStats, Progress, SwarmStats, Traffic
from client.peers.storage import Shelf
from client.peers.tasks import Tasks
from client.peers.throttle import Rates, Throttle
from client.peers.torrent import Torrent
from client.peers.transport import Connector
from client.peers.webrtc import Ice, WebRtcConnector
from client.peers.webseed import WebSeed, assist
from client.shelf import BlobShelf
from workunits.errors import SwarmError, UnavailableError
from workunits.ids import BlobRef, PeerKey
from workunits.links import Target
from workunits.passes import SignedPass
from workunits.signing import Identity
from workunits.torrents import TorrentInfo
from workunits.wire.signalling import (
    AnnounceReply,
    Event,
    Failure,
    FromTracker,
    RelayedAnswer,
    RelayedOffer,
)

log = logging.getLogger(__name__)
PEER_PREFIX = b"-OS0100-"
PASS_SECONDS = 20 * 3600
"""For how long we sign that we may announce."""

TICK = 1.0
MAX_ANNOUNCES = 50
"""Announces in one tick, so that a reconnect with many blobs is no burst."""


class BlobSwarm:
    """An async context manager; everything it started has ended when it exits."""

    def __init__(
        self,
        store: BlobStore,
        tracker: str,
        *,
        network: Network = EVERYWHERE,
        identity: Identity | None = None,
        connector: Connector | None = None,
        gossip: Gossip | None = None,
        rng: Random | None = None,
        limits: Rates | None = None,
        grace: float = GRACE,
        patience: float = PATIENCE,
        local_hosts: Sequence[str] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``tracker`` is a base URL. ``grace`` and ``patience`` are seconds.

        ``identity`` announces where only members may. ``connector`` takes the place of WebRTC, and
        ``limits`` that of the limits of ``network``. ``gossip`` hears what peers saw of the
        tracker's ledger, and tells them. ``local_hosts`` are our addresses for mDNS, by default
        all in local networks. ``wall`` gives Unix seconds.
        """
        self._store = store
        self._tracker = tracker.rstrip("/")
        self._network = network
        self._identity = identity
        self._connector = connector or WebRtcConnector(self._ice)
        self._gossip = gossip
        self._limits = limits or network.limits
        self._local_hosts = local_hosts
        self._wall = wall
        self._rng = rng or Random(secrets.randbits(64))  # noqa: S311 - jitter is no secret
        self._grace = grace
        self._patience = patience
        self._peer_id = PEER_PREFIX + secrets.token_bytes(12)
        self._members: dict[bytes, Member] = {}
        self._past = Traffic()

    async def __aenter__(self) -> "BlobSwarm":
        self._clock = asyncio.get_running_loop().time
        self._throttle = Throttle(self._limits, clock=self._clock)
        self._tasks = Tasks()
        self._roster = Roster(
            *(self._peer_id, self._rng, self._clock, self._tasks.spawn, self._throttle),
            members=self._members,
        )
        self._session = aiohttp.ClientSession()
        sign = self._pass if self._identity is not None else None
        self._beacon = Beacon(self._session, self._tracker, rng=self._rng, sign=sign)
        self._direct = Direct(
            *(self._roster, self._network, self._beacon, self._tracker),
            sign=sign,
            local_hosts=self._local_hosts,
        )
        self._socket = TrackerSocket(
            self._session,
            self._direct.signed,
            rng=self._rng,
            connected=self._connected,
            received=self._received,
        )
        self._rendezvous = Rendezvous(self._roster, self._connector, self._socket.send)
        try:
            await self._direct.start()
        except BaseException:
            await self._session.close()
            raise
        self._seed = WebSeed(self._session, self._tracker, self._throttle)
        await self._tasks.__aenter__()
        self._direct.begin(self._session)
        self._tasks.spawn(self._beacon.run)
        self._tasks.spawn(self._connect)
        self._tasks.spawn(self._tick_forever)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._direct.hang_up()
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            try:
                await self._direct.end()
            finally:
                for member in list(self._members.values()):
                    self._forget(member)
                await self._session.close()

    # -- for callers ------------------------------------------------------------------------

    @property
    def stats(self) -> SwarmStats:
        """Counters and what is open now."""
        blobs = tuple(
            BlobStats(
                member.info_hash,
                member.torrent.ref,
                member.torrent.seeding,
                member.torrent.peers,
                member.torrent.traffic.peers,
                member.torrent.traffic.webseed,
                member.torrent.traffic.sent,
            )
            for member in self._members.values()
        )
        return SwarmStats(
            self._past.peers + sum(blob.from_peers for blob in blobs),
            self._past.webseed + sum(blob.from_webseed for blob in blobs),
            self._past.sent + sum(blob.sent for blob in blobs),
            sum(blob.peers for blob in blobs),
            self._socket.online,
            blobs,
        )

    async def fetch(self, ref: BlobRef, *, progress: Listener | None = None) -> Path:
        """The file of ``ref``, fetched unless it is here; it is seeded from then on.

        Callers of the same blob share one download; it stops when the last of them is cancelled.
        Hold the blob in the store before fetching if it must outlive later ones.

        Raises ``UnavailableError`` when no content came for the swarm's patience, ``LimitError``
        or ``LocalError`` when it does not fit, and ``MalformedError`` when ``ref`` is inconsistent.
        """
        if ref.length == 0:
            await asyncio.to_thread(self._store.add, b"")
        path = self._store.path_of(ref)
        if path is not None:
            self._join_blob(ref)
            return path
        return await self._completed(self._join_blob(ref), progress)

    async def download(
        self,
        target: Target,
        folder: Path,
        *,
        progress: Listener | None = None,
        sequential: bool = False,
    ) -> TorrentInfo:
        """Fetch any torrent into ``folder``, with an earlier part of it; served until the end.

        Files go where ``client.folders.places_of`` says, by the target's name. ``sequential``
        fetches in order, for content that is used while it comes. Errors as for ``fetch``.
        """
        known = target.known
        shelf = FolderShelf(
            folder,
            known.info if known is not None else None,
            name=target.name,
            layers=known.layers if known is not None else None,
        )
        member = self._join(target, shelf, sequential=sequential)
        if not member.torrent.seeding:
            await self._completed(member, progress)
        assert member.torrent.info is not None
        return member.torrent.info

    async def share(
        self,
        info: TorrentInfo,
        folder: Path,
        *,
        name: str = "",
        layers: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Serve files that lie in ``folder`` until the end. Raises ``UnavailableError``.

        ``name`` is what a blob is called there; ``layers`` are piece layers by pieces root.
        """
        shelf = FolderShelf(folder, info, name=name, layers=layers, complete=True)
        self._join(Target(info.v1, info.v2, info.length), shelf)

    async def _completed(self, member: Member, progress: Listener | None) -> Path:
        if member.result is None:
            member.result = asyncio.get_running_loop().create_future()
            self._tasks.spawn(self._download, member, member.result, member=member)
        member.waiters += 1
        if progress is not None:
            member.listeners.append(progress)
        try:
            return await asyncio.shield(member.result)
        finally:
            member.waiters -= 1
            if progress is not None:
                member.listeners.remove(progress)
            if not member.waiters and not member.torrent.seeding:
                self._leave(member)

    def seed(self, ref: BlobRef) -> None:
        """Serve ``ref``, and keep it from eviction, until ``unseed``; said again, announce it at
        once where a tracker refused it.

        Raises ``UnavailableError`` when it is not in the store.
        """
        if self._store.path_of(ref) is None:
            raise UnavailableError(f"blob {ref} is not in the store", hint="Add or fetch it first.")
        self._store.hold(ref, SEED_REASON)
        member = self._join_blob(ref)
        member.again()
        self._announce_due(member)

    @property
    def limits(self) -> Rates:
        """Bandwidth over everything; may be changed at any time."""
        return self._throttle.rates

    @limits.setter
    def limits(self, rates: Rates) -> None:
        self._throttle.rates = rates

    @property
    def port(self) -> int:
        """Where it listens on TCP, 0 for nowhere."""
        return self._direct.port

    def unseed(self, ref: BlobRef) -> None:
        """Serve ``ref`` no longer; unknown ones are no error. A fetch under way goes on."""
        self._store.release(ref, SEED_REASON)
        member = self._members.get(ref.v1)
        if member is not None and member.torrent.ref == ref and not member.waiters:
            self._leave(member)

    # -- members ----------------------------------------------------------------------------

    def _join_blob(self, ref: BlobRef) -> Member:
        member = self._members.get(ref.v1)
        if member is None:
            return self._join(Target.of(ref), BlobShelf(self._store, ref), ref=ref)
        if member.torrent.ref != ref:
            raise UnavailableError(
                f"blob {ref} shares its v1 hash with another one", hint="One of them is forged."
            )
        return member

    def _join(
        self,
        target: Target,
        shelf: Shelf,
        *,
        ref: BlobRef | None = None,
        sequential: bool = False,
    ) -> Member:
        member = self._members.get(target.hash20)
        if member is not None:
            return member
        torrent = Torrent(
            *(target, shelf, self._peer_id),
            rng=self._rng,
            clock=self._clock,
            gossip=self._gossip,
            acquaint=partial(self._acquainted, target.hash20) if self._network.dials else None,
            port=self._direct.port,
            sequential=sequential,
            ref=ref,
        )
        member = Member(torrent, Schedule(self._rng), AddressBook(self._rng), target.trackers)
        self._members[target.hash20] = member
        self._announce_due(member)
        self._direct.joined(member)
        return member

    def _acquainted(self, info_hash: bytes, teller: bytes, added: tuple[Address, ...]) -> None:
        member = self._members.get(info_hash)
        if member is not None:
            self._direct.told(member, teller, added)

    def _leave(self, member: Member) -> None:
        self._forget(member)
        for task in member.tasks:
            task.cancel()
        self._rendezvous.tell(member, Event.STOPPED)
        self._direct.left(member)

    def _forget(self, member: Member) -> None:
        torrent = member.torrent
        if self._members.get(member.info_hash) is member:
            del self._members[member.info_hash]
            self._past.peers += torrent.traffic.peers
            self._past.webseed += torrent.traffic.webseed
            self._past.sent += torrent.traffic.sent
        if member.result is not None and not member.result.done():
            member.result.set_exception(
                UnavailableError("the download was stopped", hint="Fetch the blob again.")
            )
            member.result.exception()  # the callers may all be gone
        torrent.close()

    async def _download(self, member: Member, result: "asyncio.Future[Path]") -> None:
        torrent = member.torrent
        try:
            if (ref := torrent.ref or torrent.target.ref) is None:
                await torrent.receive()
            else:
                await self._assisted(member, ref)
            path = await torrent.finish()
        except Exception as error:
            told = error if isinstance(error, SwarmError) else _broken()
            if not result.done():
                result.set_exception(told)
                result.exception()  # the callers may all be gone
            self._leave(member)
            if told is not error:
                raise
            return
        if not result.done():
            result.set_result(path)
        member.result = None
        self._report(member)
        self._announce_due(member)

    async def _assisted(self, member: Member, ref: BlobRef) -> None:
        async with asyncio.TaskGroup() as group:
            helper = group.create_task(
                assist(
                    *(member.torrent, ref, self._seed),
                    grace=self._grace,
                    alone=lambda: member.schedule.alone,
                    clock=self._clock,
                    rng=self._rng,
                )
            )
            await member.torrent.receive()
            helper.cancel()

    def _report(self, member: Member) -> None:
        torrent = member.torrent
        progress = Progress(torrent.done, torrent.length or 0, torrent.peers)
        for listener in member.listeners:
            listener(progress)

    # -- time -------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._tick()

    def _tick(self) -> None:
        for member in list(self._members.values()):
            try:
                self._tend(member)
            except Exception:  # of one download or one listener: the others go on
                log.exception("%s broke off", member.torrent.target)
                if not member.torrent.seeding:
                    member.torrent.fail(_broken())
        sent = 0
        for member in list(self._members.values()):
            sent += self._announce_due(member)
            if sent >= MAX_ANNOUNCES:
                break
        self._direct.tick()

    def _tend(self, member: Member) -> None:
        torrent = member.torrent
        torrent.tick()
        if torrent.seeding:
            if torrent.ref is not None and self._store.info_of(torrent.ref) is None:
                self._leave(member)  # evicted
        elif not torrent.complete.is_set():
            if self._clock() - torrent.progressed > self._patience:
                torrent.fail(
                    UnavailableError(
                        f"nobody delivered {torrent.target} for {self._patience:.0f} s",
                        hint="Check that a peer which has it is online and can be reached.",
                    )
                )
            self._report(member)

    # -- the tracker ------------------------------------------------------------------------

    async def _connect(self) -> None:
        """How to announce, and by which servers to be reached, is for the tracker to say first."""
        await self._beacon.settled.wait()
        self._direct.tick()
        await self._socket.run()

    async def _ice(self) -> Ice:
        await self._beacon.settled.wait()
        reach = self._beacon.reach
        return Ice(reach.stun, reach.turn, self._network.relay_only, self._direct.reachable)

    def _pass(self, tracker: PeerKey) -> str:
        assert self._identity is not None
        return SignedPass.query(self._identity, int(self._wall()) + PASS_SECONDS, tracker)

    def _connected(self) -> None:
        for member in self._members.values():
            member.schedule.reset()
        for member in list(self._members.values())[:MAX_ANNOUNCES]:
            self._announce_due(member)

    def _announce_due(self, member: Member) -> bool:
        if not self._socket.online:
            return False
        torrent = member.torrent
        plan = member.schedule.due(
            self._clock(),
            seeding=torrent.seeding,
            peers=torrent.peers,
            pending=self._rendezvous.pending(member),
            idle=torrent.company.idle,
        )
        if plan is None:
            return False
        self._rendezvous.announce(member, plan)
        return True

    def _received(self, message: FromTracker) -> None:
        info_hash = getattr(message, "info_hash", None)
        member = self._members.get(info_hash) if info_hash else None
        if member is None:
            return
        match message:
            case AnnounceReply():
                company, pending = member.torrent.company, self._rendezvous.pending(member)
                counts = {"peers": len(company), "pending": pending, "idle": company.idle}
                member.schedule.replied(message, self._clock(), **counts)
                self._announce_due(member)
            case Failure():
                member.schedule.refused(self._clock())
            case RelayedOffer():
                self._rendezvous.offered(member, message)
            case RelayedAnswer():
                self._rendezvous.answered(message)


def _broken() -> UnavailableError:
    return UnavailableError("the download broke off", hint="This is a bug; please report it.")
