"""Someone who asks where peers are: ``python -m tests.interop.onlooker TRACKER INFO_HASH``.

It joins a swarm over WebSocket, offers a connection to whoever is there, and asks over HTTP; all
that it is shown of others it prints, in JSON, a line each. It ends with its input.
"""

import asyncio
import json
import os
import sys
from typing import Any

import aiohttp
from aiortc import RTCPeerConnection
from yarl import URL

ASK_SECONDS = 1.0


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def offer() -> dict[str, str]:
    """A session description that a WebRTC peer can answer."""
    connection = RTCPeerConnection()
    connection.createDataChannel("look")
    await connection.setLocalDescription(await connection.createOffer())
    described = {"type": "offer", "sdp": str(connection.localDescription.sdp)}
    await connection.close()
    return described


async def announce(socket: Any, info_hash: str, peer_id: str) -> None:
    """Join, and offer, until told to end."""
    while True:
        offers = [{"offer": await offer(), "offer_id": os.urandom(20).decode("latin-1")}]
        message = {
            "action": "announce",
            "info_hash": info_hash,
            "peer_id": peer_id,
            "numwant": len(offers),
            "left": 1,
            "offers": offers,
        }
        await socket.send_str(json.dumps(message))
        await asyncio.sleep(ASK_SECONDS)


async def listen(socket: Any) -> None:
    async for message in socket:
        said = json.loads(message.data)
        for kind in "offer", "answer":
            if kind in said:
                say(kind=kind, sdp=said[kind]["sdp"])


async def ask(http: aiohttp.ClientSession, tracker: str, info_hash: bytes) -> None:
    """Ask for addresses."""
    quoted = "".join(f"%{byte:02x}" for byte in info_hash)
    url = f"{tracker}/announce?info_hash={quoted}&peer_id={'o' * 20}&port=1&left=1&compact=1"
    while True:
        async with http.get(URL(url, encoded=True)) as response:
            say(kind="peers", body=(await response.read()).hex())
        await asyncio.sleep(ASK_SECONDS)


async def main(tracker: str, wanted: str) -> None:
    info_hash = bytes.fromhex(wanted)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(tracker + "/announce") as socket,
        asyncio.TaskGroup() as group,
    ):
        peer_id = os.urandom(20).decode("latin-1")
        tasks = [
            group.create_task(announce(socket, info_hash.decode("latin-1"), peer_id)),
            group.create_task(listen(socket)),
            group.create_task(ask(http, tracker, info_hash)),
        ]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
