"""A child that is one end of a transfer: of a blob between real peers, or of a bare library."""

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
from client.peers.engine import AIORTC, Engine, choose
from client.peers.network import Network, TcpPolicy
from client.peers.throttle import Rates
from workunits.ids import BlobRef
from workunits.metainfo import Torrent, encode_torrent, hash_stream

QUOTA = 8 << 30
CHUNK = 1 << 20
MESSAGE = 16 * 1024
FULL = 1 << 20
"""Bytes that a bare sender lets wait in its channel."""

PATIENCE = 600.0
POLL = 0.005


@dataclass(frozen=True, slots=True)
class Part:
    """What a peer is told.

    ``seed`` and ``fetch`` are peers of ours, ``send`` and ``receive`` the ends of a bare channel of
    aiortc, ``give`` and ``take`` bare sessions of libtorrent; for ``size`` bytes. ``up`` limits
    bytes per second, ``direct`` allows TCP beside WebRTC.
    """

    role: str
    size: int
    folder: str
    url: str = ""
    engine: str = AIORTC
    up: int | None = None
    direct: bool = False

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
                await (seed if part.role == "seed" else fetch)(part, store)
        case "give" | "take":
            await (give if part.role == "give" else take)(part)
        case "send":
            await send(part.size)
        case _:
            await receive(part.size)


def make(part: Part, store: BlobStore) -> Engine:
    """The engine that ``part`` names."""
    tcp = TcpPolicy.ALWAYS if part.direct else TcpPolicy.NEVER
    network = Network(tcp=tcp, limits=Rates(up=part.up))
    return choose(part.engine)(store, part.url, network=network, patience=PATIENCE)


def fill(path: Path, size: int) -> Path:
    """Write ``size`` random bytes, of which no two pieces are the same."""
    noise = os.urandom(CHUNK)
    with path.open("wb") as file:
        for number in range(-(-size // CHUNK)):
            chunk = number.to_bytes(8, "big") + noise[8:]
            file.write(chunk[: size - number * CHUNK])
    return path


async def seed(part: Part, store: BlobStore) -> None:
    """Serve random bytes until told to end; say how much memory it came to."""
    path = fill(Path(part.folder) / "source", part.size)
    ref = await asyncio.to_thread(store.adopt, path)
    path.unlink()
    async with make(part, store) as engine:
        engine.seed(ref)
        before = forget_peak()
        say([ref.v2.hex(), ref.v1.hex(), ref.length])
        await hear()
        say(peak() - before)
        await hear()


async def fetch(part: Part, store: BlobStore) -> None:
    """Fetch a blob; say how long it took, how much of it came from peers, and the memory."""
    async with make(part, store) as engine:
        say("ready")
        v2, v1, length = await hear()
        ref = BlobRef(bytes.fromhex(v2), bytes.fromhex(v1), length)
        before = forget_peak()
        began = time.perf_counter()
        await engine.fetch(ref)
        say([time.perf_counter() - began, engine.stats.from_peers, peak() - before])
        await hear()


def forget_peak() -> int:
    """Start to measure the peak of memory anew; returns bytes resident now (proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak() -> int:
    """Most bytes that were resident since."""
    return status("VmHWM")


def status(name: str) -> int:
    """Bytes of something in this process's status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


# -- libtorrent alone ---------------------------------------------------------------------------


def session() -> Any:
    """A session that uses WebRTC only, as libtorrent comes otherwise."""
    import libtorrent

    off = ("dht", "lsd", "upnp", "natpmp")
    ways = ("incoming_tcp", "outgoing_tcp", "incoming_utp", "outgoing_utp")
    settings: Any = {f"enable_{name}": False for name in (*off, *ways)}
    settings |= {
        "listen_interfaces": "127.0.0.1:0",
        "webtorrent_stun_server": "",
        "ssrf_mitigation": False,
        "alert_mask": 0,
    }
    return libtorrent.session(settings)


async def give(part: Part) -> None:
    """Seed random bytes with a bare session."""
    import libtorrent

    path = fill(Path(part.folder) / "content", part.size)
    with path.open("rb") as stream:
        hashed = hash_stream(stream, part.size)
    announce = "ws" + part.url.removeprefix("http") + "/announce"
    torrent = encode_torrent(Torrent(hashed.info, hashed.layer, announce))
    params = libtorrent.load_torrent_buffer(torrent)
    params.save_path, params.renamed_files = part.folder, {0: path.name}
    params.have_pieces = [True] * hashed.info.count
    params.flags = libtorrent.torrent_flags.no_verify_files
    giving = session()
    giving.add_torrent(params)
    say([hashed.info.ref.v2.hex(), hashed.info.ref.v1.hex(), part.size])
    await hear()
    giving.pause()


async def take(part: Part) -> None:
    """Fetch them with another one, from a magnet link; say how long it took."""
    import libtorrent

    taking = session()
    say("ready")
    v2, v1, _ = await hear()
    params = libtorrent.add_torrent_params()
    params.info_hashes = libtorrent.info_hash_t(
        libtorrent.sha1_hash(bytes.fromhex(v1)), libtorrent.sha256_hash(bytes.fromhex(v2))
    )
    params.trackers = ["ws" + part.url.removeprefix("http") + "/announce"]
    params.save_path = part.folder
    began = time.perf_counter()
    handle = taking.add_torrent(params)
    while not handle.status(0).is_seeding:  # noqa: ASYNC110 - libtorrent alone has no event
        await asyncio.sleep(POLL)
    say([time.perf_counter() - began, handle.status(0).total_payload_download, 0])
    await hear()
    taking.pause()


# -- aiortc alone -------------------------------------------------------------------------------
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
