"""What the tracker was told that is held here, and when to tell it more. Pure."""

from collections.abc import Iterable

from workunits.ids import BlobRef
from workunits.wire.holds import Holds, changes

PAUSE = 2.0
"""Seconds between two messages, at least."""

REFRESH = 60.0
"""Seconds after which a small change of the room counts too."""

GRAIN = 64
"""A change of the room by less than one part in so many of the quota is small."""


class Holdings:
    """What was said in this session."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """A new session begins: the tracker knows nothing."""
        self._said: frozenset[bytes] = frozenset()
        self._room: int | None = None
        self._when = 0.0

    def next(self, refs: Iterable[BlobRef], room: int, quota: int, now: float) -> Holds | None:
        """What to say now, if anything. ``refs`` have the one used last at the end; ``room`` and
        ``quota`` are bytes, ``now`` is monotonic seconds."""
        if self._room is not None and now < self._when + PAUSE:
            return None
        said, holds = changes(self._said, refs, room)
        if self._room is not None and said == self._said:
            moved = abs(room - self._room)
            if not moved or (moved * GRAIN < quota and now < self._when + REFRESH):
                return None
        self._said, self._room, self._when = said, room, now
        return holds
