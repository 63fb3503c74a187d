"""The in-memory stream has the manners of a real one."""

import asyncio

import pytest

from client.peers.transport import Inbox, MemoryChannel, MemoryConnector
from workunits.errors import LimitError


async def test_bytes_come_in_order_and_then_the_end() -> None:
    one, two = MemoryChannel.pair()
    await one.send(b"a")
    await one.send(b"b")
    assert [await two.receive(), await two.receive()] == [b"a", b"b"]
    await one.close()
    assert await two.receive() == b""
    with pytest.raises(ConnectionError):
        await two.send(b"late")


async def test_a_reader_waits_for_bytes() -> None:
    inbox = Inbox()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put(b"now")
    assert reading.result() == b"now"


async def test_more_than_was_asked_for_is_thrown_away_and_told() -> None:
    inbox = Inbox(limit=10)
    for _ in range(1_000):
        inbox.put(b"12345")
    inbox.end()
    with pytest.raises(LimitError):
        await inbox.get()


async def test_an_offer_and_its_answer_make_a_stream() -> None:
    network = MemoryConnector()
    offer = await network.offer()
    answer = await network.answer(offer.sdp)
    one, two = await offer.open(answer.sdp), await answer.open()
    await one.send(b"hello")
    assert await two.receive() == b"hello"
