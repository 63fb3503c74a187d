"""Meeting peers over WebRTC: offers and answers that the tracker relays."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from functools import partial

from client.peers.links import Link
from client.peers.member import RECENT, Batch, Member, Roster
from client.peers.signalling import Plan
from client.peers.transport import Channel, Connector, Dial
from workunits.errors import SwarmError
from workunits.wire.signalling import (
    ID_SIZE,
    Announce,
    Answer,
    Event,
    Offer,
    RelayedAnswer,
    RelayedOffer,
)

log = logging.getLogger(__name__)

OFFER_TIMEOUT = 50.0
"""Seconds that an offer waits for its answer."""

FRESH_OFFER = 5.0
"""Seconds after which an offer no longer counts as a peer to be."""

MAX_ANSWERS = 16
"""Answers that are being made."""


class Rendezvous:
    """The WebRTC side of a swarm: our offers and what comes of them, and answers to others'."""

    def __init__(self, roster: Roster, connector: Connector, send: Callable[[str], bool]) -> None:
        """``send`` gives a message to the tracker, and says whether that worked."""
        self._roster = roster
        self._connector = connector
        self._send = send
        self._offers: dict[bytes, asyncio.Future[RelayedAnswer]] = {}

    def pending(self, member: Member) -> int:
        """Offers that an answer is likely for; one that was passed over never gets any."""
        since = self._roster.clock() - FRESH_OFFER
        return sum(begun >= since for begun in member.offering.values())

    def announce(self, member: Member, plan: Plan) -> None:
        """Announce as planned, with offers if there is room for connections."""
        if not plan.offers or not self._roster.welcome(member):
            self.tell(member, plan.event)
            return
        batch = Batch(plan.event, plan.offers)
        for _ in range(plan.offers):
            key = secrets.token_bytes(ID_SIZE)
            member.offering[key] = self._roster.clock()
            done = partial(member.offering.pop, key, None)
            self._roster.spawn(self._offer, member, key, batch, member=member, then=done)

    def tell(self, member: Member, event: Event, offers: tuple[Offer, ...] = ()) -> None:
        """Announce now."""
        traffic = member.torrent.traffic
        message = Announce(
            member.info_hash,
            self._roster.peer_id,
            left=member.left,
            event=event,
            numwant=len(offers),
            uploaded=traffic.sent,
            downloaded=traffic.peers + traffic.webseed,
            offers=offers,
        )
        self._send(message.encode())

    def answered(self, answer: RelayedAnswer) -> None:
        """An answer to one of our offers came."""
        waiting = self._offers.pop(answer.offer_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def offered(self, member: Member, offer: RelayedOffer) -> None:
        """An offer came; take it up if we want that peer."""
        remote, torrent = offer.peer_id, member.torrent
        unwanted = (
            remote == self._roster.peer_id
            or remote in torrent.company.banned
            or remote in member.answering
            or member.met(remote)
            or torrent.connections(remote, RECENT) > 0
            or torrent.connections(remote) > 1
        )
        answers = sum(len(m.answering) for m in self._roster.members.values())
        if not unwanted and answers < MAX_ANSWERS and self._roster.welcome(member):
            member.answering.add(remote)
            done = partial(member.answering.discard, remote)
            self._roster.spawn(self._answer, member, offer, member=member, then=done)

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
                    self.tell(member, batch.event, tuple(batch.offers))
            async with asyncio.timeout(OFFER_TIMEOUT):
                answer = await waiting
            remote = answer.peer_id
            taken = remote in member.answering or torrent.connections(remote, RECENT)
            # Both offered at once: the offer of the smaller id wins, and both sides know it.
            if remote in torrent.company.banned or (taken and remote < self._roster.peer_id):
                return
            if any(link.direct and link.name == remote for link in member.links):
                return
            channel = await dial.open(answer.sdp)
            member.offering.pop(key, None)
            await self._run(member, channel, remote)
        except (SwarmError, OSError) as error:  # TimeoutError and ConnectionError are OSErrors
            log.debug("an offer for %s came to nothing: %s", torrent.target, error)
        finally:
            self._offers.pop(key, None)
            if dial is not None:
                await dial.close()

    async def _answer(self, member: Member, offer: RelayedOffer) -> None:
        torrent, remote = member.torrent, offer.peer_id
        dial: Dial | None = None
        try:
            dial = await self._connector.answer(offer.sdp)
            reply = Answer(member.info_hash, self._roster.peer_id, remote, offer.offer_id, dial.sdp)
            if not self._send(reply.encode()):
                return
            channel = await dial.open()
            member.answering.discard(remote)
            await self._run(member, channel, remote)
        except (SwarmError, OSError) as error:
            log.debug("an offer for %s came to nothing: %s", torrent.target, error)
        finally:
            if dial is not None:
                await dial.close()

    async def _run(self, member: Member, channel: Channel, remote: bytes) -> None:
        await self._roster.run(member, Link(channel, self._roster.throttle, remote))
