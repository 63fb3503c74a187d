"""Data channels of real aiortc connections, as byte streams."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client.peers import webrtc
from client.peers.addresses import Reachable, Zone
from client.peers.transport import Channel
from client.peers.webrtc import (
    Ice,
    WebRtcChannel,
    WebRtcConnector,
    WebRtcDial,
    check_sdp,
    receive_window,
)
from tests.client.peers.conftest import until
from workunits.errors import LimitError, MalformedError, RemoteError


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Channel, Channel]]:
    connector = WebRtcConnector()
    offer = await connector.offer()
    answer = await connector.answer(offer.sdp)
    one, two = await asyncio.gather(offer.open(answer.sdp), answer.open())
    try:
        yield one, two
    finally:
        await one.close()
        await two.close()
        await offer.close()
        await answer.close()
        gc.collect()


async def test_who_is_cancelled_while_it_closes_leaves_nothing_half_closed() -> None:
    dial = await WebRtcConnector().offer()
    async with asyncio.timeout(30):
        async with asyncio.TaskGroup() as group:
            closing = [group.create_task(dial.close()) for _ in range(3)]
            await asyncio.sleep(0)
            closing[0].cancel()
            closing[1].cancel()
        await dial.close()
    assert closing[0].cancelled()
    assert not closing[2].cancelled()


async def test_bytes_arrive_whole_and_in_order_past_the_high_water_mark() -> None:
    data = os.urandom(webrtc.HIGH_WATER * 2 + 12_345)
    async with connected() as (one, two):

        async def read() -> bytes:
            seen = b""
            while len(seen) < len(data):
                seen += await two.receive()
            return seen

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            await one.send(data)
        assert reading.result() == data
        await two.send(b"and back")
        assert await one.receive() == b"and back"


async def test_closing_one_end_ends_the_other() -> None:
    async with connected() as (one, two):
        await one.close()
        assert await two.receive() == b""
        assert await one.receive() == b""
        with pytest.raises(ConnectionError):
            await one.send(b"late")
        await until(lambda: isinstance(two, WebRtcChannel) and not two.alive)
        with pytest.raises(ConnectionError):
            await two.send(b"late")


async def test_a_sender_that_waits_for_room_is_freed_when_the_other_end_dies() -> None:
    async with connected() as (one, two):
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send_until_closed(one))
            await two.receive()
            await two.close()
        assert sending.done()


async def _send_until_closed(channel: Channel) -> None:
    with pytest.raises(ConnectionError):
        while True:
            await channel.send(bytes(100_000))


async def test_a_message_without_an_end_costs_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webrtc, "GUARD_INTERVAL", 0.05)
    async with connected() as (one, _):
        assert isinstance(one, WebRtcChannel)
        association = one._connection.sctp
        assert association is not None
        association._advertised_rwnd = -1
        assert await one.receive() == b""


async def test_an_offer_that_nobody_answers_leaves_nothing_behind() -> None:
    dial = await WebRtcConnector().offer()
    assert "a=candidate" in dial.sdp and "127.0.0.1" not in dial.sdp
    await dial.close()
    await dial.close()
    gc.collect()


async def test_a_connection_that_never_opens_fails_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webrtc, "OPEN_TIMEOUT", 0.1)
    connector = WebRtcConnector()
    offer = await connector.offer()
    answer = await connector.answer(offer.sdp)
    await offer.close()
    with pytest.raises(ConnectionError):
        await answer.open()
    gc.collect()


GOOD = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "v=0\r\n",
        GOOD + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
        GOOD + GOOD,
        *(GOOD + f"a=x{end}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" for end in "\n\r\x0b\x85\u2028"),
        GOOD + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * (webrtc.MAX_CANDIDATES + 1),
        GOOD + "a=" + "x" * webrtc.MAX_SDP,
    ],
)
def test_a_description_of_anything_but_one_data_channel_is_refused(sdp: str) -> None:
    with pytest.raises(RemoteError):
        check_sdp(sdp)


@pytest.mark.parametrize("sdp", [GOOD, GOOD + "a=candidate:nonsense\r\n", GOOD + "a=setup:\r\n"])
async def test_a_description_that_aiortc_stumbles_over_is_the_peer_s_fault(sdp: str) -> None:
    connector = WebRtcConnector()
    with pytest.raises((MalformedError, LimitError)):
        await connector.answer(sdp)
    offer = await connector.offer()
    with pytest.raises((MalformedError, LimitError)):
        await offer.open(sdp)
    gc.collect()


def test_the_window_is_what_the_kernel_grants() -> None:
    assert receive_window() > 4 * 16384


async def test_candidates_of_our_own_network_are_not_followed_for_strangers() -> None:
    async def far() -> Ice:
        return Ice(near=Reachable(Zone.GLOBAL))

    offer = await WebRtcConnector().offer()
    line = "a=candidate:9 1 udp 2130706431 10.9.8.7 5000 typ host\r\n"
    sdp = offer.sdp.replace("a=end-of-candidates", f"{line}a=end-of-candidates")
    for connector, followed in ((WebRtcConnector(), True), (WebRtcConnector(far), False)):
        answer = await connector.answer(sdp)
        assert isinstance(answer, WebRtcDial)
        sctp = answer._connection.sctp
        assert sctp is not None
        hosts = {each.ip for each in sctp.transport.transport.getRemoteCandidates()}
        assert ("10.9.8.7" in hosts) is followed
        await answer.close()
    await offer.close()
    gc.collect()
