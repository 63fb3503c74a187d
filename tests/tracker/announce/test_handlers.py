"""The announce service over real sockets."""

import asyncio
import json
from typing import Any
from urllib.parse import quote_from_bytes

import aiohttp
import bencodepy
import pytest
from aiohttp import web

from tracker.announce import handlers, sockets
from tracker.announce.admission import Admission, Mode
from tracker.announce.swarms import Limits
from workunits.ids import PeerKey
from workunits.passes import SignedPass
from workunits.signing import Identity
from workunits.wire.signalling import (
    MAX_MESSAGE,
    Announce,
    AnnounceReply,
    Answer,
    Event,
    Failure,
    Offer,
    RelayedAnswer,
    RelayedOffer,
    Scrape,
    ScrapeReply,
    SwarmCounts,
)

HASH = bytes(range(200, 220))
OTHER = bytes(range(20))
ALICE = b"-WW0208-alice\x00\xff&=%+ "
BOB = b"-WW0208-bob--------x"
OFFERS = tuple(Offer(bytes([i]) * 20, f"v=0 {i}") for i in range(5))


def query(path: str, info_hash: bytes, peer_id: bytes, port: int, **more: object) -> str:
    fields = f"info_hash={quote_from_bytes(info_hash)}&peer_id={quote_from_bytes(peer_id)}"
    return f"/{path}?{fields}&port={port}" + "".join(f"&{k}={v}" for k, v in more.items())


def decoded(body: bytes) -> dict[bytes, Any]:
    value = bencodepy.decode(body)
    assert isinstance(value, dict)
    assert bencodepy.encode(value) == body
    return value


async def until(condition: Any) -> None:
    """Wait for ``condition``; the test's own time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - the service has no event for this
        await asyncio.sleep(0)


async def test_two_http_peers_find_each_other(serve: Any) -> None:
    async with serve() as at:
        first = decoded(await at.get(query("announce", HASH, ALICE, 6881, left=0)))
        assert (first[b"complete"], first[b"incomplete"], first[b"peers"]) == (1, 0, b"")
        second = decoded(await at.get(query("announce", HASH, BOB, 6882, left=9)))
        assert (second[b"complete"], second[b"incomplete"]) == (1, 1)
        assert second[b"peers"] == b"\x7f\x00\x00\x01" + (6881).to_bytes(2, "big")
        scrape = decoded(await at.get(f"/scrape?info_hash={quote_from_bytes(HASH)}"))
        counts = {b"complete": 1, b"incomplete": 1, b"downloaded": 0, b"downloaders": 1}
        assert scrape[b"files"] == {HASH: counts}


async def test_a_bad_query_is_a_failure_reason_with_status_200(serve: Any) -> None:
    async with serve() as at:
        for path in ("/announce", "/announce?info_hash=%ff", "/scrape", "/announce?port=%c3%28"):
            assert b"failure reason" in decoded(await at.get(path))
        assert at.service.counters().refused == 4


async def test_only_tracked_hashes_are_served(serve: Any) -> None:
    async with serve(tracked=HASH.__eq__) as at:
        refused = decoded(await at.get(query("announce", OTHER, ALICE, 6881)))
        assert b"does not track" in refused[b"failure reason"]
        assert b"peers" in decoded(await at.get(query("announce", HASH, ALICE, 6881)))
        socket = await at.connect()
        failure = await socket.ask(Announce(OTHER, ALICE))
        assert isinstance(failure, Failure)
        assert failure.info_hash == OTHER
        scrape = await socket.ask(Scrape((HASH, OTHER)))
        assert scrape == ScrapeReply((SwarmCounts(HASH, 0, 1, 0),), 300)


async def test_ipv6_peers_come_in_peers6(serve: Any) -> None:
    addresses = iter(["2001:db8::1", "192.0.2.1", "::ffff:192.0.2.2"])
    async with serve(source=lambda *_: next(addresses)) as at:
        await at.get(query("announce", HASH, b"6" * 20, 6881))
        await at.get(query("announce", HASH, b"4" * 20, 6881))
        reply = decoded(await at.get(query("announce", HASH, b"m" * 20, 6881)))
        assert reply[b"peers"] == bytes([192, 0, 2, 1]) + b"\x1a\xe1"
        assert reply[b"peers6"] == bytes.fromhex("20010db8" + "00" * 11 + "01") + b"\x1a\xe1"


async def test_an_offer_and_its_answer_cross_the_tracker(serve: Any) -> None:
    async with serve() as at:
        alice, bob = await at.connect(), await at.connect()
        assert await alice.ask(Announce(HASH, ALICE, left=0)) == AnnounceReply(HASH, 120, 1, 0)
        assert await bob.ask(Announce(HASH, BOB, offers=OFFERS)) == AnnounceReply(HASH, 120, 1, 1)
        offer = await alice.take()
        assert offer == RelayedOffer(HASH, BOB, OFFERS[0].offer_id, OFFERS[0].sdp)
        await alice.send(Answer(HASH, ALICE, BOB, offer.offer_id, "v=1").encode().encode())
        assert await bob.take() == RelayedAnswer(HASH, ALICE, offer.offer_id, "v=1")
        assert await alice.idle()
        assert await bob.idle()
        counters = at.service.counters()
        assert (counters.relayed_offers, counters.relayed_answers) == (1, 1)
        assert (counters.sockets, counters.outstanding_offers) == (2, 0)


async def test_http_and_socket_peers_count_together_but_are_not_mixed(serve: Any) -> None:
    async with serve() as at:
        await at.get(query("announce", HASH, ALICE, 6881, left=0))
        socket = await at.connect()
        reply = await socket.ask(Announce(HASH, BOB, offers=OFFERS))
        assert reply == AnnounceReply(HASH, 120, 1, 1)
        third = decoded(await at.get(query("announce", HASH, b"c" * 20, 6883)))
        assert (third[b"complete"], third[b"incomplete"], len(third[b"peers"])) == (1, 2, 6)
        assert await socket.idle()


async def test_a_closed_socket_leaves_no_ghost(serve: Any) -> None:
    async with serve() as at:
        watcher, leaver = await at.connect(), await at.connect()
        await leaver.ask(Announce(HASH, ALICE))
        await leaver.ask(Announce(HASH, BOB, left=0))
        await leaver.ask(Announce(OTHER, BOB))
        assert at.service.counters().peers == 3
        await leaver.raw.close()
        await until(lambda: at.service.counters().sockets == 1)
        assert at.service.counters().peers == 0
        assert await watcher.ask(Scrape((HASH,))) == ScrapeReply((SwarmCounts(HASH, 0, 0, 0),), 300)


async def test_a_reconnect_survives_the_end_of_the_old_socket(serve: Any) -> None:
    async with serve() as at:
        old, new = await at.connect(), await at.connect()
        await old.ask(Announce(HASH, ALICE))
        await new.ask(Announce(HASH, ALICE))
        await old.raw.close()
        await until(lambda: at.service.counters().sockets == 1)
        assert at.service.counters().peers == 1
        bob = await at.connect()
        await bob.ask(Announce(HASH, BOB, offers=OFFERS))
        assert isinstance(await new.take(), RelayedOffer)


@pytest.mark.parametrize("raw", ["{", "[]", b"\xff", json.dumps({"action": "dance"})])
async def test_a_malformed_message_gets_a_reason_and_the_socket_stays(serve: Any, raw: Any) -> None:
    async with serve() as at:
        socket = await at.connect()
        reply = await socket.ask(raw)
        assert isinstance(reply, Failure)
        assert reply.reason
        assert isinstance(await socket.ask(Announce(HASH, ALICE)), AnnounceReply)


async def test_a_message_over_the_limit_ends_the_socket(serve: Any) -> None:
    async with serve() as at:
        socket = await at.connect()
        await socket.ask(Announce(HASH, ALICE))
        await socket.send("x" * (MAX_MESSAGE + 1))
        frame = await socket.raw.receive(timeout=10)
        assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        await until(lambda: at.service.counters().peers == 0)


async def test_a_receiver_that_does_not_read_is_dropped_and_delays_nobody(
    serve: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sockets, "MAX_WAITING", 100_000)
    big = "v=0 " + "x" * 12_000
    async with serve() as at:
        slow, fast = await at.connect(), await at.connect()
        await slow.ask(Announce(HASH, ALICE))
        slow.raw._conn.transport.pause_reading()
        sent = 0
        while at.service.counters().slow_dropped == 0:
            offers = tuple(Offer(sent.to_bytes(19, "big") + bytes([i]), big) for i in range(3))
            reply = await fast.ask(Announce(HASH, BOB, offers=offers))
            assert isinstance(reply, AnnounceReply)
            sent += 1
        await until(lambda: at.service.counters().sockets == 1)
        assert await fast.ask(Announce(HASH, BOB, left=0)) == AnnounceReply(HASH, 120, 1, 0)


async def test_peers_and_offers_age_out(serve: Any) -> None:
    async with serve() as at:
        alice, bob = await at.connect(), await at.connect()
        await at.get(query("announce", HASH, b"h" * 20, 6881))
        await alice.ask(Announce(HASH, ALICE))
        await bob.ask(Announce(HASH, BOB, offers=OFFERS))
        assert at.service.counters().outstanding_offers == 1
        at.clock.now += 121
        at.service.prune()
        counters = at.service.counters()
        assert (counters.outstanding_offers, counters.offers_expired, counters.peers) == (0, 1, 3)
        at.clock.now += 200
        at.service.prune()
        assert at.service.counters().peers == 1
        at.clock.now += 3600
        at.service.prune()
        counters = at.service.counters()
        assert (counters.peers, counters.peers_expired, counters.sockets) == (0, 3, 2)
        # The socket outlives its peer, which comes back with the next announce.
        assert isinstance(await alice.ask(Announce(HASH, ALICE)), Failure | RelayedOffer)


async def test_a_stop_is_answered_and_takes_the_peer_out(serve: Any) -> None:
    async with serve() as at:
        socket = await at.connect()
        await socket.ask(Announce(HASH, ALICE, left=0))
        reply = await socket.ask(Announce(HASH, ALICE, event=Event.STOPPED))
        assert reply == AnnounceReply(HASH, 120, 0, 0)
        assert at.service.counters().peers == 0


async def test_a_full_tracker_says_so_and_keeps_what_it_has(serve: Any) -> None:
    async with serve(limits=Limits(peers=1)) as at:
        await at.get(query("announce", HASH, ALICE, 6881))
        reply = decoded(await at.get(query("announce", HASH, BOB, 6882)))
        assert b"full" in reply[b"warning message"]
        assert len(reply[b"peers"]) == 6
        assert at.service.counters().peers == 1


async def test_stopping_the_tracker_says_goodbye_to_every_socket(serve: Any) -> None:
    async with serve() as at:
        sockets = [await at.connect() for _ in range(3)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(at.runner.cleanup())
            for socket in sockets:
                frame = await socket.raw.receive(timeout=10)
                assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1001)
                await socket.raw.close()


async def test_sockets_above_the_limit_are_turned_away(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(handlers, "MAX_SOCKETS", 1)
    async with serve() as at:
        await at.connect()
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await at.connect()
        assert caught.value.status == 503


async def test_one_network_cannot_take_all_sockets(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(handlers, "MAX_NETWORK_SOCKETS", 1)
    addresses = iter(["198.51.100.1", "198.51.100.2", "203.0.113.1", "198.51.100.3"])
    async with serve(source=lambda *_: next(addresses)) as at:
        first = await at.connect()
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await at.connect()
        assert caught.value.status == 503
        await at.connect()
        await first.raw.close()
        await until(lambda: at.service.counters().sockets == 1)
        await at.connect()


async def test_only_get_is_offered(serve: Any) -> None:
    async with serve() as at, at.session.post(at.base + "/announce") as response:
        assert response.status == web.HTTPMethodNotAllowed.status_code


async def test_the_app_prunes_by_itself(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(handlers, "PRUNE_EVERY", 0.0)
    async with serve() as at:
        await at.get(query("announce", HASH, ALICE, 6881))
        at.clock.now += 3600
        await until(lambda: at.service.counters().peers == 0)


async def test_a_socket_that_answers_no_pings_is_given_up(serve: Any) -> None:
    async with serve() as at:
        alive, dead = await at.connect(), await at.connect(autoping=False)
        await alive.ask(Announce(HASH, ALICE))
        await dead.ask(Announce(HASH, BOB))
        for _ in range(3):
            at.clock.now += handlers.HEARTBEAT
            at.service.beat()
            assert await alive.idle()
        frame = await dead.raw.receive(timeout=10)
        assert frame.type is aiohttp.WSMsgType.PING
        await until(lambda: at.service.counters().sockets == 1)
        assert [peer.peer_id for peer in at.service.swarms.members(HASH)] == [ALICE]


async def test_the_app_sends_pings_by_itself(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(handlers, "BEAT_EVERY", 0.0)
    async with serve() as at:
        socket = await at.connect(autoping=False)
        at.clock.now += handlers.HEARTBEAT
        assert (await socket.raw.receive(timeout=10)).type is aiohttp.WSMsgType.PING


async def test_a_silent_connection_is_closed(serve: Any) -> None:
    async with serve() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(f"GET {query('announce', HASH, ALICE, 6881)} HTTP/1.1\r\n".encode())
        await writer.drain()
        at.clock.now += handlers.HEARTBEAT
        at.service.beat()
        writer.write(b"Host: tracker\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for _ in range(2):
            at.clock.now += handlers.HEARTBEAT
            at.service.beat()
        await reader.read()
        writer.close()


async def test_a_socket_can_come_by_way_of_another_application(serve: Any) -> None:
    async with serve(behind_aiohttp=True) as at:
        alice, bob = await at.connect(), await at.connect()
        assert await alice.ask(Announce(HASH, ALICE)) == AnnounceReply(HASH, 120, 0, 1)
        assert isinstance(await bob.ask(Announce(HASH, BOB, offers=OFFERS)), AnnounceReply)
        assert isinstance(await alice.take(), RelayedOffer)
        assert decoded(await at.get(query("announce", HASH, b"h" * 20, 1)))[b"incomplete"] == 3
        await alice.raw.close()
        await until(lambda: at.service.counters().sockets == 1)
        assert at.service.counters().peers == 2


async def test_text_that_is_not_utf8_ends_the_socket(serve: Any) -> None:
    async with serve() as at:
        socket = await at.connect()
        await socket.raw._writer.send_frame(b"\xff", aiohttp.WSMsgType.TEXT)
        frame = await socket.raw.receive(timeout=10)
        assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1007)


async def test_members_only_lets_in_members_and_answers_through(serve: Any) -> None:
    wall = [1000.0]
    member, operator = (Identity.from_seed(seed * 32) for seed in (b"m", b"o"))
    admission = Admission(
        Mode.MEMBERS, members=Club(member.key), tracker=operator.key, wall=lambda: wall[0]
    )
    signed = SignedPass.query(member, 2000, operator.key)
    async with serve(admission=admission) as at:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await at.connect()
        assert caught.value.status == 403
        assert b"failure reason" in await at.get(query("announce", HASH, ALICE, 6881))
        assert b"peers" in await at.get(query("announce", HASH, ALICE, 6881) + "&" + signed)
        alice, bob = await at.connect("?" + signed), await at.connect("?" + signed)
        assert isinstance(await alice.ask(Announce(HASH, ALICE)), AnnounceReply)
        assert isinstance(await bob.ask(Announce(HASH, BOB, offers=OFFERS)), AnnounceReply)
        offer = await alice.take()
        wall[0] = 3000.0
        refused = await alice.ask(Announce(HASH, ALICE))
        assert isinstance(refused, Failure) and refused.info_hash == HASH
        await alice.send(Answer(HASH, ALICE, BOB, offer.offer_id, "v=1"))
        assert isinstance(await bob.take(), RelayedAnswer)


class Club:
    """One member, without a passkey."""

    def __init__(self, key: PeerKey) -> None:
        self._key = key

    def __contains__(self, key: PeerKey) -> bool:
        return key == self._key

    def epoch(self, key: PeerKey) -> int:
        return 0

    def holder(self, passkey: bytes) -> PeerKey | None:
        return None


async def test_an_offer_to_a_socket_that_is_closing_is_dropped(serve: Any) -> None:
    async with serve() as at:
        alice = await at.connect()
        await alice.ask(Announce(HASH, ALICE))
        (closing,) = at.service._sockets
        bob = await at.connect()
        closing.close()
        assert isinstance(await bob.ask(Announce(HASH, BOB, offers=OFFERS)), AnnounceReply)
        assert (await alice.raw.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
        await until(lambda: at.service.counters().sockets == 1)
        assert isinstance(await bob.ask(Announce(HASH, BOB, offers=OFFERS)), AnnounceReply)


async def test_who_does_not_answer_a_goodbye_is_cut_off(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sockets, "CLOSE_TIMEOUT", 0.0)
    async with serve() as at:
        alice = await at.connect()
        alice.raw._conn.transport.pause_reading()
        (closing,) = at.service._sockets
        closing.close()
        await until(lambda: at.service.counters().sockets == 0)


async def test_a_peer_that_makes_room_for_another_keeps_its_socket(serve: Any) -> None:
    async with serve(limits=Limits(peers_per_swarm=1)) as at:
        alice, bob = await at.connect(), await at.connect()
        await alice.ask(Announce(HASH, ALICE))
        await bob.ask(Announce(HASH, BOB))
        assert [peer.peer_id for peer in at.service.swarms.members(HASH)] == [BOB]
        assert await alice.idle()
        assert at.service.counters().sockets == 2
