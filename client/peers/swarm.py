"""Fetch and seed torrents among peers: the whole data plane behind one object.

async with BlobSwarm(store, "http://127.0.0.1:8080") as swarm:
    path = await swarm.fetch(ref)
    swarm.seed(other)
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import aiohttp

from client.blobs import BlobStore
from client.peers.extensions import Gossip
from client.peers.member import Batch, Listener, Member
from client.peers.signalling import Schedule, TrackerSocket
from client.peers.stats import BlobStats, Progress, SwarmStats, Traffic
from client.peers.storage import Shelf
from client.peers.torrent import Torrent
from client.peers.transport import Channel, Connector, Dial
from client.peers.webrtc import WebRtcConnector
from client.peers.webseed import WebSeed, assist
from client.shelf import BlobShelf
from workunits.errors import SwarmError, UnavailableError
from workunits.ids import BlobRef
from workunits.links import Target
from workunits.wire.signalling import (
    ID_SIZE,
    Announce,
    AnnounceReply,
    Answer,
    Event,
    Failure,
    FromTracker,
    Offer,
    RelayedAnswer,
    RelayedOffer,
)

log = logging.getLogger(__name__)

PEER_PREFIX = b"-OS0100-"
OFFER_TIMEOUT = 50.0
"""Seconds that an offer waits for its answer."""

FRESH_OFFER = 5.0
"""Seconds after which an offer no longer counts as a peer to be."""

GRACE = 5.0
"""Seconds without content from any peer, after which the web seed is asked; at once if alone."""

PATIENCE = 300.0
"""Seconds without content from anywhere, after which a fetch fails."""

TICK = 1.0
MAX_PEERS = 32
MAX_CONNECTIONS = 200
MAX_ANSWERS = 16
"""Limits: peers of one blob, connections of all blobs, answers that are being made."""

MAX_ANNOUNCES = 50
"""Announces in one tick, so that a reconnect with many blobs is no burst."""

RECENT = 60.0
SEED_REASON = "seed"


class BlobSwarm:
    """An async context manager; everything it started has ended when it exits."""

    def __init__(
        self,
        store: BlobStore,
        tracker: str,
        *,
        connector: Connector | None = None,
        gossip: Gossip | None = None,
        rng: Random | None = None,
        grace: float = GRACE,
        patience: float = PATIENCE,
    ) -> None:
        """``tracker`` is a base URL. ``grace`` and ``patience`` are seconds.

        ``gossip`` hears what peers saw of the tracker's ledger, and tells them.
        """
        self._store = store
        self._tracker = tracker.rstrip("/")
        self._connector = connector or WebRtcConnector()
        self._gossip = gossip
        self._rng = rng or Random(secrets.randbits(64))  # noqa: S311 - jitter is no secret
        self._grace = grace
        self._patience = patience
        self._peer_id = PEER_PREFIX + secrets.token_bytes(12)
        self._members: dict[bytes, Member] = {}
        self._offers: dict[bytes, asyncio.Future[RelayedAnswer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._past = Traffic()

    async def __aenter__(self) -> "BlobSwarm":
        self._clock = asyncio.get_running_loop().time
        self._session = aiohttp.ClientSession()
        self._socket = TrackerSocket(
            self._session,
            f"{self._tracker}/announce",
            rng=self._rng,
            connected=self._connected,
            received=self._received,
        )
        self._seed = WebSeed(self._session, self._tracker)
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._spawn(self._socket.run)
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
            for member in list(self._members.values()):
                self._forget(member)
            await self._session.close()

    # -- for callers ------------------------------------------------------------------------

    @property
    def stats(self) -> SwarmStats:
        """Counters and what is open now."""
        blobs = tuple(
            BlobStats(
                member.torrent.target.hash20,
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

    async def _completed(self, member: Member, progress: Listener | None) -> Path:
        if member.result is None:
            member.result = asyncio.get_running_loop().create_future()
            self._spawn(self._download, member, member.result, member=member)
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
        """Serve ``ref``, and keep it from eviction, until ``unseed``.

        Raises ``UnavailableError`` when it is not in the store.
        """
        if self._store.path_of(ref) is None:
            raise UnavailableError(f"blob {ref} is not in the store", hint="Add or fetch it first.")
        self._store.hold(ref, SEED_REASON)
        self._join_blob(ref)

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
            sequential=sequential,
            ref=ref,
        )
        member = Member(torrent, Schedule(self._rng))
        self._members[target.hash20] = member
        self._announce_due(member)
        return member

    def _leave(self, member: Member) -> None:
        self._forget(member)
        for task in member.tasks:
            task.cancel()
        self._announce(member, Event.STOPPED)

    def _forget(self, member: Member) -> None:
        torrent = member.torrent
        if self._members.get(torrent.target.hash20) is member:
            del self._members[torrent.target.hash20]
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
            if member.torrent.ref is None:
                await torrent.complete.wait()
            else:
                await self._assisted(member, member.torrent.ref)
            path = await torrent.finish()
        except SwarmError as error:
            if not result.done():
                result.set_exception(error)
                result.exception()  # the callers may all be gone
            self._leave(member)
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
                    member.torrent,
                    *(ref, self._seed),
                    grace=self._grace,
                    alone=lambda: member.schedule.alone,
                    clock=self._clock,
                    rng=self._rng,
                )
            )
            await member.torrent.complete.wait()
            helper.cancel()

    def _report(self, member: Member) -> None:
        torrent = member.torrent
        progress = Progress(torrent.done, torrent.length or 0, torrent.peers)
        for listener in member.listeners:
            listener(progress)

    # -- tasks ------------------------------------------------------------------------------

    def _spawn(
        self,
        work: Callable[..., Coroutine[Any, Any, None]],
        *args: object,
        member: Member | None = None,
        then: Callable[[], object] | None = None,
    ) -> None:
        """Run ``work(*args)`` until it ends, ``member`` is left, or we close; then ``then``."""
        task = self._group.create_task(self._contained(work, args))
        for tasks in (self._tasks, member.tasks if member is not None else self._tasks):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if then is not None:
            # Not in a ``finally`` of the work: a task cancelled before its start never gets there.
            task.add_done_callback(lambda _: then())

    async def _contained(
        self, work: Callable[..., Coroutine[Any, Any, None]], args: tuple[object, ...]
    ) -> None:
        """A bug met by one peer's bytes must not end everybody's connections."""
        try:
            await work(*args)
        except Exception:
            log.exception("a task of the blob swarm failed")

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._tick()

    def _tick(self) -> None:
        now = self._clock()
        for member in list(self._members.values()):
            torrent = member.torrent
            torrent.tick()
            if torrent.seeding:
                if (
                    member.torrent.ref is not None
                    and self._store.info_of(member.torrent.ref) is None
                ):
                    self._leave(member)  # evicted
            elif not torrent.complete.is_set():
                if now - torrent.progressed > self._patience:
                    torrent.fail(
                        UnavailableError(
                            f"nobody delivered {torrent.target} for {self._patience:.0f} s",
                            hint="Check that a peer which has it is online and can be reached.",
                        )
                    )
                self._report(member)
        sent = 0
        for member in list(self._members.values()):
            sent += self._announce_due(member)
            if sent >= MAX_ANNOUNCES:
                break

    # -- the tracker ------------------------------------------------------------------------

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
            pending=self._pending(member),
        )
        if plan is None:
            return False
        if plan.offers and self._room(member):
            batch = Batch(plan.event, plan.offers)
            for _ in range(plan.offers):
                key = secrets.token_bytes(ID_SIZE)
                member.offering[key] = self._clock()
                done = partial(member.offering.pop, key, None)
                self._spawn(self._offer, member, key, batch, member=member, then=done)
        else:
            self._announce(member, plan.event)
        return True

    def _announce(self, member: Member, event: Event, offers: tuple[Offer, ...] = ()) -> bool:
        torrent = member.torrent
        left = None if torrent.length is None else max(1, torrent.length - torrent.done)
        message = Announce(
            torrent.target.hash20,
            self._peer_id,
            left=0 if torrent.seeding else left,
            event=event,
            numwant=len(offers),
            uploaded=torrent.traffic.sent,
            downloaded=torrent.traffic.peers + torrent.traffic.webseed,
            offers=offers,
        )
        return self._socket.send(message.encode())

    def _received(self, message: FromTracker) -> None:
        info_hash = getattr(message, "info_hash", None)
        member = self._members.get(info_hash) if info_hash else None
        if member is None:
            return
        match message:
            case AnnounceReply():
                peers, pending = member.torrent.peers, self._pending(member)
                member.schedule.replied(message, self._clock(), peers=peers, pending=pending)
                self._announce_due(member)
            case Failure():
                member.schedule.refused(self._clock())
            case RelayedOffer():
                self._consider(member, message)
            case RelayedAnswer(_, _, offer_id, _):
                waiting = self._offers.pop(offer_id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)

    # -- connections ------------------------------------------------------------------------

    def _pending(self, member: Member) -> int:
        """Offers that an answer is likely for; one that was passed over never gets any."""
        since = self._clock() - FRESH_OFFER
        return sum(begun >= since for begun in member.offering.values())

    def _room(self, member: Member) -> bool:
        torrent = member.torrent
        everywhere = sum(m.torrent.peers + len(m.offering) for m in self._members.values())
        here = torrent.peers + len(member.offering) + len(member.answering)
        return here < MAX_PEERS and everywhere < MAX_CONNECTIONS

    async def _offer(self, member: Member, key: bytes, batch: Batch) -> None:
        """Make one offer of a batch, wait for its answer, and run the connection."""
        torrent = member.torrent
        dial: Dial | None = None
        try:
            try:
                dial = await self._connector.offer()
                batch.offers.append(Offer(key, dial.sdp))
            finally:
                batch.missing -= 1
                waiting = self._offers[key] = asyncio.get_running_loop().create_future()
                if not batch.missing:
                    self._announce(member, batch.event, tuple(batch.offers))
            async with asyncio.timeout(OFFER_TIMEOUT):
                answer = await waiting
            remote = answer.peer_id
            taken = remote in member.answering or torrent.connections(remote, RECENT)
            # Both offered at once: the offer of the smaller id wins, and both sides know it.
            if remote in torrent.banned or (taken and remote < self._peer_id):
                return
            channel = await dial.open(answer.sdp)
            member.offering.pop(key, None)
            await self._attach(member, channel, remote)
        except (SwarmError, OSError) as error:  # TimeoutError and ConnectionError are OSErrors
            log.debug("an offer for %s came to nothing: %s", torrent.target, error)
        finally:
            self._offers.pop(key, None)
            if dial is not None:
                await dial.close()

    async def _attach(self, member: Member, channel: Channel, remote: bytes) -> None:
        await member.torrent.attach(channel, remote)
        if not member.torrent.seeding:
            member.schedule.lost(self._clock())

    def _consider(self, member: Member, offer: RelayedOffer) -> None:
        remote, torrent = offer.peer_id, member.torrent
        unwanted = (
            remote == self._peer_id
            or remote in torrent.banned
            or remote in member.answering
            or torrent.connections(remote, RECENT) > 0
            or torrent.connections(remote) > 1
        )
        answers = sum(len(m.answering) for m in self._members.values())
        if not unwanted and answers < MAX_ANSWERS and self._room(member):
            member.answering.add(remote)
            done = partial(member.answering.discard, remote)
            self._spawn(self._answer, member, offer, member=member, then=done)

    async def _answer(self, member: Member, offer: RelayedOffer) -> None:
        torrent, remote = member.torrent, offer.peer_id
        dial: Dial | None = None
        try:
            dial = await self._connector.answer(offer.sdp)
            reply = Answer(torrent.target.hash20, self._peer_id, remote, offer.offer_id, dial.sdp)
            if not self._socket.send(reply.encode()):
                return
            channel = await dial.open()
            member.answering.discard(remote)
            await self._attach(member, channel, remote)
        except (SwarmError, OSError) as error:
            log.debug("an offer for %s came to nothing: %s", torrent.target, error)
        finally:
            if dial is not None:
                await dial.close()
