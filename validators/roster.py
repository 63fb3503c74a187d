"""Who is there to be drawn: the connected peers of a role, sorted by key."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import overload

from workunits.ids import PeerKey


class Roster(Sequence[PeerKey]):
    """A sorted list of keys, each once."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: list[PeerKey] = []

    def add(self, key: PeerKey) -> None:
        """Put ``key`` in its place."""
        at = bisect_left(self._keys, key)
        if self._keys[at : at + 1] != [key]:
            self._keys.insert(at, key)

    def discard(self, key: PeerKey) -> None:
        """Take ``key`` out, if it is there."""
        at = bisect_left(self._keys, key)
        if self._keys[at : at + 1] == [key]:
            del self._keys[at]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, bytes):
            return False
        at = bisect_left(self._keys, key)
        return self._keys[at : at + 1] == [key]

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, at: int) -> PeerKey: ...
    @overload
    def __getitem__(self, at: slice) -> list[PeerKey]: ...
    def __getitem__(self, at: int | slice) -> PeerKey | list[PeerKey]:
        return self._keys[at]
