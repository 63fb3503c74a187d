"""What a peer holds of what jobs read, and whether more of it fits, as far as it says.

Names of blobs are cut to 8 bytes and packed: 1,000 of them take 8 kB, so that 10,000 peers who
hold much are affordable. Two blobs that fall together cost a fetch that was not foreseen.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import TypeAlias

from workunits.errors import LimitError, RefusedError
from workunits.ids import BlobRef, JobId
from workunits.manifest import Manifest
from workunits.wire.handshake import Offerings
from workunits.wire.holds import MAX_HELD, Holds

Need: TypeAlias = tuple[int, int]
"""Something that takes room on a disk: its name cut short, and its bytes."""

EVERY = 1.0
"""Seconds between two changes of what a peer holds; more often it may say so only ..."""

BURST = 30
"""... as many times in a row."""

_NAME = 8


class Cargo:
    """What the units of one job read: the same for all of them, and the files of each."""

    __slots__ = ("_manifest", "_widest", "common", "image", "is_light", "run")

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.common = tuple(map(_need, manifest.common))
        self.image: tuple[Need, ...] = ()
        """The image's layers, and the image that the engine makes of them."""
        self.run = manifest.run_length
        self._widest: int | None = None
        if shared := manifest.program.shared:
            unpacked = int.from_bytes(bytes.fromhex(shared.name[7:23]), "big"), shared.length
            self.image = (*map(_need, shared.refs), unpacked)
        self.is_light = not (self.common or self.run or self.image)
        """Whether there is nothing to fetch for anybody."""

    def own(self, index: int) -> tuple[Need, ...]:
        """What unit ``index`` alone reads."""
        return tuple(map(_need, self._manifest.own(index))) if self.run else ()

    @property
    def widest(self) -> int:
        """The most bytes that one unit reads alone."""
        if self._widest is None:
            axes = self._manifest.parameters.axes
            files = (getattr(axis, "files", ()) for axis in axes)
            self._widest = sum(max((f.ref.length for f in each), default=0) for each in files)
        return self._widest


class Larder:
    """What one peer holds in one session.

    ``expected`` is what its leases will make it fetch: it counts as held, and its room as taken.
    """

    __slots__ = ("_bucket", "_lacks", "_names", "_spare", "_when", "disk", "expected", "room")

    def __init__(self, offerings: Offerings, now: float) -> None:
        self.disk = self.room = self._spare = offerings.disk_bytes
        self.expected: dict[int, int] = {}
        self._names = array("Q")
        self._lacks: dict[JobId, int] = {}
        self._bucket, self._when = float(BURST), now

    @property
    def count(self) -> int:
        """How many blobs it said that it holds."""
        return len(self._names)

    def hear(self, holds: Holds, now: float) -> None:
        """Take what the peer says. Raises ``RefusedError`` when it says it too often, and
        ``LimitError`` when it names too many blobs; nothing has changed then."""
        bucket = min(BURST, self._bucket + (now - self._when) / EVERY)
        if bucket < 1:
            raise RefusedError(
                "this peer says too often what it holds", hint="Gather changes for a few seconds."
            )
        names = (set(self._names) - _cut(holds.removed)) | _cut(holds.added)
        if len(names) > MAX_HELD:
            raise LimitError(
                f"a peer names at most {MAX_HELD:,} blobs",
                hint="Name those that were used last, and remove the others.",
            )
        self._bucket, self._when = bucket - 1, now
        self._names = array("Q", sorted(names))
        self.room = holds.disk_bytes
        self._lacks.clear()

    def holds(self, name: int) -> bool:
        """Whether it said that it holds a blob."""
        at = bisect_left(self._names, name)
        return at < len(self._names) and self._names[at] == name

    def lack(self, job: JobId, needs: Iterable[Need]) -> int:
        """Bytes that the peer has to fetch before any unit of a job, whose common ``needs`` these
        are."""
        found = self._lacks.get(job)
        if found is None:
            found = self._lacks[job] = self.missing(needs)
        return found

    def missing(self, needs: Iterable[Need]) -> int:
        """Bytes of ``needs`` that are neither held nor expected."""
        return sum(
            size for name, size in needs if name not in self.expected and not self.holds(name)
        )

    def fits(self, size: int) -> bool:
        """Whether there is room for so many bytes more."""
        return size <= self._spare

    def expect(self, needs: Iterable[Need]) -> None:
        """The peer was leased a unit with these needs."""
        fresh = {
            name: size for name, size in needs if name not in self.expected and not self.holds(name)
        }
        if fresh:
            self.expected |= fresh
            self._spare -= sum(fresh.values())
            self._lacks.clear()

    def recount(self, needs: Iterable[Need]) -> None:
        """``needs`` are those of all leases that it has."""
        self.expected = {}
        self._spare = self.room
        self._lacks.clear()
        self.expect(needs)


def _need(ref: BlobRef) -> Need:
    return int.from_bytes(ref.v2[:_NAME], "big"), ref.length


def _cut(names: Iterable[bytes]) -> set[int]:
    return {int.from_bytes(name[:_NAME], "big") for name in names}
