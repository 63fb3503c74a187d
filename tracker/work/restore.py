"""From rows back to a desk, after a restart."""

from tracker.ledger import Account, Book
from tracker.rows import ExecutionRow, UnitRow
from tracker.store.reader import Snapshot
from tracker.work.desk import Desk
from tracker.work.floor import Patience
from tracker.work.state import Execution, Job, Peer, Unit
from tracker.work.table import Doing, Stage
from validators.comparators import Finding
from workunits.ids import JobId, LeaseToken, PeerKey
from workunits.manifest import SignedManifest
from workunits.results import Result


def restore(snapshot: Snapshot, now: float, patience: Patience | None = None) -> Desk:
    """Rebuild the desk that wrote ``snapshot``. Deadlines start anew at ``now``."""
    desk = Desk(_book(snapshot), patience)
    floor = desk.floor
    floor.next_token = snapshot.next_token
    for row in snapshot.peers:
        key = PeerKey(row.key)
        floor.peers[key] = Peer(
            key,
            PeerKey(row.owner),
            right=row.right,
            wrong=row.wrong,
            withheld=row.withheld,
            alone=row.alone,
            banned=bool(row.banned),
        )
    for job_row in snapshot.jobs:
        signed = SignedManifest.of(job_row.manifest, job_row.signature)
        tally = snapshot.tallies[job_row.id]
        job = Job(signed, job_row.created, cursor=tally.leased)
        job.accepted, job.failed = tally.accepted, tally.failed
        job.executions, job.wrong = tally.executions, tally.wrong
        job.paid = job.manifest.escrow - desk.book.escrowed(job.id)
        floor.open_job(job)
    for unit_row in snapshot.units:
        _unit(desk, unit_row)
    for execution_row in snapshot.executions:
        _execution(desk, execution_row, snapshot.contents)
    desk.resume(now)
    return desk


def _book(snapshot: Snapshot) -> Book:
    book = Book(
        {row.account: Account(row.balance, row.earned, row.spent) for row in snapshot.accounts}
    )
    for leaf in snapshot.leaves:
        book.tree.append(leaf)
    return book


def _unit(desk: Desk, row: UnitRow) -> None:
    job = desk.jobs[JobId(row.job)]
    unit = Unit(job, row.idx, Stage(row.stage), attempts=row.attempts, checkpoint=row.checkpoint)
    job.units[row.idx] = unit
    if unit.stage is Stage.OPEN:
        job.redo.append(unit.index)


def _execution(desk: Desk, row: ExecutionRow, contents: dict[bytes, bytes]) -> None:
    job = desk.jobs.get(JobId(row.job))
    if job is None or row.idx not in job.units:
        return
    unit = job.units[row.idx]
    peer = desk.peers[PeerKey(row.peer)]
    execution = Execution(
        LeaseToken(row.token), unit, peer, Doing(row.doing), row.commitment, row.seal
    )
    if execution.doing is Doing.WITHHELD:
        unit.owners |= {peer.key, PeerKey(row.owner)}
        return
    if execution.doing is Doing.LEASED:
        unit.leased.append(execution)
        peer.leased += 1
    else:
        unit.committed.append(execution)
        unit.owners |= {peer.key, PeerKey(row.owner)}
    if execution.doing is Doing.REVEALED:
        result = Result.parse(row.result)
        inline = tuple(
            contents[output.ref.v2] for output in result.outputs if output.ref.v2 in contents
        )
        execution.finding = Finding(result, inline)
    peer.live[execution.token] = desk.floor.executions[execution.token] = execution
