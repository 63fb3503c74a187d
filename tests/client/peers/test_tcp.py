"""TCP connections as byte streams, and a listener that strangers cannot fill."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from client.peers import tcp
from client.peers.addresses import Address
from client.peers.tcp import HEAD_SIZE, TcpChannel, TcpListener, connect
from tests.client.peers.conftest import until
from workunits.errors import UnavailableError

HASH = b"h" * 20
HEAD = b"\x13BitTorrent protocol" + bytes(8) + HASH


def anybody(_: str, __: str) -> bool:
    return True


class Door:
    """A listener that keeps what comes, until the test ends."""

    def __init__(self, admit: Callable[[str, str], bool] = anybody) -> None:
        self.came: list[tuple[TcpChannel, bytes]] = []
        self.group = asyncio.TaskGroup()
        self.tasks: list[asyncio.Task[None]] = []
        self.over = asyncio.Event()
        self.listener = TcpListener(admit, self.arrive, self.spawn)

    async def arrive(self, channel: TcpChannel, info_hash: bytes) -> None:
        self.came.append((channel, info_hash))
        await self.over.wait()

    def spawn(
        self,
        work: Callable[..., Coroutine[Any, Any, None]],
        *args: object,
        then: Callable[[], object],
    ) -> None:
        task = self.group.create_task(work(*args))
        task.add_done_callback(lambda _: then())
        self.tasks.append(task)

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.listener.port)


@asynccontextmanager
async def door(admit: Callable[[str, str], bool] = anybody) -> AsyncIterator[Door]:
    made = Door(admit)
    await made.listener.start(0)
    async with made.group:
        try:
            yield made
        finally:
            made.listener.close()
            made.over.set()
            for task in made.tasks:
                task.cancel()
    await asyncio.sleep(0)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[TcpChannel, TcpChannel]]:
    async with door() as there:
        one = await connect(there.address, anybody)
        await one.send(HEAD)
        await until(lambda: there.came)
        two, info_hash = there.came[0]
        assert info_hash == HASH
        try:
            yield one, two
        finally:
            await one.close()
            await two.close()


async def test_a_connection_begins_with_the_bytes_that_named_its_torrent() -> None:
    async with connected() as (one, two):
        assert await two.receive() == HEAD
        await one.send(b"more")
        assert await two.receive() == b"more"
        assert one.theirs.port == two.ours.port and two.theirs.host == "127.0.0.1"


async def test_bytes_arrive_whole_and_in_order_past_the_high_water_mark() -> None:
    data = os.urandom(4 * tcp.HIGH_WATER + 123)
    async with connected() as (one, two):
        seen = bytearray()
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(one.send(data))
            while len(seen) < HEAD_SIZE + len(data):
                seen += await two.receive()
        assert sending.done() and bytes(seen) == HEAD + data


async def test_a_sender_waits_for_a_reader_and_is_freed_when_it_goes() -> None:
    async with connected() as (one, two):
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send_until_closed(one))
            await until(lambda: one._writer.transport.get_write_buffer_size() > tcp.LOW_WATER)
            assert not sending.done()
            await two.close()
        assert sending.done()


async def _send_until_closed(channel: TcpChannel) -> None:
    with pytest.raises(ConnectionError):
        while True:
            await channel.send(bytes(100_000))


async def test_closing_one_end_ends_the_other() -> None:
    async with connected() as (one, two):
        await one.close()
        await one.close()
        assert await two.receive() == HEAD
        assert await two.receive() == b""
        with pytest.raises(ConnectionError):
            await one.send(b"late")


async def test_nobody_there_is_a_connection_error() -> None:
    async with door() as there:
        address = there.address
    with pytest.raises(ConnectionError):
        await connect(address, anybody)


async def test_a_connection_that_leaves_the_network_is_closed_again() -> None:
    async with door() as there:
        with pytest.raises(ConnectionError):
            await connect(there.address, lambda ours, theirs: False)


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    with suppress(ConnectionError):
        return await reader.read()
    return b""


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.0\r\n\r\n......", b"\x13BitTorrent protocoL", b"x"]
)
async def test_what_does_not_begin_like_a_peer_is_cut_off(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "HEAD_TIMEOUT", 0.2)
    async with door() as there:
        reader, writer = await asyncio.open_connection(*there.address)
        writer.write(head)
        assert await read_to_end(reader) == b""
        writer.close()
        assert not there.came


async def test_who_is_not_admitted_is_not_even_read() -> None:
    async with door(lambda ours, theirs: False) as there:
        reader, writer = await asyncio.open_connection(*there.address)
        assert await read_to_end(reader) == b""
        writer.close()
        assert not there.tasks


async def test_one_host_has_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAX_PER_HOST", 3)
    async with door() as there:
        channels = [await connect(there.address, anybody) for _ in range(4)]
        for channel in channels:
            with suppress(ConnectionError):
                await channel.send(HEAD)
        assert await channels[3].receive() == b""
        await until(lambda: len(there.came) == 3)
        for task in there.tasks:
            task.cancel()
        await until(lambda: all(task.done() for task in there.tasks))
        again = await connect(there.address, anybody)
        await again.send(HEAD)
        await until(lambda: len(there.came) == 4)
        for channel in [*channels, again]:
            await channel.close()


async def test_only_so_many_may_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAX_HALF_OPEN_PER_HOST", 2)
    async with door() as there:
        silent = [await connect(there.address, anybody) for _ in range(3)]
        assert await silent[2].receive() == b""
        await silent[0].send(HEAD)
        await until(lambda: there.came)
        late = await connect(there.address, anybody)
        await late.send(HEAD)
        await until(lambda: len(there.came) == 2)
        for channel in [*silent, late]:
            await channel.close()


async def test_a_port_that_is_taken_is_said_with_a_hint() -> None:
    async with door() as there:
        with pytest.raises(UnavailableError) as caught:
            await Door().listener.start(there.listener.port)
        assert "--port" in caught.value.hint
