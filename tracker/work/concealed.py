"""What of the log is not shown yet: commitments that somebody could still guess a result from.

A result that says little, such as yes or no, can be found from its commitment by trying. So the log
is public only up to the first commitment to a unit without a verdict, for at most an hour.
"""

from dataclasses import dataclass, field

AT_MOST = 3600.0
"""Seconds after which an entry is shown although its units wait."""


@dataclass(slots=True)
class Concealed:
    """Entries that are held back, by number: how many units each is about, and since when."""

    _entries: dict[int, tuple[int, float]] = field(default_factory=dict)

    def hide(self, number: int, now: float) -> None:
        """One more unit without a verdict has a commitment in an entry."""
        units, since = self._entries.get(number, (0, now))
        self._entries[number] = units + 1, since

    def show(self, number: int) -> None:
        """A unit of an entry has its verdict."""
        units, since = self._entries.get(number, (0, 0.0))
        if units > 1:
            self._entries[number] = units - 1, since
        else:
            self._entries.pop(number, None)

    def first(self, now: float) -> int | None:
        """The first entry that must not be shown; ``None`` when all may be."""
        while self._entries:
            number, (_, since) = next(iter(self._entries.items()))
            if now - since < AT_MOST:
                return number
            del self._entries[number]
        return None
