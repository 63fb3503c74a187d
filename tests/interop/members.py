"""Our own peers, as the others meet them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import bencodepy
from yarl import URL

from client.blobs import BlobStore
from client.peers.engine import AIORTC, EVERYWHERE, Engine, choose
from client.peers.network import Network
from workunits.metainfo import Torrent, encode_torrent, hash_stream

ANNOUNCED_SECONDS = 30.0
QUOTA = 10**9
NEVER = 1000.0
"""Seconds after which the web seed would be asked: nothing else than peers may carry content."""


@asynccontextmanager
async def member(
    tracker: str, folder: Path, *, engine: str = AIORTC, network: Network = EVERYWHERE
) -> AsyncIterator[tuple[Engine, BlobStore]]:
    """A peer of ours with an empty store in ``folder``, until the block is left."""
    make = choose(engine)
    with BlobStore(folder, quota=QUOTA) as store:
        async with make(store, tracker, network=network, grace=NEVER, patience=NEVER) as swarm:
            yield swarm, store


def torrent_of(content: bytes, announce: str) -> tuple[Torrent, bytes]:
    """Our torrent of ``content`` and the bytes of its file, for the tracker at ``announce``."""
    hashed = hash_stream(BytesIO(content), len(content))
    torrent = Torrent(hashed.info, hashed.layer, announce)
    return torrent, encode_torrent(torrent)


def announce_url(tracker: str, scheme: str = "ws") -> str:
    """Where clients of others announce."""
    return tracker.replace("http", scheme, 1) + "/announce"


def magnet_of(torrent: Torrent, *, v2: bool = True) -> str:
    """A link that names the torrent, its size and its tracker, and nothing that is in its info."""
    hybrid = f"&xt=urn:btmh:1220{torrent.info.ref.v2.hex()}" if v2 else ""
    return f"magnet:?xt=urn:btih:{torrent.info.ref.v1.hex()}{hybrid}&tr={torrent.announce}"


async def seen(tracker: str, torrent: Torrent, *, seeders: int) -> None:
    """Wait until the tracker knows so many seeders of ``torrent``.

    One of ours is two, for it announces over WebSocket and, to be met over TCP, over HTTP.
    """
    hashed = torrent.info.ref.v1
    quoted = "".join(f"%{byte:02x}" for byte in hashed)
    async with asyncio.timeout(ANNOUNCED_SECONDS), aiohttp.ClientSession() as http:
        while True:
            async with http.get(URL(f"{tracker}/scrape?info_hash={quoted}", encoded=True)) as found:
                files = bencodepy.decode(await found.read())[b"files"]
            if files.get(hashed, {}).get(b"complete", 0) >= seeders:
                return
            await asyncio.sleep(0.1)
