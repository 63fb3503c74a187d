"""What a person may name to fetch: a link, a torrent file, a hash."""

from pathlib import Path
from typing import TYPE_CHECKING

from client.commands.invocation import Invocation
from workunits.errors import LocalError, SwarmError
from workunits.links import Target, parse_link
from workunits.torrent_files import MAX_FILE, TorrentDocument, parse_torrent_file

if TYPE_CHECKING:
    from workunits.metainfo import Metainfo

SUFFIX = ".torrent"


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

    Of a blob that is named by its v2 hash alone, the tracker is asked for the rest. Raises
    ``LinkError``.
    """
    path = Path(text)
    if path.suffix == SUFFIX or (":" not in text and path.is_file()):
        return Target.of_document(read_torrent_file(path))
    try:
        target = parse_link(text)
    except SwarmError as error:
        raise LinkError(error.message, hint=error.hint) from None
    if target.v1 is not None or target.v2 is None:
        return target
    found = await _ask(call, target.v2)
    if found is None:
        return target
    return Target(found.ref.v1, found.ref.v2, found.length, target.name, target.trackers)


async def _ask(call: Invocation, v2: bytes) -> "Metainfo | None":
    from client.tracker_api import TrackerApi

    try:
        async with TrackerApi.connect(call.config.tracker, attempts=1) as tracker:
            return await tracker.blob_info(v2)
    except SwarmError as error:
        call.note(f"warning: {error.message}")
        return None
