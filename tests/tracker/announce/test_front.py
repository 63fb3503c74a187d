"""The first protocol of a connection, over real sockets, byte by byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.tracker.announce.test_handlers import ALICE, BOB, HASH, query

FIELDS = b"Host: tracker\r\nUser-Agent: test\r\n"


@asynccontextmanager
async def connected(at: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def get(path: str, fields: bytes = FIELDS) -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + fields + b"\r\n"


async def reply(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next reply."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    at = head.lower().index(b"content-length:") + 15
    return head, await reader.readexactly(int(head[at : head.index(b"\r", at)]))


ANNOUNCE = query("announce", HASH, ALICE, 6881)


async def test_a_request_may_come_byte_by_byte(serve: Any) -> None:
    async with serve() as at, connected(at) as (reader, writer):
        for byte in get(ANNOUNCE):
            writer.write(bytes([byte]))
            await writer.drain()
        assert b"5:peers0:" in (await reply(reader))[1]


async def test_requests_in_a_row_are_answered_in_order(serve: Any) -> None:
    async with serve() as at, connected(at) as (reader, writer):
        other = query("announce", HASH, BOB, 6882, left=0)
        writer.write(get(ANNOUNCE) + get(other) + get("/scrape") + get(ANNOUNCE)[:20])
        assert b"8:completei0e" in (await reply(reader))[1]
        assert b"8:completei1e" in (await reply(reader))[1]
        assert b"failure reason" in (await reply(reader))[1]
        writer.write(get(ANNOUNCE)[20:])
        assert b"8:completei1e" in (await reply(reader))[1]


async def test_anything_else_is_aiohttps_from_there_on(serve: Any) -> None:
    async with serve() as at, connected(at) as (reader, writer):
        writer.write(get(ANNOUNCE) + get("/nowhere") + get(ANNOUNCE))
        assert (await reply(reader))[0].startswith(b"HTTP/1.1 200")
        assert (await reply(reader))[0].startswith(b"HTTP/1.1 404")
        assert (await reply(reader))[0].startswith(b"HTTP/1.1 200")
        assert at.service.counters().http_announces == 2


async def test_an_announce_in_an_unusual_form_is_answered_all_the_same(serve: Any) -> None:
    async with serve() as at:
        for raw in (
            get(ANNOUNCE, FIELDS + b"Content-Length: 2\r\n") + b"{}",
            get(ANNOUNCE).replace(b"HTTP/1.1", b"HTTP/1.0"),
            get(ANNOUNCE, FIELDS + b"X-Long: " + b"x" * 5000 + b"\r\n"),
        ):
            async with connected(at) as (reader, writer):
                writer.write(raw)
                assert b"5:peers0:" in (await reply(reader))[1]


async def test_a_head_without_an_end_is_not_kept(serve: Any) -> None:
    async with serve() as at, connected(at) as (reader, writer):
        writer.write(b"GET /announce?" + b"x" * 70_000)
        head, _ = await reply(reader)
        assert head.split()[1] == b"400"


async def test_the_connection_is_closed_when_that_is_asked(serve: Any) -> None:
    async with serve() as at, connected(at) as (reader, writer):
        writer.write(get(ANNOUNCE, FIELDS + b"Connection: close\r\n") + get(ANNOUNCE))
        head, _ = await reply(reader)
        assert b"connection: close" in head.lower()
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_who_reads_no_replies_is_not_read_from(serve: Any) -> None:
    async with serve() as at, connected(at) as (reader, writer):
        batch = get(ANNOUNCE) * 100
        before = -1
        # Until what is on the way fills every buffer, and no more is taken.
        while before != (before := at.service.counters().http_announces) or before <= 0:
            writer.write(batch * 20)
            for _ in range(50):
                await asyncio.sleep(0)
        assert at.service.counters().http_announces < 10**6
        assert (await reply(reader))[0].startswith(b"HTTP/1.1 200")


async def test_frames_sent_with_the_handshake_are_taken(serve: Any) -> None:
    upgrade = (
        b"Host: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    async with serve() as at, connected(at) as (reader, writer):
        writer.write(get("/announce", upgrade) + b"\x89\x81\0\0\0\0p" + b"\x88\x80\0\0\0\0")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert await asyncio.wait_for(reader.read(), 10) == b"\x8a\x01p" + b"\x88\x02\x03\xe8"
    async with serve() as at, connected(at) as (reader, writer):
        writer.write(get("/announce", upgrade.replace(b"13", b"12")))
        assert (await reply(reader))[0].startswith(b"HTTP/1.1 400")
