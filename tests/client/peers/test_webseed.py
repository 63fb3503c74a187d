"""The web seed is believed nothing."""

import os
from collections.abc import Awaitable, Callable
from io import BytesIO

import aiohttp
import pytest
from aiohttp import web

from client.peers.layout import Block
from client.peers.throttle import Rates, Throttle
from client.peers.webseed import WebSeed, spans_of
from workunits.errors import RemoteError
from workunits.metainfo import hash_stream

DATA = os.urandom(50_000)
INFO = hash_stream(BytesIO(DATA), len(DATA)).info
Handler = Callable[[web.Request], Awaitable[web.Response]]


async def ask(port: int, handler: Handler, *, info: bool) -> object:
    app = web.Application()
    app.add_routes([web.get("/api/v1/blobs/{rest:.*}", handler)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with aiohttp.ClientSession() as session:
            seed = WebSeed(session, f"http://127.0.0.1:{port}")
            return await (seed.info(INFO.ref) if info else seed.span(INFO.ref, 100, 1000))
    finally:
        await runner.cleanup()


def answer(status: int, body: bytes, content_range: str = "") -> Handler:
    async def handle(_: web.Request) -> web.Response:
        headers = {"Content-Range": content_range} if content_range else {}
        return web.Response(status=status, body=body, headers=headers)

    return handle


RANGE = f"bytes 100-1099/{len(DATA)}"


async def test_a_span_and_the_info_come(unused_tcp_port: int) -> None:
    good = answer(206, DATA[100:1100], RANGE)
    assert await ask(unused_tcp_port, good, info=False) == DATA[100:1100]
    assert await ask(unused_tcp_port, answer(200, INFO.raw), info=True) == INFO


@pytest.mark.parametrize(
    "handler",
    [
        answer(404, b""),
        answer(200, DATA),
        answer(206, DATA[100:1100], "bytes 0-999/50000"),
        answer(206, DATA[100:1100], "bytes 100-1099/*"),
        answer(206, DATA[100:1099], RANGE),
        answer(206, DATA, RANGE),
        answer(500, DATA[100:1100], RANGE),
    ],
)
async def test_any_other_answer_to_a_span_is_refused(
    unused_tcp_port: int, handler: Handler
) -> None:
    with pytest.raises(RemoteError):
        await ask(unused_tcp_port, handler, info=False)


@pytest.mark.parametrize(
    "handler", [answer(404, b""), answer(200, b"d1:ae"), answer(200, bytes(10**6))]
)
async def test_any_other_answer_for_the_info_is_refused(
    unused_tcp_port: int, handler: Handler
) -> None:
    with pytest.raises(RemoteError):
        await ask(unused_tcp_port, handler, info=True)


def test_spans_are_runs_of_blocks_inside_of_one_piece() -> None:
    a, b, c, d = Block(0, 0, 10), Block(0, 10, 10), Block(0, 30, 10), Block(1, 0, 10)
    assert spans_of([d, c, b, a]) == [[a, b], [c], [d]]
    assert spans_of([]) == []


async def test_the_web_seed_counts_for_the_limits(unused_tcp_port: int) -> None:
    waited = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal waited
        waited += seconds

    throttle = Throttle(Rates(down=100), clock=lambda: waited, sleep=sleep)
    await throttle.down(100_000)  # what may come at once is used up
    before = waited
    app = web.Application()
    app.add_routes([web.get("/api/v1/blobs/{rest:.*}", answer(206, DATA[100:1100], RANGE))])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    async with aiohttp.ClientSession() as session:
        seed = WebSeed(session, f"http://127.0.0.1:{unused_tcp_port}", throttle)
        await seed.span(INFO.ref, 100, 1000)
    await runner.cleanup()
    assert waited - before >= 9.0
