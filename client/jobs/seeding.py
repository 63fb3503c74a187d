"""Taking part in the peers' swarms for a while."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from client import keys
from client.blobs import BlobStore
from client.config import Config
from client.peers.engine import Engine, asked, choose
from workunits.metainfo import MAX_LENGTH


@asynccontextmanager
async def swarming(
    config: Config, folder: Path, files: Iterable[Path] = (), *, patience: float = 300.0
) -> AsyncIterator[Engine]:
    """Fetch blobs from peers, and serve ``files`` to them, with a blob store of its own.

    The environment names the engine. A store belongs to one process, so it is a temporary one in
    ``folder``.
    """
    make = choose(asked(os.environ))
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".swarm-") as place,
        BlobStore(Path(place), quota=MAX_LENGTH) as store,
    ):
        refs = [await asyncio.to_thread(store.adopt, path) for path in files]
        # Trackers for members only ask for the key.
        identity = keys.load(config.key) if config.key.exists() else None
        async with make(store, config.tracker, identity=identity, patience=patience) as swarm:
            for ref in refs:
                swarm.seed(ref)
            yield swarm
