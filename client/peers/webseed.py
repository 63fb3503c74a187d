"""The tracker's own blob store, over HTTP: the seed of last resort.

    GET {tracker}/api/v1/blobs/{v2 hex}         the content; ``Range`` is honoured
    GET {tracker}/api/v1/blobs/{v2 hex}/info    the info dictionary

It takes part in a download as one more source of blocks, so what it sends is checked, and blamed,
like anybody else's.
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random

import aiohttp

from client.peers.layout import Block, Layout
from client.peers.signalling import Backoff
from client.peers.throttle import Throttle
from client.peers.torrent import Torrent
from workunits.errors import MalformedError, RefusedError, SwarmError
from workunits.ids import BlobRef
from workunits.metainfo import MAX_INFO, Metainfo, parse_info
from workunits.torrents import of_blob

log = logging.getLogger(__name__)

POLL = 0.25
"""Seconds between looks at whether a peer delivers."""

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=20.0)
_HINT = "Wait for a peer that has the blob."


class WebSeed:
    """Fetches parts of blobs from one tracker."""

    def __init__(
        self, session: aiohttp.ClientSession, tracker: str, throttle: Throttle | None = None
    ) -> None:
        """``tracker`` is the base URL, without a slash at the end."""
        self._session = session
        self._throttle = throttle
        self._base = f"{tracker}/api/v1/blobs"

    async def info(self, ref: BlobRef) -> Metainfo:
        """The info dictionary of ``ref``, checked.

        Raises ``RemoteError`` for what is not right and ``aiohttp.ClientError`` for no answer.
        """
        async with self._session.get(f"{self._base}/{ref}/info", timeout=_TIMEOUT) as response:
            if response.status != 200:
                raise RefusedError(f"the tracker has no info of blob {ref}", hint=_HINT)
            return parse_info(await _read(response, MAX_INFO), ref)

    async def span(self, ref: BlobRef, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``; errors as for ``info``."""
        end = start + length - 1
        headers = {"Range": f"bytes={start}-{end}", "Accept-Encoding": "identity"}
        url = f"{self._base}/{ref}"
        async with self._session.get(url, headers=headers, timeout=_TIMEOUT) as response:
            part = response.status == 206 and response.headers.get("Content-Range", "").strip() == (
                f"bytes {start}-{end}/{ref.length}"
            )
            whole = response.status == 200 and (start, length) == (0, ref.length)
            if not part and not whole:
                raise RefusedError(f"the tracker does not serve blob {ref}", hint=_HINT)
            data = await _read(response, length, self._throttle)
        if len(data) != length:
            raise MalformedError(f"the tracker sent {len(data)} bytes instead of {length}")
        return data


async def _read(
    response: aiohttp.ClientResponse, limit: int, throttle: Throttle | None = None
) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > limit:
            raise MalformedError(f"the tracker sent over {limit} bytes", hint=_HINT)
        if throttle is not None:
            await throttle.down(len(part))
    return bytes(body)


def spans_of(blocks: list[Block]) -> list[list[Block]]:
    """Blocks in order, in runs that lie side by side inside of one piece."""
    runs: list[list[Block]] = []
    for block in sorted(blocks):
        last = runs[-1][-1] if runs else None
        if last and last.piece == block.piece and last.begin + last.length == block.begin:
            runs[-1].append(block)
        else:
            runs.append([block])
    return runs


async def assist(
    torrent: Torrent,
    ref: BlobRef,
    seed: WebSeed,
    *,
    grace: float,
    alone: Callable[[], bool],
    clock: Callable[[], float],
    rng: Random,
) -> None:
    """Fetch from ``seed`` while no peer has delivered for ``grace`` seconds; until complete.

    While ``alone`` there is no peer to wait for.
    """
    backoff = Backoff(rng)
    layout = Layout.of(ref.length)
    while not torrent.complete.is_set():
        if clock() - torrent.progressed < grace and not alone():
            await asyncio.sleep(min(POLL, grace))
            continue
        try:
            if torrent.info is None:
                torrent.know(of_blob(await seed.info(ref)))
            if torrent.info is None or not torrent.info.is_blob:
                return
            if not await _serve(torrent, ref, seed, layout):
                return
            backoff.reset()
        except (SwarmError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("web seed of blob %s: %s", ref, error)
            await asyncio.sleep(backoff.next())


async def _serve(torrent: Torrent, ref: BlobRef, seed: WebSeed, layout: Layout) -> bool:
    """Take part until peers deliver again. False when the seed was caught with wrong bytes."""
    source = object()
    torrent.lending.lend(source)
    from_peers = torrent.traffic.peers
    try:
        while torrent.traffic.peers == from_peers and not torrent.complete.is_set():
            blocks = torrent.lending.borrow(source)
            if not blocks:
                await asyncio.sleep(POLL)
                continue
            for run in spans_of(blocks):
                length = sum(block.length for block in run)
                start = layout.offset_of(run[0])
                data = await seed.span(ref, start, length)
                for block in run:
                    at = layout.offset_of(block) - start
                    if not torrent.lending.supply(source, block, data[at : at + block.length]):
                        return False
    finally:
        torrent.lending.unlend(source)
    return True
