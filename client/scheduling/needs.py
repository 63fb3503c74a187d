"""Which blobs and images are needed by whom: counted, fetched once, let go when nobody needs them.

Pure.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from workunits.ids import BlobRef, LeaseToken
from workunits.images import Image

Need: TypeAlias = BlobRef | Image


@dataclass(slots=True)
class _Need:
    holders: int = 0
    asked: float | None = None
    """When its fetch began."""
    here: bool = False
    waiting: set[LeaseToken] = field(default_factory=set)


class Needs:
    """What leases and cells need. At most ``most`` fetches are under way at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._needs: dict[Need, _Need] = {}
        self._queue: deque[Need] = deque()
        self._fetching = 0

    def take(self, refs: Iterable[Need], token: LeaseToken | None = None) -> set[Need]:
        """Count one more holder of each; return those not here, for which ``token`` waits."""
        missing = set()
        for ref in refs:
            need = self._needs.get(ref)
            if need is None:
                need = self._needs[ref] = _Need()
                self._queue.append(ref)
            need.holders += 1
            if not need.here:
                missing.add(ref)
                if token is not None:
                    need.waiting.add(token)
        return missing

    def let_go(self, refs: Iterable[Need], token: LeaseToken | None = None) -> list[Need]:
        """Undo one ``take``; return what nobody needs any more and was fetched or asked for."""
        dropped = []
        for ref in refs:
            need = self._needs[ref]
            need.holders -= 1
            if token is not None:
                need.waiting.discard(token)
            if need.holders:
                continue
            del self._needs[ref]
            if need.asked is not None and not need.here:
                self._fetching -= 1
            if need.asked is not None:
                dropped.append(ref)
        return dropped

    def next_fetches(self, now: float) -> list[Need]:
        """What to fetch at monotonic time ``now``."""
        found = []
        while self._queue and self._fetching < self._most:
            ref = self._queue.popleft()
            need = self._needs.get(ref)
            if need is not None and need.asked is None:
                need.asked = now
                self._fetching += 1
                found.append(ref)
        return found

    def arrived(self, ref: Need) -> tuple[float, set[LeaseToken]] | None:
        """A blob is here: since when it was fetched, and who waited. ``None`` if nobody asked."""
        need = self._needs.get(ref)
        if need is None or need.asked is None or need.here:
            return None
        need.here = True
        self._fetching -= 1
        waiting, need.waiting = need.waiting, set()
        return need.asked, waiting

    def failed(self, ref: Need) -> set[LeaseToken]:
        """A fetch failed: who waited for it. They must let go of it; who comes later asks again."""
        need = self._needs.get(ref)
        if need is None or need.asked is None or need.here:
            return set()
        need.asked = None
        self._fetching -= 1
        self._queue.append(ref)
        return set(need.waiting)
