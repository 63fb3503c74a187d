"""The units of a job that were never leased: a few ranges, whatever the size of the job.

They go out in order of index, unless the units read files of their own: then a peer may begin a
little further on, with a file that it holds.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

LOOK = 16
"""Runs of units with the same files, from the first that is not used up, that are looked at."""


class Fresh:
    """Indices in disjoint ranges, sorted; at most one more than ``LOOK`` of them if they are taken
    as ``starts`` says."""

    __slots__ = ("_ranges", "left")

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        """``ranges`` are sorted and disjoint, the ends not included."""
        self._ranges = [(start, end) for start, end in ranges if start < end]
        self.left = sum(end - start for start, end in self._ranges)
        """How many there are."""

    def __bool__(self) -> bool:
        return bool(self._ranges)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """All of them."""
        return tuple(self._ranges)

    @property
    def first(self) -> int:
        """The lowest; there must be one."""
        return self._ranges[0][0]

    def take(self, index: int) -> None:
        """Take one out, which must be there."""
        if self._ranges and index == self._ranges[0][0] < self._ranges[0][1] - 1:
            self._ranges[0] = (index + 1, self._ranges[0][1])  # mostly so
            self.left -= 1
            return
        at = bisect_right(self._ranges, index, key=lambda each: each[0]) - 1
        start, end = self._ranges[at]
        if not start <= index < end:
            raise ValueError(f"unit {index} was leased before")
        rest = [(start, index), (index + 1, end)]
        self._ranges[at : at + 1] = [each for each in rest if each[0] < each[1]]
        self.left -= 1

    def starts(self, run: int) -> Iterator[int]:
        """The first fresh unit of each run of ``run`` units, lowest first, of the next ``LOOK``
        runs. So the first one waits at most until the others are used up."""
        if not self._ranges:
            return
        last = self.first // run + LOOK
        for start, end in self._ranges:
            while start < end and start // run < last:
                yield start
                start = (start // run + 1) * run
