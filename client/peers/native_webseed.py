"""The web seed for libtorrent: pieces from the tracker's own store, while no peer delivers.

libtorrent knows web seeds (BEP 19), but asks them at once and does not say what came from them.
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random

import aiohttp
import libtorrent

from client.peers.native_member import NativeMember
from client.peers.signalling import Backoff
from client.peers.webseed import POLL, WebSeed
from workunits.errors import SwarmError
from workunits.ids import BlobRef
from workunits.metainfo import Metainfo

log = logging.getLogger(__name__)

CHECK_SECONDS = 20.0
"""How long libtorrent may take to check a piece."""


async def assist(
    member: NativeMember,
    ref: BlobRef,
    seed: WebSeed,
    *,
    grace: float,
    know: Callable[[Metainfo], None],
    clock: Callable[[], float],
    rng: Random,
) -> None:
    """Fetch from ``seed`` while no peer has delivered for ``grace`` seconds; until complete.

    ``know`` takes the info dictionary, where no peer gave it.
    """
    backoff = Backoff(rng)
    while not member.ended.is_set():
        # Peers that are connected are no reason to wait longer: none of them may have anything.
        if clock() - member.progressed < grace and not member.alone:
            await asyncio.sleep(min(POLL, grace))
            continue
        try:
            if member.blob is None:
                know(await seed.info(ref))
            if not await _take(member, ref, seed):
                return
            backoff.reset()
        except (SwarmError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("web seed of blob %s: %s", ref, error)
            await asyncio.sleep(backoff.next())


async def _take(member: NativeMember, ref: BlobRef, seed: WebSeed) -> bool:
    """Fetch pieces until peers deliver again. False when the seed gave wrong bytes."""
    before = member.from_peers
    while member.from_peers == before and not member.ended.is_set():
        assert member.blob is not None
        have = member.handle.status(libtorrent.torrent_handle.query_pieces).pieces
        piece = next((piece for piece, has in enumerate(have) if not has), None)
        if piece is None:
            await asyncio.sleep(POLL)
            continue
        size = member.blob.size_of(piece)
        data = await seed.span(ref, piece * member.blob.piece_length, size)
        checked = member.ask(f"piece {piece}")
        member.handle.add_piece(piece, data, 0)
        async with asyncio.timeout(CHECK_SECONDS):
            if not await checked:
                return False
        member.from_webseed += size
    return True
