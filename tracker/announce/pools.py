"""Peers as rows of a table, and the parts of a swarm as lists of row numbers.

A peer has no object of its own: 100,000 of them would be as many dictionaries. Rows are columns of
packed numbers, row numbers are used again, and a pool keeps the addresses of its members packed as
a reply has them, so that a draw is a few slices.
"""

from array import array
from collections.abc import Hashable, Iterable, Iterator
from enum import IntEnum
from random import Random

PEER_ID = 20
V4_SIZE = 6
V6_SIZE = 18
NO_ROW = -1
SMALL = 8
"""Members of a pool from which on their addresses are kept side by side."""


class Kind(IntEnum):
    """How the members of a pool are reached; they can be handed only to each other, or, by
    address, to who may reach both families."""

    V4 = 0
    V6 = 1
    SOCKET = 2


WIDTHS = (V4_SIZE, V6_SIZE, 0)


class Rows:
    """The columns. ``seen`` is seconds; ``key`` owns the peer, see ``Swarms``."""

    __slots__ = (
        "_free",
        "identity",
        "key",
        "network",
        "paused",
        "peer_ids",
        "place",
        "seen",
        "swarm",
    )

    def __init__(self) -> None:
        self.key: list[Hashable] = []
        self.swarm: list[object] = []
        self.peer_ids = bytearray()
        self.seen = array("d")
        self.place = array("I")
        self.network = array("Q")
        self.identity = array("q")
        self.paused = bytearray()
        self._free = array("I")

    def add(self) -> int:
        """A row to fill; whoever takes it sets every column."""
        if self._free:
            return self._free.pop()
        self.key.append(None)
        self.swarm.append(None)
        self.peer_ids += bytes(PEER_ID)
        self.seen.append(0.0)
        self.place.append(0)
        self.network.append(0)
        self.identity.append(0)
        self.paused.append(0)
        return len(self.key) - 1

    def remove(self, row: int) -> None:
        """Give a row back."""
        self.key[row] = self.swarm[row] = None
        self._free.append(row)

    def peer_id(self, row: int) -> bytes:
        """The peer id of a row."""
        return bytes(self.peer_ids[row * PEER_ID : (row + 1) * PEER_ID])


class Pool:
    """Members of one kind: first who downloads, then who only uploads (seeders, partial seeds)."""

    __slots__ = ("_rows", "_width", "addresses", "downloaders", "members", "paused")

    def __init__(self, rows: Rows, kind: Kind) -> None:
        self._rows = rows
        self._width = WIDTHS[kind]
        self.members = array("I")
        self.addresses: bytearray | None = None
        """What can be said of all members at once; there when a pool of addresses is not small."""

        self.downloaders = 0
        self.paused = 0
        """How many of those who only upload are not complete (BEP 21)."""

    def __len__(self) -> int:
        return len(self.members)

    @property
    def seeders(self) -> int:
        """How many are complete."""
        return len(self.members) - self.downloaders - self.paused

    def add(self, row: int, address: bytes, *, seeding: bool, paused: bool) -> None:
        """Enter a row; ``address`` is packed, and ends the row's key. It is empty for a socket."""
        rows, members, width = self._rows, self.members, self._width
        if len(address) != width:
            raise ValueError("an address of another size")
        place = len(members)
        members.append(row)
        if self.addresses is not None:
            self.addresses += address
        elif width and place == SMALL:
            self.addresses = bytearray(self._spell(members))
        rows.place[row] = place
        rows.paused[row] = paused
        self.paused += paused
        if not (seeding or paused):
            if place != self.downloaders:
                self._swap(place, self.downloaders)
            self.downloaders += 1

    def change(self, row: int, *, seeding: bool, paused: bool) -> None:
        """A member may have finished, paused, or gone on."""
        rows = self._rows
        was_uploading = rows.place[row] >= self.downloaders
        self.paused += paused - rows.paused[row]
        rows.paused[row] = paused
        if was_uploading == (seeding or paused):
            return
        if was_uploading:
            self._swap(rows.place[row], self.downloaders)
            self.downloaders += 1
        else:
            self.downloaders -= 1
            self._swap(rows.place[row], self.downloaders)

    def seeding(self, row: int) -> bool:
        """Whether a member is complete."""
        return self._rows.place[row] >= self.downloaders and not self._rows.paused[row]

    def remove(self, row: int) -> None:
        """Take out a member."""
        rows, members, width = self._rows, self.members, self._width
        self.paused -= rows.paused[row]
        if rows.place[row] < self.downloaders:
            self.downloaders -= 1
            self._swap(rows.place[row], self.downloaders)
        last = len(members) - 1
        self._swap(rows.place[row], last)
        del members[last:]
        if self.addresses is not None:
            del self.addresses[last * width :]

    def draw(self, count: int, row: int, uploading: bool, rng: Random) -> Iterator[tuple[int, int]]:
        """Ranges of places with up to ``count`` members other than ``row`` (or ``NO_ROW``).

        Who downloads and who uploads are drawn in proportion; who only uploads has no use for
        others that do.
        """
        split, total = self.downloaders, len(self.members)
        skip = self._rows.place[row] if row != NO_ROW else -1
        leechers = split - (0 <= skip < split)
        seeders = 0 if uploading else total - split - (skip >= split)
        if leechers + seeders > count:
            # Rounded by chance: rounding to the nearest would never draw a rare kind.
            share = int(count * leechers / (leechers + seeders) + rng.random())
            leechers, seeders = share, count - share
        if leechers:
            yield from _window(0, split, skip, leechers, rng)
        if seeders:
            yield from _window(split, total, skip, seeders, rng)

    def packed(self, count: int, row: int, uploading: bool, rng: Random) -> bytes:
        """The addresses of a draw, as a compact reply has them."""
        addresses, width = self.addresses, self._width
        everybody = not uploading and count >= len(self.members) - (row != NO_ROW)
        if addresses is None:
            if everybody:
                return self._spell([each for each in self.members if each != row])
            return self._spell(self.rows(count, row, uploading, rng))
        if everybody:
            if row == NO_ROW:
                return bytes(addresses)
            at = self._rows.place[row] * width
            return bytes(addresses[:at] + addresses[at + width :])
        return b"".join(
            addresses[low * width : high * width]
            for low, high in self.draw(count, row, uploading, rng)
        )

    def rows(self, count: int, row: int, uploading: bool, rng: Random) -> list[int]:
        """The rows of a draw."""
        members = self.members
        return [
            each
            for low, high in self.draw(count, row, uploading, rng)
            for each in members[low:high]
        ]

    def _spell(self, rows: Iterable[int]) -> bytes:
        key, width = self._rows.key, self._width
        return b"".join([key[row][-width:] for row in rows])  # type: ignore[index]

    def _swap(self, one: int, two: int) -> None:
        if one == two:
            return
        members, width, place = self.members, self._width, self._rows.place
        a, b = members[one], members[two]
        members[one], members[two] = b, a
        place[a], place[b] = two, one
        addresses = self.addresses
        if addresses is not None:
            at_one, at_two = (
                slice(one * width, (one + 1) * width),
                slice(two * width, (two + 1) * width),
            )
            addresses[at_one], addresses[at_two] = addresses[at_two], addresses[at_one]


def _window(low: int, high: int, skip: int, count: int, rng: Random) -> Iterator[tuple[int, int]]:
    """``count`` places from ``low`` to ``high`` but not ``skip``, in a row from a random one on.

    Members stand in the order in which they came, so neighbours have nothing in common.
    """
    inside = low <= skip < high
    others = high - low - inside
    first = int(rng.random() * others) if count < others else 0
    end = first + count
    parts = ((first, end),) if end <= others else ((first, others), (0, end - others))
    for start, stop in parts:
        start, stop = low + start, low + stop
        if not inside or stop <= skip:
            yield start, stop
        elif start >= skip:
            yield start + 1, stop + 1
        else:
            yield start, skip
            yield skip + 1, stop + 1
