"""A child that is one end of a transfer: of a blob between real peers, or of a bare channel."""

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from client.blobs import BlobStore
from client.peers.swarm import BlobSwarm
from workunits.ids import BlobRef

QUOTA = 1 << 30
MESSAGE = 16 * 1024
FULL = 1 << 20
"""Bytes that a bare sender lets wait in its channel."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a peer is told: ``seed``, ``fetch``, ``send`` or ``receive`` ``size`` bytes."""

    role: str
    size: int
    folder: str
    url: str = ""

    def line(self) -> dict[str, object]:
        """The part as JSON."""
        return asdict(self)


async def hear() -> Any:
    """The next value from the parent."""
    return json.loads(await asyncio.to_thread(sys.stdin.readline))


def say(value: object) -> None:
    """One value to the parent."""
    print(json.dumps(value), flush=True)


async def play(part: Part) -> None:
    """Play ``part``."""
    match part.role:
        case "seed" | "fetch":
            with BlobStore(Path(part.folder) / "blobs", quota=QUOTA) as store:
                async with BlobSwarm(store, part.url) as swarm:
                    await (seed if part.role == "seed" else fetch)(part, store, swarm)
        case "send":
            await send(part.size)
        case _:
            await receive(part.size)


async def seed(part: Part, store: BlobStore, swarm: BlobSwarm) -> None:
    """Serve random bytes until told to end."""
    ref = store.add(os.urandom(part.size))
    swarm.seed(ref)
    say([ref.v2.hex(), ref.v1.hex(), ref.length])
    await hear()


async def fetch(part: Part, store: BlobStore, swarm: BlobSwarm) -> None:
    """Fetch a blob; say how long it took, and how much of it came from peers."""
    v2, v1, length = await hear()
    ref = BlobRef(bytes.fromhex(v2), bytes.fromhex(v1), length)
    began = time.perf_counter()
    await swarm.fetch(ref)
    say([time.perf_counter() - began, swarm.stats.from_peers])


async def send(size: int) -> None:
    """Offer a bare channel, and fill it."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = connection.createDataChannel("bench")
    opened, drained = asyncio.Event(), asyncio.Event()
    channel.on("open", opened.set)
    channel.on("bufferedamountlow", drained.set)
    channel.bufferedAmountLowThreshold = FULL // 2
    await connection.setLocalDescription(await connection.createOffer())
    say(connection.localDescription.sdp)
    await connection.setRemoteDescription(RTCSessionDescription(await hear(), "answer"))
    await opened.wait()
    message = os.urandom(MESSAGE)
    for _ in range(size // MESSAGE):
        channel.send(message)
        if channel.bufferedAmount > FULL:
            drained.clear()
            await drained.wait()
    await hear()
    await connection.close()


async def receive(size: int) -> None:
    """Answer, and time it from the offer to the last byte."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    finished = asyncio.Event()
    left = size // MESSAGE * MESSAGE

    def take(data: bytes | str) -> None:
        nonlocal left
        left -= len(data)
        if left <= 0:
            finished.set()

    def opened(channel: RTCDataChannel) -> None:
        channel.on("message", take)

    connection.on("datachannel", opened)
    offer = RTCSessionDescription(await hear(), "offer")
    began = time.perf_counter()
    await connection.setRemoteDescription(offer)
    await connection.setLocalDescription(await connection.createAnswer())
    say(connection.localDescription.sdp)
    await finished.wait()
    say(time.perf_counter() - began)
    await hear()
    await connection.close()


if __name__ == "__main__":
    uvloop.run(play(Part(**json.loads(sys.stdin.readline()))))
