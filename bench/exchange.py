"""One seed and its fetchers, each in a process of its own, meeting by a real tracker."""

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from bench.peer import Part
from bench.processes import BenchError, Child, child
from bench.tracker import tracking

PATIENCE = 600.0
BARE_PATIENCE = 45.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """What moving a blob cost. Seconds are those of the slowest fetcher, from asking for it to a
    checked file; memory is bytes by which the most that was resident exceeded what was before."""

    size: int
    seconds: float
    seed_cpu: float
    fetch_cpu: float
    seed_memory: int = 0
    fetch_memory: int = 0

    @property
    def rate(self) -> float:
        """Megabytes per second and fetcher."""
        return self.size / self.seconds / 1e6

    @property
    def cpu(self) -> str:
        """CPU time in words."""
        each = self.size / 1e6
        return (
            f"{1000 * self.seed_cpu / each:.1f} ms of CPU per MB in the seed, "
            f"{1000 * self.fetch_cpu / each:.1f} in a fetcher"
        )


def exchange(
    size: int,
    folder: Path,
    engine: str,
    *,
    fetchers: int = 1,
    up: int | None = None,
    bare: bool = False,
    direct: bool = False,
) -> Exchange:
    """Move a blob of ``size`` random bytes from one peer to ``fetchers`` that start together.

    ``bare`` is libtorrent without us, which is given a second try: peers that miss each other it
    lets wait for minutes. ``up`` limits what every peer sends, bytes per second.
    """
    if bare:
        with suppress(BenchError):
            return _exchange(size, folder, engine, fetchers, up, True, direct, BARE_PATIENCE)
    return _exchange(size, folder, engine, fetchers, up, bare, direct, PATIENCE)


def _exchange(
    size: int,
    folder: Path,
    engine: str,
    fetchers: int,
    up: int | None,
    bare: bool,
    direct: bool,
    patience: float,
) -> Exchange:
    folder = Path(mkdtemp(dir=folder))
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking(folder, "--mode", "open"))

        def start(role: str, name: str) -> Child:
            home = folder / name
            home.mkdir()
            end = stack.enter_context(child("bench.peer", log=home / f"{name}.log"))
            part = Part(role, size, str(home), tracker.url, engine, up, direct)
            end.tell(part.line())
            return end

        seeder = start("give" if bare else "seed", "seed")
        ends = [start("take" if bare else "fetch", f"fetch{n}") for n in range(fetchers)]
        ref = seeder.hear(patience)
        for end in ends:
            end.hear()
        before = [end.cpu() for end in (seeder, *ends)]
        for end in ends:
            end.tell(ref)
        found = [end.hear(patience) for end in ends]
        spent = [end.cpu() - cpu for end, cpu in zip((seeder, *ends), before, strict=True)]
        if any(from_peers < size for _, from_peers, _ in found):
            raise BenchError("not all of it came from peers")
        seeder.tell(None)
        seed_memory = 0 if bare else int(seeder.hear())
        return Exchange(
            *(size, max(seconds for seconds, _, _ in found)),
            spent[0],
            sum(spent[1:]) / fetchers,
            seed_memory,
            max(memory for _, _, memory in found),
        )
