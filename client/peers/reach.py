"""How the tracker says that peers can reach each other: STUN, TURN, announce URLs.

    GET {tracker}/api/v1/reach

A tracker that says nothing is no error: then there is no STUN or TURN server, and what is local is
known from the address at which the tracker answered.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from urllib.parse import urlsplit

import aiohttp

from client.json_fields import JsonFields, decode_object
from client.peers.addresses import Zone, zone_of
from client.peers.signalling import Backoff
from workunits.errors import LimitError, MalformedError, RefusedError, SwarmError
from workunits.ids import HASH_SIZE, PeerKey

log = logging.getLogger(__name__)

MAX_REACH = 16 * 1024
MAX_URLS = 8
MAX_URL = 512
MAX_SECRET = 512
SECONDS = (60, 7 * 24 * 3600)
"""How long TURN credentials may hold."""

MARGIN = 0.7
"""Part of the credentials' time after which new ones are fetched."""

REFRESH = 3600.0
"""Seconds after which is asked again where nothing expires."""

_SERVER = re.compile(
    r"stun:[A-Za-z0-9._-]{1,253}(:\d{1,5})?"
    r"|turns?:[A-Za-z0-9._-]{1,253}(:\d{1,5})?(\?transport=(udp|tcp))?",
    re.ASCII,
)
# Short: nothing is announced before the tracker was asked.
_TIMEOUT = aiohttp.ClientTimeout(total=6.0, sock_connect=5.0)
MEMBERS = "members"
"""The mode of a tracker that is for members only."""

_ADMIT = "Ask its operator to admit you: swarm tracker member KEY."
_HINT = "Ask the tracker's operator what its configuration says of STUN and TURN."


@dataclass(frozen=True, slots=True)
class Turn:
    """A relay, and time-limited credentials for it; ``seconds`` from when they were given."""

    urls: tuple[str, ...]
    username: str
    credential: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Reach:
    """What a tracker says. ``http``, ``ws`` and ``udp`` are its announce URLs; empty where it has
    none. ``key`` is the one that passes for it name; without it there are none."""

    stun: tuple[str, ...] = ()
    turn: Turn | None = None
    lan: bool = False
    http: str = ""
    ws: str = ""
    udp: str = ""
    mode: str = "open"
    key: PeerKey | None = None


UNKNOWN = Reach()


def parse_reach(raw: bytes) -> Reach:
    """Parse the tracker's answer; unknown keys, and servers that cannot be used, are left out.

    Raises ``MalformedError`` or ``LimitError``.
    """
    fields = decode_object(raw, limit=MAX_REACH, what="the tracker's reach")
    announce = fields.group("announce") if fields.has("announce") else JsonFields({}, "announce")
    return Reach(
        stun=_servers(fields, "stun") if fields.has("stun") else (),
        turn=_turn(fields.group("turn")) if fields.has("turn") else None,
        lan=fields.flag("lan", default=False),
        http=announce.text("http", limit=MAX_URL, default=""),
        ws=announce.text("ws", limit=MAX_URL, default=""),
        udp=announce.text("udp", limit=MAX_URL, default=""),
        mode=fields.text("mode", limit=20, default="open"),
        key=PeerKey(fields.octets("key", HASH_SIZE)) if fields.has("key") else None,
    )


def _turn(fields: JsonFields) -> Turn | None:
    urls = _servers(fields, "urls")
    turn = Turn(
        urls,
        fields.text("username", limit=MAX_SECRET),
        fields.text("credential", limit=MAX_SECRET),
        fields.integer("seconds", *SECONDS),
    )
    return turn if urls else None


def _servers(fields: JsonFields, key: str) -> tuple[str, ...]:
    """Addresses of servers (RFC 7064, RFC 7065) that aiortc can use."""
    urls = fields.items(key, MAX_URLS)
    if not all(isinstance(url, str) and len(url) <= MAX_URL for url in urls):
        raise MalformedError(f"the tracker's reach: {key} must be texts", hint=_HINT)
    kind = "stun" if key == "stun" else "turn"
    return tuple(url for url in urls if url.startswith(kind) and _SERVER.fullmatch(url))


class Beacon:
    """Keeps knowing what the tracker says, and how far away it is."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        tracker: str,
        *,
        rng: Random,
        changed: Callable[[], None] = lambda: None,
        sign: Callable[[PeerKey], str] | None = None,
    ) -> None:
        """``tracker`` is the base URL; ``changed`` is called after every answer. ``sign`` makes the
        query of a pass for a key, for a tracker that tells members more than others."""
        self._session = session
        self._tracker = tracker
        self._changed = changed
        self._sign = sign
        self._backoff = Backoff(rng)
        self._rng = rng
        self.reach = UNKNOWN
        self.zone = Zone.GLOBAL
        self.settled = asyncio.Event()
        """Set once the tracker was asked, whatever came of it."""

    async def run(self) -> None:
        """Ask, and ask again before what was said is over, until cancelled."""
        while True:
            try:
                self.zone = await self._locate()
                self.reach = await self._ask()
            except (SwarmError, aiohttp.ClientError, OSError, ValueError) as error:
                log.debug("the reach of %s is not known: %s", self._tracker, error)
                wait = self._backoff.next()
            else:
                self._backoff.reset()
                turn = self.reach.turn
                wait = turn.seconds * MARGIN if turn else REFRESH
                wait *= self._rng.uniform(0.9, 1.0)
            self.settled.set()
            self._changed()
            await asyncio.sleep(wait)

    async def _ask(self) -> Reach:
        reach = await self._fetch("")
        if reach.mode != MEMBERS or reach.key is None or self._sign is None:
            return reach
        try:
            return await self._fetch(f"?{self._sign(reach.key)}")
        except RefusedError as error:
            log.warning("%s", error)
            return reach

    async def _fetch(self, query: str) -> Reach:
        url = f"{self._tracker}/api/v1/reach{query}"
        async with self._session.get(url, timeout=_TIMEOUT) as answer:
            if answer.status in (404, 405, 501):
                return UNKNOWN
            if answer.status in (401, 403):
                raise RefusedError("the tracker does not take us for a member", hint=_ADMIT)
            if answer.status != 200:
                raise MalformedError(f"the tracker answers with status {answer.status}")
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > MAX_REACH:
                    raise LimitError(f"the tracker's reach is over {MAX_REACH} bytes", hint=_HINT)
        return parse_reach(bytes(body))

    async def _locate(self) -> Zone:
        """The zone of the tracker's address; of several the farthest."""
        parts = urlsplit(self._tracker)
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 80)
        zones = [zone_of(str(each[4][0])) for each in found]
        return max(zones, key=lambda zone: zone.value, default=Zone.GLOBAL)
