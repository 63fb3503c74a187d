"""Taking part in the swarms of any torrents for a while: an engine, and how others find it."""

import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from client import keys
from client.blobs import BlobStore
from client.config import Config
from client.peers.engine import PATIENCE, Engine, asked, choose
from client.peers.network import Network
from client.peers.reach import Reach
from client.sharing import Shared
from client.tracker_api import TrackerApi, check_url, now
from workunits.metainfo import MAX_LENGTH
from workunits.statements import MAX_TORRENT_NAME, Register, Statement

if TYPE_CHECKING:
    from workunits.signing import Identity


@asynccontextmanager
async def taking_part(
    config: Config, network: Network, *, patience: float = PATIENCE
) -> AsyncIterator[Engine]:
    """Run the engine that the environment names.

    ``patience`` is in seconds. A blob store belongs to one process, so the engine has an empty one
    of its own. Raises ``LocalError`` when the engine cannot be used.
    """
    make = choose(asked(os.environ), relay_only=network.relay_only)
    config.home.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=config.home, prefix=".swarm-") as place,
        BlobStore(Path(place), quota=MAX_LENGTH) as store,
    ):
        identity = known_identity(config)
        url = check_url(config.tracker)
        async with make(
            store, url, network=network, identity=identity, patience=patience
        ) as engine:
            yield engine


def known_identity(config: Config) -> "Identity | None":
    """This user's key, if there is one: trackers for members only ask for it."""
    return keys.load(config.key) if config.key.exists() else None


async def register(tracker: TrackerApi, share: Shared, identity: "Identity") -> str:
    """Let the tracker track a torrent; returns its warning, if it has one.

    Raises ``TrackerError`` when it does not want to.
    """
    info = share.document.info
    name = "".join(filter(str.isprintable, share.name)).encode()[:MAX_TORRENT_NAME]
    claim = Register(
        info.v1 or b"",
        info.v2 or b"",
        info.content,
        name.decode(errors="ignore"),
        info.private,
    )
    statement = Statement.sign(identity, claim, time=now(), nonce=secrets.token_bytes(16))
    answer = await tracker.state(statement)
    return answer.text("warning", limit=1000, default="")


def announce_urls(reach: Reach, tracker: str) -> tuple[str, ...]:
    """Where any BitTorrent client can announce to a tracker: HTTP, WebSocket, UDP."""
    base = check_url(tracker)
    http = reach.http or f"{base}/announce"
    ws = reach.ws or f"ws{base.removeprefix('http')}/announce"
    return tuple(url for url in (http, ws, reach.udp) if url)
