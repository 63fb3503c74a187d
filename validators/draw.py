"""Who checks a unit: a public draw that nobody chooses and anybody can replay.

The randomness is the ledger's latest checkpoint when the unit's commit arrived, hashed with the
unit. The roster is sorted, so the outcome depends on nothing else.
"""

import hashlib
from collections.abc import Callable, Sequence

from workunits.ids import PeerKey, UnitId

_DOMAIN = b"openswarm draw v1\n"
_TRIES = 32


def draw(
    checkpoint: bytes,
    unit: UnitId,
    attempt: int,
    roster: Sequence[PeerKey],
    eligible: Callable[[PeerKey], bool],
) -> PeerKey | None:
    """Draw one eligible peer from the sorted ``roster``; ``None`` when there is none.

    ``attempt`` counts the draws for this unit, so that one who does not come is drawn past.
    Each try hashes afresh; a roster in which few are eligible is walked from the last place.
    """
    if not roster:
        return None
    seed = _DOMAIN + checkpoint + unit.job + unit.index.to_bytes(8, "big")
    place = 0
    for count in range(_TRIES):
        word = hashlib.sha256(seed + attempt.to_bytes(4, "big") + count.to_bytes(4, "big")).digest()
        place = int.from_bytes(word[:8], "big") % len(roster)
        if eligible(roster[place]):
            return roster[place]
    for step in range(1, len(roster)):
        peer = roster[(place + step) % len(roster)]
        if eligible(peer):
            return peer
    return None
