"""A set of hashes of which millions may be kept: 8 bytes each, and no object."""

from array import array

SHARDS = 256
_FIRST_SIZE = 8


class Fingerprints:
    """Remembers values by a keyed 64-bit hash; grows, and never forgets.

    Two values are taken for one with a chance of 1 in 2**64 for each pair, and nobody can make
    such a pair, because Python's hash of bytes has a secret key.
    """

    __slots__ = ("_counts", "_shards")

    def __init__(self) -> None:
        self._shards = [array("q", bytes(8 * _FIRST_SIZE)) for _ in range(SHARDS)]
        self._counts = array("L", bytes(array("L").itemsize * SHARDS))

    def __len__(self) -> int:
        return sum(self._counts)

    def __contains__(self, value: bytes) -> bool:
        mark = hash(value) or 1
        shard = self._shards[mark & SHARDS - 1]
        return shard[_place(shard, mark)] == mark

    def add(self, value: bytes) -> None:
        """Remember ``value``."""
        mark = hash(value) or 1
        number = mark & SHARDS - 1
        shard = self._shards[number]
        place = _place(shard, mark)
        if shard[place] == mark:
            return
        shard[place] = mark
        self._counts[number] += 1
        # One shard at a time is small, so growing holds nobody up.
        if 4 * self._counts[number] > 3 * len(shard):
            self._shards[number] = _doubled(shard)


def _place(shard: "array[int]", mark: int) -> int:
    """Where ``mark`` is, or the free place where it belongs (linear probing)."""
    mask = len(shard) - 1
    place = (mark >> 8) & mask
    while (there := shard[place]) and there != mark:
        place = (place + 1) & mask
    return place


def _doubled(shard: "array[int]") -> "array[int]":
    larger = array("q", bytes(8 * 2 * len(shard)))
    for mark in shard:
        if mark:
            larger[_place(larger, mark)] = mark
    return larger
