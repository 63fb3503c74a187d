"""Public draws that nobody chooses and anybody can replay from the ledger.

The randomness is a link of the tracker's beacon that was not known when the peer committed. The
roster is sorted, so the outcome depends on nothing else.
"""

import hashlib
from collections.abc import Callable, Sequence

from workunits.ids import PeerKey, UnitId

LOTS = 1000
_DRAW = b"openswarm draw v2\n"
_LOT = b"openswarm lot v1\n"
_TRIES = 32


def lot(link: bytes, unit: UnitId) -> int:
    """A unit's lot, from 0 to 999, given the link that came with its first commitment."""
    word = hashlib.sha256(_LOT + link + unit.job + unit.index.to_bytes(8, "big")).digest()
    return int.from_bytes(word[:8], "big") % LOTS


def draw(
    link: bytes,
    unit: UnitId,
    roster: Sequence[PeerKey],
    eligible: Callable[[PeerKey], bool],
) -> PeerKey | None:
    """Draw one eligible peer from the sorted ``roster``; ``None`` when there is none.

    Each try hashes afresh; where few are eligible, the last hash chooses among just those.
    """
    if not roster:
        return None
    seed = _DRAW + link + unit.job + unit.index.to_bytes(8, "big")
    word = b""
    for count in range(_TRIES):
        word = hashlib.sha256(seed + count.to_bytes(4, "big")).digest()
        place = int.from_bytes(word[:8], "big") % len(roster)
        if eligible(roster[place]):
            return roster[place]
    able = [peer for peer in roster if eligible(peer)]
    return able[int.from_bytes(word[:8], "big") % len(able)] if able else None
