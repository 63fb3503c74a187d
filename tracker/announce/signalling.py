"""WebTorrent's relay, without the sockets: a message comes in, messages to send come out.

A connection is any hashable handle. A peer belongs to (connection, info-hash, peer id): peer ids
are public, so one socket can neither stop nor unseat a peer of another, and two peer ids on one
socket are two peers. An answer is relayed only from the peer that the offer went to, only to the
socket that the offer came from, and only once.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from tracker.announce.networks import NOWHERE
from tracker.announce.swarms import Carrier, Swarms
from workunits.errors import RemoteError
from workunits.wire.signalling import (
    Announce,
    AnnounceReply,
    Answer,
    Event,
    Failure,
    FromClient,
    FromTracker,
    RelayedAnswer,
    RelayedOffer,
    Scrape,
    ScrapeReply,
    SwarmCounts,
)

INTERVAL = 120
SCRAPE_INTERVAL = 5 * 60
OFFER_TTL = 120.0
MAX_MEMBERSHIPS = 512
MAX_OUTSTANDING = 256
FULL = "the tracker is full and will not hand you to others"

Connection = TypeVar("Connection", bound=Hashable)
_Ticket: TypeAlias = tuple[bytes, bytes, bytes, Hashable, bytes]
"""Info-hash, offerer's peer id, offer id, the connection and the peer id that it was given to."""


class Send(NamedTuple, Generic[Connection]):
    """A message that the shell has to send."""

    to: Connection
    message: FromTracker


@dataclass(slots=True)
class _Presence:
    """What one connection owns, oldest first."""

    memberships: dict[tuple[bytes, bytes], None] = field(default_factory=dict)
    tickets: dict[_Ticket, None] = field(default_factory=dict)


class _Outstanding(NamedTuple, Generic[Connection]):
    offerer: Connection
    since: float


class Relay(Generic[Connection]):
    """The signalling side of a tracker. ``now`` is seconds on the clock that ``swarms`` uses."""

    def __init__(self, swarms: Swarms) -> None:
        self._swarms = swarms
        self._presences: dict[Connection, _Presence] = {}
        self._outstanding: dict[_Ticket, _Outstanding[Connection]] = {}
        self.relayed_offers = 0
        self.relayed_answers = 0

    @property
    def outstanding(self) -> int:
        """Offers that wait for their answer."""
        return len(self._outstanding)

    def receive(
        self,
        connection: Connection,
        message: FromClient,
        now: float,
        network: int = NOWHERE,
        warning: str = "",
    ) -> list[Send[Connection]]:
        """Take one message of ``connection`` and say what to send to whom.

        ``network`` is where the connection comes from (see ``networks``), ``warning`` what to tell
        it with the reply to an announce. Never raises for what a peer did: refusals are messages
        too.
        """
        if isinstance(message, Announce):
            return self._announce(connection, message, now, network, warning)
        if isinstance(message, Answer):
            return self._answer(connection, message, now)
        return [Send(connection, self._scrape(message))]

    def close(self, connection: Connection) -> None:
        """The socket is gone: forget its peers and its offers, and nobody else's."""
        presence = self._presences.pop(connection, None)
        if presence is None:
            return
        for info_hash, peer_id in presence.memberships:
            self._swarms.remove(Carrier.SOCKET, info_hash, (connection, peer_id))
        for ticket in presence.tickets:
            self._outstanding.pop(ticket, None)

    def prune(self, now: float) -> int:
        """Forget offers that nobody answered in time; returns how many."""
        stale = []
        for ticket, outstanding in self._outstanding.items():
            if outstanding.since > now - OFFER_TTL:
                break
            stale.append(ticket)
        for ticket in stale:
            self._redeem(ticket)
        return len(stale)

    def _announce(
        self, connection: Connection, message: Announce, now: float, network: int, warning: str
    ) -> list[Send[Connection]]:
        wanted = len(message.offers)
        if message.numwant is not None:
            wanted = min(wanted, message.numwant)
        try:
            announced = self._swarms.announce_socket(
                message.info_hash,
                (connection, message.peer_id),
                message.peer_id,
                left=message.left,
                event=message.event,
                numwant=wanted,
                now=now,
                network=network,
                token=message.token,
            )
        except RemoteError as error:
            return [Send(connection, Failure.of(error, "announce", message.info_hash))]
        if message.event is Event.STOPPED:
            self._leave(connection, message)
        elif announced.stored:
            self._enter(connection, message)
        sends: list[Send[Connection]] = [
            Send(
                connection,
                AnnounceReply(
                    message.info_hash,
                    INTERVAL,
                    announced.counts.complete,
                    announced.counts.incomplete,
                    warning=warning if announced.stored else FULL,
                ),
            )
        ]
        if not announced.stored:
            return sends
        for offer, (target, target_id) in zip(message.offers, announced.keys, strict=False):
            ticket = (message.info_hash, message.peer_id, offer.offer_id, target, target_id)
            if self._issue(ticket, connection, now):
                relayed = RelayedOffer(
                    message.info_hash, message.peer_id, offer.offer_id, offer.sdp
                )
                sends.append(Send(target, relayed))
                self.relayed_offers += 1
        return sends

    def _answer(
        self, connection: Connection, message: Answer, now: float
    ) -> list[Send[Connection]]:
        ticket = (
            message.info_hash,
            message.to_peer_id,
            message.offer_id,
            connection,
            message.peer_id,
        )
        outstanding = self._redeem(ticket)
        if outstanding is None or outstanding.since <= now - OFFER_TTL:
            return []
        relayed = RelayedAnswer(message.info_hash, message.peer_id, message.offer_id, message.sdp)
        self.relayed_answers += 1
        return [Send(outstanding.offerer, relayed)]

    def _scrape(self, message: Scrape) -> ScrapeReply | Failure:
        if not message.info_hashes:
            return Failure("a scrape of everything is not offered", "scrape")
        files = []
        for info_hash in dict.fromkeys(message.info_hashes):
            counts = self._swarms.counts(info_hash)
            if counts is not None:
                files.append(
                    SwarmCounts(info_hash, counts.complete, counts.incomplete, counts.downloaded)
                )
        return ScrapeReply(tuple(files), SCRAPE_INTERVAL)

    def _enter(self, connection: Connection, message: Announce) -> None:
        memberships = self._presence(connection).memberships
        membership = (message.info_hash, message.peer_id)
        memberships.pop(membership, None)
        memberships[membership] = None
        if len(memberships) > MAX_MEMBERSHIPS:
            info_hash, peer_id = oldest = next(iter(memberships))
            del memberships[oldest]
            self._swarms.remove(Carrier.SOCKET, info_hash, (connection, peer_id))

    def _leave(self, connection: Connection, message: Announce) -> None:
        presence = self._presences.get(connection)
        if presence is not None:
            presence.memberships.pop((message.info_hash, message.peer_id), None)

    def _issue(self, ticket: _Ticket, connection: Connection, now: float) -> bool:
        # Somebody who borrows a peer id must not take over the answers of its owner.
        holder = self._outstanding.get(ticket)
        if holder is not None:
            if holder.offerer != connection:
                return False
            self._redeem(ticket)
        tickets = self._presence(connection).tickets
        if len(tickets) >= MAX_OUTSTANDING:
            self._redeem(next(iter(tickets)))
        tickets[ticket] = None
        self._outstanding[ticket] = _Outstanding(connection, now)
        return True

    def _presence(self, connection: Connection) -> _Presence:
        found = self._presences.get(connection)
        if found is None:
            found = self._presences[connection] = _Presence()
        return found

    def _redeem(self, ticket: _Ticket) -> _Outstanding[Connection] | None:
        outstanding = self._outstanding.pop(ticket, None)
        if outstanding is not None:
            self._presences[outstanding.offerer].tickets.pop(ticket, None)
        return outstanding
