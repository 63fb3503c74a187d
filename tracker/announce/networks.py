"""Which network an announce comes from, and how many peers each network has.

A customer commonly has at most an IPv4 /24 or an IPv6 /48 (RFC 6177), so that is what is counted:
a thousand addresses cost no more than one. Pure, on packed addresses.
"""

from functools import lru_cache

NOWHERE = 0
"""The network of a peer that comes from none, or from one that is not known."""

_V4 = 1 << 24
_V6 = 1 << 48
_V4_SIZE = 4
_LOCAL_V4 = (
    (10 << 16, 8),
    (127 << 16, 8),
    (169 << 16 | 254 << 8, 16),
    (172 << 16 | 16 << 8, 12),
    (192 << 16 | 168 << 8, 16),
    (100 << 16 | 64 << 8, 10),
)


def network_of(address: bytes) -> int:
    """The network of a packed address (4 or 16 bytes; what follows, as a port, is not read)."""
    if len(address) < 16:
        return _V4 | int.from_bytes(address[:3], "big") if len(address) >= _V4_SIZE else NOWHERE
    return _V6 | int.from_bytes(address[:6], "big")


@lru_cache(maxsize=4096)
def is_local(network: int) -> bool:
    """Whether a network is private, loopback or unknown: of people who know each other, or of a
    proxy behind which all come from one address. Limits that tell networks apart spare it."""
    if network == NOWHERE:
        return True
    if network < _V6:
        prefix = network - _V4
        return any(prefix >> 24 - bits == base >> 24 - bits for base, bits in _LOCAL_V4)
    first = network - _V6 >> 32
    return first >> 9 == 0xFC >> 1 or first >> 6 == 0xFE80 >> 6 or network == _V6


class Crowds:
    """Members (numbers) by network. Knows the largest network at any time, in constant time."""

    __slots__ = ("_members", "_sizes", "largest")

    def __init__(self) -> None:
        self._members: dict[int, int | set[int]] = {}
        self._sizes: dict[int, set[int]] = {}
        self.largest = 0
        """How many members the largest network has."""

    def __len__(self) -> int:
        return len(self._members)

    def size(self, network: int) -> int:
        """How many members ``network`` has."""
        found = self._members.get(network)
        if found is None:
            return 0
        return 1 if isinstance(found, int) else len(found)

    def add(self, network: int, member: int) -> None:
        """Enter a member, which must not be there."""
        found = self._members.get(network)
        if found is None:
            self._members[network] = member
            self.largest = self.largest or 1
            return
        if isinstance(found, int):
            found = self._members[network] = {found}
        else:
            self._leave(len(found), network)
        found.add(member)
        size = len(found)
        self._sizes.setdefault(size, set()).add(network)
        self.largest = max(size, self.largest)

    def remove(self, network: int, member: int) -> None:
        """Take out a member, which must be there."""
        found = self._members[network]
        if isinstance(found, int):
            del self._members[network]
            if not self._members:
                self.largest = 0
            return
        size = len(found)
        found.remove(member)
        self._leave(size, network)
        if size == 2:
            self._members[network] = found.pop()
        else:
            self._sizes.setdefault(size - 1, set()).add(network)
        if size == self.largest and size not in self._sizes:
            self.largest = size - 1

    def members(self, network: int) -> tuple[int, ...]:
        """All members of one network."""
        found = self._members.get(network)
        if found is None:
            return ()
        return (found,) if isinstance(found, int) else tuple(found)

    def one_of(self, network: int) -> int:
        """Some member of a network that has any."""
        found = self._members[network]
        return found if isinstance(found, int) else next(iter(found))

    def crowded(self) -> int | None:
        """Some member of the largest network; ``None`` while no network has two members."""
        networks = self._sizes.get(self.largest)
        return self.one_of(next(iter(networks))) if networks else None

    def _leave(self, size: int, network: int) -> None:
        networks = self._sizes[size]
        networks.remove(network)
        if not networks:
            del self._sizes[size]
