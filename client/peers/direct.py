"""Meeting peers over TCP: addresses from trackers, from other peers and from the local network."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp

from client.peers.addresses import Address, Reachable, Source, Zone, zone_of
from client.peers.announcing import Announcer, Query, Reply, Turn, usable
from client.peers.links import Link, surplus
from client.peers.local import Neighbour, Neighbourhood
from client.peers.member import Member, Roster
from client.peers.network import Network, TcpPolicy
from client.peers.reach import MEMBERS, Beacon
from client.peers.signalling import TARGET_PEERS
from client.peers.tcp import TcpChannel, TcpListener, connect
from workunits.errors import MalformedError, SwarmError
from workunits.ids import PeerKey
from workunits.wire.signalling import Event

log = logging.getLogger(__name__)

LOCAL_EXTRA = 4
"""Peers of the local network that a download takes beyond those that it looks for."""

MAX_DIALING = 16
SEED_DIALS = 2
MAX_ASKING = 8
"""Under way at a time: TCP connections of all torrents, those of one seed, announces."""

USEFUL = 32 * 1024
"""Bytes that a connection moves if it was of use."""

STRIKES = 3
MAX_STRIKERS = 1000
"""Connections from one host that lied, after which it is not let in; hosts that are remembered."""

FAREWELL = 2.0
"""Seconds for telling trackers that we leave."""

OURS = ""
"""Stands for our own tracker, whose announce URL changes when it is signed."""


class Direct:
    """The TCP side of a swarm."""

    def __init__(
        self,
        roster: Roster,
        network: Network,
        beacon: Beacon,
        tracker: str,
        *,
        sign: Callable[[PeerKey], str] | None = None,
        local_hosts: Sequence[str] | None = None,
    ) -> None:
        """``tracker`` is the base URL. ``sign`` makes the query of a pass for the key of a tracker
        that is for members. ``local_hosts`` are our addresses for mDNS, by default all in local
        networks."""
        self._roster = roster
        self._network = network
        self._beacon = beacon
        self._tracker = f"{tracker}/announce"
        self._sign = sign
        self._key = secrets.token_hex(4)
        self._local_hosts = local_hosts
        self._asking = asyncio.Semaphore(MAX_ASKING)
        self._strikes: Counter[str] = Counter()
        self._near: Neighbourhood | None = None
        self._listener: TcpListener | None = None

    @property
    def port(self) -> int:
        """Where we listen, 0 for nowhere."""
        return self._listener.port if self._listener is not None else 0

    @property
    def reachable(self) -> Reachable:
        """Which addresses may be used, as far as our own tracker is concerned."""
        always = self._network.tcp is TcpPolicy.ALWAYS
        return Reachable(self._beacon.zone, self._beacon.reach.lan, always)

    def signed(self) -> str:
        """The address to announce at; signed where the tracker is for members."""
        reach = self._beacon.reach
        if self._sign is None or reach.mode != MEMBERS or reach.key is None:
            return self._tracker
        return f"{self._tracker}?{self._sign(reach.key)}"

    async def start(self) -> None:
        """Listen, if TCP is used at all. Raises ``UnavailableError`` when the port is taken."""
        if self._network.dials:
            listener = TcpListener(self._admits, self._arrive, self._roster.spawn)
            await listener.start(self._network.port)
            self._listener = listener

    def begin(self, session: aiohttp.ClientSession) -> None:
        """Take part; announces go through ``session``."""
        self._announcer = Announcer(session)
        if self._network.local and self.port:
            self._near = Neighbourhood(
                *(self._roster.peer_id, self.port),
                came=self._came,
                went=self._went,
                hosts=self._local_hosts,
            )
            self._roster.spawn(self._near.run)

    def hang_up(self) -> None:
        """Take no more connections."""
        if self._listener is not None:
            self._listener.close()

    async def end(self) -> None:
        """Tell trackers that we leave."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL), asyncio.TaskGroup() as group:
                for member in self._roster.members.values():
                    for tracker, turn in member.turns.items():
                        if turn.started:
                            group.create_task(self._part(member, tracker))

    # -- members ----------------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        """We are in one more swarm."""
        if self._near is not None:
            for neighbour in self._near.found:
                self._note(member, neighbour)
            self._share()
        self._meet(member)

    def left(self, member: Member) -> None:
        """We are no longer in one."""
        self._share()
        for tracker, turn in member.turns.items():
            if turn.started:
                self._roster.spawn(self._part, member, tracker)

    def tick(self) -> None:
        """Dial, announce, and end what there is twice. Call about once a second."""
        now, total = self._roster.clock(), self._roster.open
        for member in list(self._roster.members.values()):
            for link in surplus(member.links, self._roster.peer_id, now):
                self._roster.spawn(link.close)
            self._meet(member, total)

    def told(self, member: Member, teller: bytes, added: Iterable[tuple[str, int]]) -> None:
        """A peer (its ``teller`` key) told of others (BEP 11)."""
        if self._network.dials and not member.private:
            self._learn(member, (Address.of(*each) for each in added), Source.PEER, teller)

    # -- connections ------------------------------------------------------------------------

    def _admits(self, ours: str, theirs: str) -> bool:
        return self.reachable.carries(ours, theirs) and self._strikes[theirs] < STRIKES

    async def _arrive(self, channel: TcpChannel, info_hash: bytes) -> None:
        member = self._roster.find(info_hash)
        if member is None or member.torrent.failure or not self._roster.welcome(member):
            return
        host = channel.theirs.host
        key = str(channel.theirs).encode()
        link = Link(channel, self._roster.throttle, key, address=Address(host, 0))
        if await self._roster.run(member, link):
            self._strikes[host] += 1
            if len(self._strikes) > MAX_STRIKERS:
                del self._strikes[next(iter(self._strikes))]

    def _meet(self, member: Member, total: int | None = None) -> None:
        """Announce over HTTP if that is due, and dial if peers lack. ``total`` is how many
        connections there are, where that is known already."""
        torrent = member.torrent
        if not self._network.dials or not self._beacon.settled.is_set() or torrent.failure:
            return
        if not member.invited:
            member.invited = True
            self._invite(member)
        now = self._roster.clock()
        idle = 0 if torrent.seeding else torrent.company.idle
        lack = TARGET_PEERS - torrent.peers + idle - member.dialing
        for tracker in self._trackers(member):
            turn = member.turns.setdefault(tracker, Turn(self._roster.rng))
            event = turn.due(now, seeding=torrent.seeding, hungry=lack > 0 and not torrent.seeding)
            if event is not None:
                self._roster.spawn(self._ask, member, tracker, turn, event, member=member)
        if not len(member.book):
            return
        met = {link.name for link in member.links}
        if not self._roster.room(member, total):
            # Who is dialled may be of use; nobody is driven out to dial nobody.
            if lack <= 0 or torrent.seeding or not member.book.ready(now, met):
                return
            if not self._roster.welcome(member):
                return
        extra = LOCAL_EXTRA
        if torrent.seeding:
            lack, extra = min(lack, SEED_DIALS - member.dialing), 0
        lack = min(lack, MAX_DIALING - sum(m.dialing for m in self._roster.members.values()))
        for address in member.book.next(now, lack, local=extra, met=met):
            member.dialing += 1
            self._roster.spawn(self._dial, member, address, member=member)

    async def _dial(self, member: Member, address: Address) -> None:
        book, clock = member.book, self._roster.clock
        try:
            try:
                channel = await connect(address, self._admits)
            finally:
                member.dialing -= 1
        except ConnectionError as error:
            log.debug("%s", error)
            book.failed(address, clock())
            return
        key = str(address).encode()
        link = Link(channel, self._roster.throttle, key, address=address)
        banned = await self._roster.run(member, link)
        if banned or link.name == self._roster.peer_id:
            book.ban(address)
        elif link.moved >= USEFUL:
            book.ended(address, clock(), link.name)
        else:
            book.failed(address, clock(), link.name)

    # -- addresses --------------------------------------------------------------------------

    def _learn(
        self,
        member: Member,
        addresses: Iterable[Address],
        source: Source,
        teller: object = None,
        near: Reachable | None = None,
    ) -> None:
        near = near or self.reachable
        usable = [each for each in addresses if near.dials(each, source)]
        member.book.add(usable, source, teller)
        self._meet(member)

    def _invite(self, member: Member) -> None:
        """Note the peers that the torrent's link names."""
        if member.private:
            return
        for text in member.torrent.target.peers:
            host, _, port = text.rpartition(":")
            with suppress(ValueError, MalformedError):  # a name is of no use to us
                address = Address.of(host.strip("[]"), int(port))
                self._learn(member, [address], Source.PEER)

    def _came(self, neighbour: Neighbour) -> None:
        for member in list(self._roster.members.values()):
            self._note(member, neighbour)

    def _went(self, neighbour: Neighbour) -> None:
        for member in self._roster.members.values():
            member.book.remove(neighbour.addresses, Source.LOCAL)

    def _note(self, member: Member, neighbour: Neighbour) -> None:
        if neighbour.shares(*member.hashes) and not member.private:
            self._learn(member, neighbour.addresses, Source.LOCAL)

    def _share(self) -> None:
        """Say in the local network what we are in; downloads first, for there is little room."""
        if self._near is not None:
            members = [m for m in self._roster.members.values() if not m.private]
            members.sort(key=lambda member: member.torrent.seeding)
            self._near.share(member.info_hash for member in members)

    # -- trackers ---------------------------------------------------------------------------

    def _trackers(self, member: Member) -> list[str]:
        """Whom to announce to; ours is empty. Not where nobody could use our address."""
        if not self.port:
            return []
        near = self.reachable
        found = [OURS] if near.always or near.local else []
        return found + [url for url in member.trackers if usable(url) and self._serves(url)]

    def _serves(self, url: str) -> bool:
        return self._network.tcp is TcpPolicy.ALWAYS or self._around(url).local

    def _around(self, tracker: str) -> Reachable:
        """Which addresses of those that ``tracker`` tells may be used."""
        if tracker == OURS:
            return self.reachable
        host = urlsplit(tracker).hostname or ""
        zone = Zone.HOST if host == "localhost" else zone_of(host)
        always = self._network.tcp is TcpPolicy.ALWAYS
        return Reachable(zone, always=always)

    def _query(self, member: Member, event: Event) -> Query:
        traffic = member.torrent.traffic
        return Query(
            *(member.info_hash, self._roster.peer_id, self.port, member.left),
            event=event,
            uploaded=traffic.sent,
            downloaded=traffic.peers + traffic.webseed,
            key=self._key,
        )

    async def _ask(self, member: Member, tracker: str, turn: Turn, event: Event) -> None:
        try:
            async with self._asking:
                reply = await self._announce(member, tracker, event)
        except (SwarmError, aiohttp.ClientError, OSError) as error:
            log.debug("announcing to %s: %s", tracker or self._tracker, error)
            turn.failed(self._roster.clock())
            return
        turn.replied(reply, self._roster.clock())
        if tracker == OURS:
            member.schedule.addressed(len(reply.peers))
        self._learn(member, reply.peers, Source.TRACKER, near=self._around(tracker))

    async def _part(self, member: Member, tracker: str) -> None:
        with suppress(SwarmError, aiohttp.ClientError, OSError):
            await self._announce(member, tracker, Event.STOPPED)

    async def _announce(self, member: Member, tracker: str, event: Event) -> Reply:
        url = self.signed() if tracker == OURS else tracker
        return await self._announcer.ask(url, self._query(member, event))
