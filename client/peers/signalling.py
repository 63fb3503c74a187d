"""The way to a WebTorrent tracker: when to announce what, and one WebSocket for all blobs."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import aiohttp

from workunits.errors import RemoteError
from workunits.wire.signalling import (
    MAX_MESSAGE,
    AnnounceReply,
    Event,
    Failure,
    FromTracker,
    parse_from_tracker,
)

log = logging.getLogger(__name__)

OFFERS = 5
"""Offers in one announce, at most."""

TARGET_PEERS = 6
"""Peers that a download looks for; a seed takes whoever comes."""

HUNGRY_INTERVAL = (8.0, 15.0)
"""Seconds between the announces of a download that lacks peers."""

SOON_INTERVAL = (1.0, 2.0)
"""Seconds until the next announce when there is somebody to be had who has no offer of ours."""

INTERVALS = (30.0, 900.0)
"""Seconds; what a tracker may ask for as the interval."""

MOST_FRUITLESS = 4
"""How often the wait is doubled while nobody takes our offers: who is there may be connected to us
in another way, or speak no WebRTC."""

REFUSED_INTERVALS = (10.0, 300.0)
BACKOFF = (0.5, 60.0)
"""Seconds between attempts, first and last: after a refusal, and to connect."""

MAX_WAITING = 1024
"""Messages that may wait for the tracker to read them."""

HEARTBEAT = 30.0
CONNECT_TIMEOUT = 10.0
LIFETIME = 18 * 3600.0
"""Seconds after which a connection is made anew, because its URL may be signed for a day only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An announce that is due."""

    event: Event
    offers: int


class Schedule:
    """When one blob is announced, and with how many offers. Times are seconds on one clock.

    Every connection to the tracker starts with an announce without offers: making an offer costs
    sockets and CPU, and the reply says whether there is anybody to take it.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._refusals = 0
        self._seeding = False
        self.reset()

    def reset(self) -> None:
        """The connection to the tracker is new: start over."""
        self._next = float("-inf")
        self._started = False
        self._offered = 0
        self._complete = 0
        self._incomplete = 0
        self._heard = False
        self._addressed: int | None = None
        self._fruitless = 0
        self._before = (0, 0, 0)

    @property
    def alone(self) -> bool:
        """Whether the tracker said that nobody else is there."""
        ourselves = 1 if self._addressed is None else 2
        return self._heard and not self._complete and self._incomplete <= ourselves

    def addressed(self, others: int) -> None:
        """We are announced over HTTP too, and so are ``others``: they are counted twice, or cannot
        take an offer."""
        self._addressed = others

    def due(
        self, now: float, *, seeding: bool, peers: int, pending: int, idle: int = 0
    ) -> Plan | None:
        """What to announce now; it counts as sent. ``pending`` offers still wait, and ``idle`` of
        the ``peers`` have brought nothing for long."""
        finished = seeding and not self._seeding and self._started
        if now < self._next and not finished:
            return None
        self._seeding = seeding
        event = Event.NONE
        if not self._started:
            event = Event.STARTED
        elif finished:
            event = Event.COMPLETED
        self._offered = 0 if event else self._wanted(peers + pending, idle)
        self._started = True
        self._next = now + self._rng.uniform(*HUNGRY_INTERVAL)
        return Plan(event, self._offered)

    def replied(
        self, reply: AnnounceReply, now: float, *, peers: int, pending: int, idle: int = 0
    ) -> None:
        """The tracker answered."""
        self._refusals = 0
        self._heard = True
        self._complete, self._incomplete = reply.complete, reply.incomplete
        state = (reply.complete, reply.incomplete, peers)
        if self._offered:
            more = self._before == state
            self._fruitless = min(self._fruitless + 1, MOST_FRUITLESS) if more else 0
            self._before = state
        wanted = self._wanted(peers + pending, idle)
        if wanted and not self._offered:
            self._next = now
        elif wanted and not self._seeding:
            self._next = now + self._rng.uniform(*SOON_INTERVAL) * 2**self._fruitless
        elif self._seeding or peers - idle >= TARGET_PEERS:
            interval = max(INTERVALS[0], min(INTERVALS[1], reply.interval))
            self._next = now + interval * self._rng.uniform(0.9, 1.0)
        else:
            self._next = now + self._rng.uniform(*HUNGRY_INTERVAL)

    def lost(self, now: float) -> None:
        """A peer of an unfinished download is gone: look for another one soon."""
        if self._started:
            self._next = min(self._next, now + self._rng.uniform(*SOON_INTERVAL))

    def refused(self, now: float) -> None:
        """The tracker does not want this blob (yet)."""
        first, last = REFUSED_INTERVALS
        self._next = now + min(last, first * 2**self._refusals) * self._rng.uniform(0.5, 1.0)
        self._refusals = min(self._refusals + 1, 10)
        self._started = False

    def again(self) -> None:
        """What the tracker refused before it may want now: ask at once."""
        if self._refusals:
            self._refusals = 0
            self._next = float("-inf")

    def _wanted(self, have: int, idle: int) -> int:
        others = self._incomplete if self._seeding else self._complete + self._incomplete - 1
        if have and self._addressed is not None:
            # Ours is among them; seeds are not told of other seeds, nor counted here.
            others -= self._addressed + (not self._seeding)
        if self._seeding:
            return max(0, min(OFFERS, others - have))
        return max(0, min(OFFERS, others - have, TARGET_PEERS - have + idle))


class Backoff:
    """Growing, jittered waits."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._failures = 0

    def reset(self) -> None:
        """It worked."""
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        first, last = BACKOFF
        wait: float = min(last, first * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        return wait * self._rng.uniform(0.5, 1.0)


class TrackerSocket:
    """One WebSocket to a tracker that is made again whenever it breaks."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str | Callable[[], str],
        *,
        rng: Random,
        connected: Callable[[], None],
        received: Callable[[FromTracker], None],
    ) -> None:
        """``url`` is that of the WebSocket (``http`` or ``ws`` scheme, or with TLS). If it gives
        one, it is asked for every connection, and in time before what it signs is over."""
        self._session = session
        self._url = url
        self._backoff = Backoff(rng)
        self._connected = connected
        self._received = received
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Event()
        self.online = False

    def send(self, text: str) -> bool:
        """Queue a message. False when there is no connection or it does not drain."""
        if not self.online or len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(text)
        self._wake.set()
        return True

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                await self._session_once()
            except* (aiohttp.ClientError, OSError, TimeoutError) as errors:
                log.debug("the tracker's WebSocket: %s", errors.exceptions)
            finally:
                self.online = False
                self._waiting.clear()
            await asyncio.sleep(self._backoff.next())

    async def _session_once(self) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            socket = await self._session.ws_connect(
                self._url() if callable(self._url) else self._url,
                heartbeat=HEARTBEAT,
                max_msg_size=MAX_MESSAGE,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
            )
        async with socket, asyncio.timeout(LIFETIME), asyncio.TaskGroup() as group:
            writer = group.create_task(self._write(socket))
            self.online = True
            self._connected()
            async for message in socket:
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    break
                self._take(message.data)
            writer.cancel()

    def _take(self, raw: str | bytes) -> None:
        try:
            parsed = parse_from_tracker(raw)
        except RemoteError as error:
            log.debug("the tracker sent something odd: %s", error)
            return
        self._backoff.reset()
        if isinstance(parsed, Failure):
            log.info("the tracker refuses: %s", parsed.reason)
        self._received(parsed)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await socket.send_str(self._waiting.popleft())
