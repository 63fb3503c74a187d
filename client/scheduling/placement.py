"""Which lease goes next, and into which slot: urgent ones first, then by deadline. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from client.scheduling.book import JobRecord
from client.scheduling.cells import Cells
from client.scheduling.leases import Held


@dataclass(frozen=True, slots=True)
class Choice:
    """A lease and a free slot for it. If it does not fit it waits for memory, and nothing may
    start before it."""

    job: JobRecord
    lease: Held
    slot: int
    fits: bool


def choose(
    heads: Iterable[tuple[JobRecord, Held]], cells: Cells, warm_bonus: float
) -> Choice | None:
    """What to do next, out of the first lease of each job.

    A lease may be due ``warm_bonus`` seconds later and still go first where it has a warm cell.
    What fits goes before what does not, unless somebody waits for the latter.
    """
    best: tuple[tuple[bool, bool, float, int], Choice] | None = None
    for job, lease in heads:
        for slot in cells.free:
            fits = cells.fits(slot, job.id, job.memory)
            bonus = warm_bonus if cells.warm(slot, job.id) else 0.0
            order = (not lease.urgent, not fits, lease.deadline - bonus, slot)
            if best is None or order < best[0]:
                best = order, Choice(job, lease, slot, fits)
    return best[1] if best else None
