"""From rows back to a desk, after a restart."""

from tracker.ledger import Account, Book
from tracker.rows import ExecutionRow, ScoreRow, UnitRow
from tracker.store.reader import Snapshot
from tracker.work.desk import Desk
from tracker.work.findings import inline_limit
from tracker.work.floor import Patience
from tracker.work.fresh import Fresh
from tracker.work.state import Execution, Job, Peer, Unit
from tracker.work.table import Doing, Stage
from validators.comparators import Finding
from validators.reputation import STRIKES, Score
from workunits.beacon import LINK_SIZE, Beacon
from workunits.ids import NOBODY, JobId, LeaseToken, PeerKey
from workunits.manifest import SignedManifest
from workunits.results import Result
from workunits.ringers import Ringers


def restore(
    snapshot: Snapshot,
    now: float,
    patience: Patience | None = None,
    *,
    operator: PeerKey = NOBODY,
    secret: bytes = bytes(LINK_SIZE),
    epoch: float = 0.0,
) -> Desk:
    """Rebuild the desk that wrote ``snapshot``. Deadlines start anew at ``now``.

    ``operator`` is the tracker's key, and the chance of its draws comes from ``secret``; ``epoch``
    is the Unix time at which ``now`` was 0.
    """
    desk = Desk(_book(snapshot, operator, Beacon(secret, snapshot.links)), patience, secret)
    floor = desk.floor
    floor.epoch = epoch
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
            late=row.late,
            banned=bool(row.banned),
        )
        if floor.peers[key].doubtful:
            floor.electorate.doubted.add(key)
    for score in snapshot.scores:
        _score(desk, score)
    for job_row in snapshot.jobs:
        signed = SignedManifest.of(job_row.manifest, job_row.signature)
        tally = snapshot.tallies[job_row.id]
        ringers = snapshot.ringers.get(job_row.id)
        job = Job(
            signed,
            job_row.created,
            ringers=Ringers.parse(ringers) if ringers else None,
        )
        job.fresh = Fresh([*tally.gaps, (tally.leased, job.manifest.units)])
        job.accepted, job.failed = tally.accepted, tally.failed
        job.executions, job.wrong = tally.executions, tally.wrong
        job.paid = job.manifest.escrow - desk.book.escrowed(job.id)
        job.undecided = {
            first: len(job.batch(first)) - count for first, count in tally.decided.items()
        }
        floor.open_job(job)
    for unit_row in snapshot.units:
        _unit(desk, unit_row, now)
    for execution_row in snapshot.executions:
        _execution(desk, execution_row, snapshot.contents, now)
    desk.resume(now)
    return desk


def _score(desk: Desk, row: ScoreRow) -> None:
    peer = desk.peers[PeerKey(row.peer)]
    if row.what == "kind":
        peer.scores[row.about] = Score(row.amount, row.at)
    elif row.what == "strikes":
        peer.strikes = Score(row.amount, row.at)
    else:
        submitter = PeerKey(row.about)
        peer.struck[submitter] = int(row.amount)
        if peer.struck[submitter] >= STRIKES:
            desk.floor.electorate.shun(peer.key, submitter)


def _book(snapshot: Snapshot, operator: PeerKey, beacon: Beacon) -> Book:
    book = Book(
        operator,
        beacon,
        {row.account: Account(row.balance, row.earned, row.spent) for row in snapshot.accounts},
    )
    book.restarted = bool(snapshot.leaves)
    for leaf in snapshot.leaves:
        book.tree.append(leaf)
    return book


def _unit(desk: Desk, row: UnitRow, now: float) -> None:
    job = desk.jobs[JobId(row.job)]
    unit = Unit(job, row.idx, Stage(row.stage), attempts=row.attempts)
    unit.asked, unit.shown = _keys(row.drawn), set(_keys(row.shown))
    unit.reopened, unit.confirmed = bool(row.reopened), bool(row.confirmed)
    if unit.stage is Stage.SETTLED:
        unit.result, unit.reason, unit.since = row.result, row.reason, now
        unit.meter = Result.parse(row.result).meter if job.manifest.program.model else 0
        job.settled[row.idx] = unit
        job.count(row.idx, -1)
        return
    job.units[row.idx] = unit
    if unit.stage is Stage.OPEN and not job.asked:
        job.redo.append(unit.index)


def _keys(joined: bytes) -> list[PeerKey]:
    return [PeerKey(joined[at : at + 32]) for at in range(0, len(joined), 32)]


def _execution(desk: Desk, row: ExecutionRow, contents: dict[bytes, bytes], now: float) -> None:
    job = desk.jobs.get(JobId(row.job))
    unit = job.units.get(row.idx) or job.settled.get(row.idx) if job else None
    if unit is None:
        return
    peer = desk.peers[PeerKey(row.peer)]
    execution = Execution(
        *(LeaseToken(row.token), unit, peer, Doing(row.doing), row.commitment, row.seal),
        *(row.lot, bool(row.proven), bool(row.referee), row.platform, row.entry),
    )
    if row.commitment:
        unit.owners |= {peer.key, PeerKey(row.owner)}
        if unit.stage is not Stage.SETTLED:
            desk.floor.conceal(unit, row.entry, now)
    match execution.doing:
        case Doing.LEASED:
            unit.leased.append(execution)
            peer.leased += 1
        case Doing.HELD:
            unit.committed.append(execution)
            peer.held[execution] = None
            return
        case Doing.COMMITTED | Doing.ASKED | Doing.REVEALED:
            unit.committed.append(execution)
        case Doing.WITHHELD if job and job.is_repeatable:
            unit.silent.append(execution)
            return
        case _:
            return
    if execution.doing is Doing.REVEALED:
        result = Result.parse(row.result)
        inline: tuple[bytes, ...] = ()
        if result.size <= inline_limit(unit.job.manifest) and not unit.job.asked:
            inline = tuple(contents[output.ref.v2] for output in result.outputs)
        execution.finding = Finding(result, inline)
    peer.live[execution.token] = desk.floor.executions[execution.token] = execution
