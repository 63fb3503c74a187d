"""Comparisons that the tracker asks for: which of them to take on, and how they end. Pure.

A comparison is held like a lease, without a commit and a reveal: its opinion is its end.
"""

from collections.abc import Iterator

from client.scheduling import moves
from client.scheduling.book import Book, JobRecord
from client.scheduling.leases import Held, State
from client.scheduling.needs import Need
from workunits.ids import BlobRef
from workunits.verification import Comparison
from workunits.wire.compare import Compare, Pair, Shown

MAX_HELD = 256
"""Most comparisons that are held at once."""


def take(
    book: Book, event: Compare, refused: str, now: float
) -> Iterator[tuple[Held, tuple[Need, ...]]]:
    """Hold what was asked for, and give what each comparison reads; or decline all or some.

    ``refused`` is why all are declined; empty if they are not.
    """
    job = book.jobs.get(event.job)
    for pair in event.pairs:
        if pair.token in book.leases:
            continue
        full = "surplus" if book.comparisons >= MAX_HELD else ""
        reason = refused or full or (_flaw(job, pair) if job else "job")
        if job is None or reason:
            book.send_release([pair.token], reason)
            continue
        lease = Held(pair.token, event.job, pair.index, now + event.seconds, pair=pair)
        book.add(lease)
        yield lease, _reads(job, pair)


def judge(book: Book, event: moves.Judged, now: float) -> None:
    """A comparator ended: say so, and its cell is free."""
    for lease in book.known([event.token], State.RUNNING):
        assert lease.cell is not None
        assert lease.pair is not None
        book.jobs[lease.job].works()
        book.cells.idle(book.cells[lease.cell], now)
        book.out.append(moves.SendJudgement(lease.job, lease.pair.judged(event.opinion)))
        book.end(lease, State.JUDGED)


def forget(book: Book) -> None:
    """The connection ended: the tracker will ask again, and perhaps somebody else."""
    for lease in list(book.leases.values()):
        if lease.pair is not None:
            book.end(lease, State.REVOKED, "the connection ended")


def _flaw(job: JobRecord, pair: Pair) -> str:
    """Why ``pair`` can be no comparison of ``job``; empty if it can."""
    manifest = job.signed.manifest
    if manifest.comparator.kind is not Comparison.PROGRAM or pair.index >= manifest.units:
        return "malformed"
    for shown in (pair.a, pair.b):
        names = {output.name for output in shown.result.outputs}
        if not names <= set(manifest.outputs) or shown.result.size > manifest.limits.output_bytes:
            return "malformed"
    return ""


def _reads(job: JobRecord, pair: Pair) -> tuple[Need, ...]:
    """Everything that comparing ``pair`` needs, each once."""
    return tuple(dict.fromkeys((*job.program, *_blobs(pair.a), *_blobs(pair.b))))


def _blobs(shown: Shown) -> tuple[BlobRef, ...]:
    return () if shown.contents else tuple(output.ref for output in shown.result.outputs)
