"""Slots and the cells in them: which are warm, which are busy, which to evict. Pure.

A slot runs one unit at a time, in a cell of the unit's job. It keeps a few idle cells warm. Those
of models hold their memory while idle too, so they stay only until somebody needs it.
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
    STOPPING = "stopping"
    CLOSING = "closing"


@dataclass(slots=True, eq=False)
class CellRecord:
    """A cell: ``token`` is the lease it is for while opening or busy; ``since`` when idle.

    ``heavy`` is whether it holds its memory as long as it lives.
    """

    id: int
    job: JobId
    slot: int
    memory: int
    needs: tuple[Need, ...]
    heavy: bool = False
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
        self._taken = 0
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

    def fits(self, slot: int, job: JobId, memory: int) -> bool:
        """Whether a unit of ``job``, of so much memory, may run in ``slot`` now."""
        warm = self._idle.get((slot, job))
        counted = warm is not None and warm.heavy
        return self._taken + (0 if counted else memory) <= self._memory

    def crowding(self, memory: int) -> list[CellRecord]:
        """The idle cells that must go before one more unit of so much memory fits, oldest first.

        None if those that are going suffice, or if all of them would not.
        """
        leaving = (
            cell.memory
            for cell in self._cells.values()
            if cell.life is Life.CLOSING and self._counts(cell)
        )
        over = self._taken + memory - self._memory - sum(leaving)
        idle = sorted(
            (cell for cell in self._idle.values() if cell.heavy), key=lambda cell: cell.since
        )
        chosen: list[CellRecord] = []
        while over > 0 and idle:
            chosen.append(idle.pop(0))
            over -= chosen[-1].memory
        return chosen if over <= 0 else []

    def reuse(self, slot: int, job: JobId, token: LeaseToken) -> CellRecord:
        """Take the idle cell of ``job`` in ``slot``."""
        cell = self._idle.pop((slot, job))
        cell.life = Life.BUSY
        self._taken += 0 if cell.heavy else cell.memory
        self._occupy(cell, token)
        return cell

    def open(
        self,
        slot: int,
        job: JobId,
        memory: int,
        needs: tuple[Need, ...],
        token: LeaseToken,
        *,
        heavy: bool = False,
    ) -> CellRecord:
        """A new cell."""
        self._last += 1
        cell = CellRecord(self._last, job, slot, memory, needs, heavy)
        self._cells[cell.id] = cell
        self._taken += memory
        self._occupy(cell, token)
        return cell

    def idle(self, cell: CellRecord, now: float) -> None:
        """What ran in ``cell`` is over, and the cell is good."""
        cell.life, cell.token, cell.since = Life.IDLE, None, now
        self._idle[cell.slot, cell.job] = cell
        self._taken -= 0 if cell.heavy else cell.memory
        self._vacate(cell)

    def stopping(self, cell: CellRecord) -> None:
        """What runs in ``cell`` is being ended, and the cell stays if it can."""
        cell.life, cell.token = Life.STOPPING, None

    def closing(self, cell: CellRecord) -> None:
        """``cell`` is being closed; a busy one keeps its slot until it is gone."""
        if cell.life is Life.IDLE:
            del self._idle[cell.slot, cell.job]
        cell.life, cell.token = Life.CLOSING, None

    def gone(self, cell: CellRecord) -> None:
        """``cell`` is no more."""
        del self._cells[cell.id]
        if self._counts(cell):
            self._taken -= cell.memory
        self._idle = {key: each for key, each in self._idle.items() if each is not cell}
        self._vacate(cell)

    def surplus(self, slot: int) -> list[CellRecord]:
        """The idle cells of ``slot`` that must go to make room for one more, oldest first. Those
        of models are bounded by memory instead."""
        idle = [cell for (at, _), cell in self._idle.items() if at == slot and not cell.heavy]
        idle.sort(key=lambda cell: cell.since)
        return idle[: max(0, len(idle) - self._warm + 1)]

    def stale(self, before: float, heavy_before: float) -> list[CellRecord]:
        """Cells idle since before ``before``, those of models since before ``heavy_before``."""
        return [
            cell
            for cell in self._idle.values()
            if cell.since < (heavy_before if cell.heavy else before)
        ]

    def _counts(self, cell: CellRecord) -> bool:
        return cell.heavy or self._busy.get(cell.slot) is cell

    def _occupy(self, cell: CellRecord, token: LeaseToken) -> None:
        cell.token = token
        self.free.discard(cell.slot)
        self._busy[cell.slot] = cell

    def _vacate(self, cell: CellRecord) -> None:
        if self._busy.get(cell.slot) is cell:
            del self._busy[cell.slot]
            self.free.add(cell.slot)
