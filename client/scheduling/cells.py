"""Slots and the cells in them: which are warm, which are busy, which to evict. Pure.

A slot runs one unit at a time, in a cell of the unit's job. It keeps a few idle cells warm.
"""

from dataclasses import dataclass
from enum import Enum

from client.scheduling.needs import Need
from workunits.ids import JobId, LeaseToken


class Life(Enum):
    """The life of a cell."""

    OPENING = "opening"
    IDLE = "idle"
    BUSY = "busy"
    CLOSING = "closing"


@dataclass(slots=True, eq=False)
class CellRecord:
    """A cell: ``token`` is the lease it is for while opening or busy; ``since`` when idle."""

    id: int
    job: JobId
    slot: int
    memory: int
    needs: tuple[Need, ...]
    life: Life = Life.OPENING
    token: LeaseToken | None = None
    since: float = 0.0


class Cells:
    """All cells over all slots. A slot is free when nothing opens, runs or is being ended in it."""

    def __init__(self, slots: int, memory: int, warm: int) -> None:
        self._memory = memory
        self._warm = warm
        self._cells: dict[int, CellRecord] = {}
        self._idle: dict[tuple[int, JobId], CellRecord] = {}
        self._busy: dict[int, CellRecord] = {}
        self._last = 0
        self.free = set(range(slots))

    def __getitem__(self, cell: int) -> CellRecord:
        return self._cells[cell]

    def get(self, cell: int) -> CellRecord | None:
        """The cell, unless it is gone."""
        return self._cells.get(cell)

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        return len(self._busy)

    def jobs(self) -> set[JobId]:
        """The jobs that have a cell."""
        return {cell.job for cell in self._cells.values()}

    def warm(self, slot: int, job: JobId) -> bool:
        """Whether ``slot`` has an idle cell of ``job``."""
        return (slot, job) in self._idle

    def fits(self, memory: int) -> bool:
        """Whether one more unit of so much memory may run now."""
        return sum(cell.memory for cell in self._busy.values()) + memory <= self._memory

    def reuse(self, slot: int, job: JobId, token: LeaseToken) -> CellRecord:
        """Take the idle cell of ``job`` in ``slot``."""
        cell = self._idle.pop((slot, job))
        cell.life = Life.BUSY
        self._occupy(cell, token)
        return cell

    def open(
        self, slot: int, job: JobId, memory: int, needs: tuple[Need, ...], token: LeaseToken
    ) -> CellRecord:
        """A new cell."""
        self._last += 1
        cell = CellRecord(self._last, job, slot, memory, needs)
        self._cells[cell.id] = cell
        self._occupy(cell, token)
        return cell

    def idle(self, cell: CellRecord, now: float) -> None:
        """What ran in ``cell`` is over, and the cell is good."""
        cell.life, cell.token, cell.since = Life.IDLE, None, now
        self._idle[cell.slot, cell.job] = cell
        self._vacate(cell)

    def closing(self, cell: CellRecord) -> None:
        """``cell`` is being closed; a busy one keeps its slot until it is gone."""
        if cell.life is Life.IDLE:
            del self._idle[cell.slot, cell.job]
        cell.life, cell.token = Life.CLOSING, None

    def gone(self, cell: CellRecord) -> None:
        """``cell`` is no more."""
        del self._cells[cell.id]
        self._idle = {key: each for key, each in self._idle.items() if each is not cell}
        self._vacate(cell)

    def surplus(self, slot: int) -> list[CellRecord]:
        """The idle cells of ``slot`` that must go to make room for one more, oldest first."""
        idle = [cell for (at, _), cell in self._idle.items() if at == slot]
        idle.sort(key=lambda cell: cell.since)
        return idle[: max(0, len(idle) - self._warm + 1)]

    def stale(self, before: float) -> list[CellRecord]:
        """Cells idle since before ``before``."""
        return [cell for cell in self._idle.values() if cell.since < before]

    def _occupy(self, cell: CellRecord, token: LeaseToken) -> None:
        cell.token = token
        self.free.discard(cell.slot)
        self._busy[cell.slot] = cell

    def _vacate(self, cell: CellRecord) -> None:
        if self._busy.get(cell.slot) is cell:
            del self._busy[cell.slot]
            self.free.add(cell.slot)
