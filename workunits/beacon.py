"""Public randomness that nobody can foresee and that its maker is bound to.

A chain of hashes, used from its end: the log first shows the last link (the anchor), then, link by
link, what hashes to it. A peer cannot know the next link when it commits to a result; the tracker
cannot choose it, because the anchor already fixes it. (Lamport, "Password authentication with
insecure communication", CACM 24(11), 1981.)
"""

import hashlib
from dataclasses import dataclass, field

LINKS = 4096
"""Links of one chain; then the next one is anchored."""

LINK_SIZE = 32
_SEED = b"openswarm beacon v1\n"


def follows(link: bytes, last: bytes) -> bool:
    """Whether ``link`` is what must come after ``last``, which is an anchor or a link."""
    return hashlib.sha256(link).digest() == last


def chain(secret: bytes, number: int) -> list[bytes]:
    """The ``number``-th chain: the seed first, the anchor last."""
    links = [hashlib.sha256(_SEED + number.to_bytes(8, "big") + secret).digest()]
    for _ in range(LINKS):
        links.append(hashlib.sha256(links[-1]).digest())
    return links


@dataclass(slots=True)
class Beacon:
    """The tracker's chains. ``used`` counts every anchor and link that was shown."""

    secret: bytes
    used: int = 0
    _number: int = -1
    _links: list[bytes] = field(default_factory=list)

    @property
    def is_spent(self) -> bool:
        """Whether the next thing to show is the anchor of a new chain."""
        return self.used % (LINKS + 1) == 0

    def show(self) -> bytes:
        """What comes next: an anchor, or a link."""
        number, at = divmod(self.used, LINKS + 1)
        if number != self._number:
            self._number, self._links = number, chain(self.secret, number)
        self.used += 1
        return self._links[LINKS - at]
