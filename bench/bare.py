"""A child that is the least aiohttp server there is, to compare the announce service with."""

import asyncio
import json
import sys

import uvloop
from aiohttp import WSMsgType, web

BODY = b"d8:intervali900e5:peers0:e"


async def answer(request: web.Request) -> web.StreamResponse:
    """The same bytes for every request; over a WebSocket every frame comes back."""
    if "Upgrade" not in request.headers:
        return web.Response(body=BODY, content_type="text/plain")
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for frame in socket:
        if frame.type is WSMsgType.TEXT:
            await socket.send_str(frame.data)
    return socket


async def serve() -> None:
    """Serve until told to end."""
    app = web.Application()
    app.add_routes([web.get("/announce", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve())
