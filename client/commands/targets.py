"""What a person may name to fetch: a link, a torrent file, a hash."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from client.commands.invocation import Invocation
from client.tracker_api import TrackerApi, check_url
from workunits.errors import LocalError, SwarmError
from workunits.links import Target, parse_link
from workunits.torrent_files import MAX_FILE, TorrentDocument, parse_torrent_file
from workunits.torrents import of_blob

if TYPE_CHECKING:
    from workunits.metainfo import Metainfo

SUFFIX = ".torrent"
MOST_AT_TRACKER = 16 * 1024 * 1024
"""Bytes of the largest blob that a tracker keeps itself."""


class LinkError(LocalError):
    """What was named leads to no torrent."""

    code = "usage"


def read_torrent_file(path: Path) -> TorrentDocument:
    """Read a ``.torrent`` file. Raises ``LinkError``, and ``OSError`` when it cannot be read."""
    with path.open("rb") as stream:
        raw = stream.read(MAX_FILE + 1)
    try:
        return parse_torrent_file(raw)
    except SwarmError as error:
        hint = "Ask whoever made this torrent for a correct one."
        raise LinkError(f"{path}: {error.message}", hint=error.hint or hint) from None


async def find_target(call: Invocation, text: str) -> Target:
    """What ``text`` leads to: a torrent file, a magnet: or swarm: link, or an info-hash.

    The tracker is asked whether it has the blob, if it is one: then it says what a v2 hash alone
    does not, and serves it. Raises ``LinkError``.
    """
    path = Path(text)
    if path.suffix == SUFFIX or (":" not in text and path.is_file()):
        return Target.of_document(read_torrent_file(path))
    try:
        target = parse_link(text)
    except SwarmError as error:
        raise LinkError(error.message, hint=error.hint) from None
    if target.v2 is None or (target.length or 0) > MOST_AT_TRACKER:
        return target
    found = await _ask(call, target.v2)
    if found is None or target.v1 not in (None, found.ref.v1):
        return target
    return replace(
        target,
        v1=found.ref.v1,
        length=found.length,
        webseeds=(*target.webseeds, f"{check_url(call.config.tracker)}/api/v1/blobs/{found.ref}"),
        known=TorrentDocument(of_blob(found)),
    )


async def _ask(call: Invocation, v2: bytes) -> "Metainfo | None":
    try:
        async with TrackerApi.connect(call.config.tracker, attempts=1) as tracker:
            return await tracker.blob_info(v2)
    except SwarmError as error:
        call.note(f"warning: {error.message}")
        return None
