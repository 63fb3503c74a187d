"""What people and scripts are shown: JSON made from state and rows. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from tracker.rows import AccountRow, EntryRow, ExecutionRow, JobRow, UnitRow
from tracker.work.state import Job, Peer
from tracker.work.table import Doing, Stage
from workunits import entries
from workunits.entries import MINT, Move
from workunits.ids import JobId, PeerKey
from workunits.manifest import Manifest
from workunits.results import Result
from workunits.verification import Demands

Json: TypeAlias = dict[str, Any]


def live_job(job: Job, obstacle: str = "") -> Json:
    """A job that is on the desk; ``obstacle`` is why nothing happens with it."""
    stages = Counter(unit.stage for unit in job.units.values())
    begun = stages[Stage.COMPUTING] + stages[Stage.REVEALING]
    view = job_row(job.row(), job.manifest)
    view["counts"] |= {
        "cancelled": 0,
        "computing": stages[Stage.COMPUTING],
        "open": job.manifest.units - begun - len(job.settled) - job.accepted - job.failed,
        "revealing": stages[Stage.REVEALING],
        "settled": len(job.settled),
    }
    view["escrow"]["held"] = job.manifest.escrow - job.paid
    view["waiting"] = len(job.waiting)
    view["reason"] = obstacle
    return view


def job_row(row: JobRow, manifest: Manifest | None = None) -> Json:
    """A job that is over, or the ground of a live one."""
    manifest = manifest or Manifest.parse(row.manifest)
    rest = row.units - row.accepted - row.failed
    return {
        "id": row.id.hex(),
        "name": row.name,
        "submitter": row.submitter.hex(),
        "state": row.state,
        "reason": row.reason,
        "created": row.created,
        "policy": manifest.policy.value,
        "comparator": manifest.comparator.kind.value,
        "demands": _demands(manifest.demands),
        "price": manifest.price,
        "asked": manifest.is_asked,
        "units": row.units,
        "counts": {
            "open": 0,
            "computing": 0,
            "revealing": 0,
            "settled": 0,
            "accepted": row.accepted,
            "failed": row.failed,
            "cancelled": rest,
        },
        "waiting": 0,
        "executions": row.executions,
        "wrong": row.wrong,
        "escrow": {"held": 0, "paid": row.paid, "returned": row.returned},
    }


def unit_row(row: UnitRow, manifest: Manifest, executions: Iterable[ExecutionRow]) -> Json:
    """A unit, its result, and who was right and wrong about it.

    A result is shown when it is final: until then somebody may be drawn to compute it again.
    """
    executions = list(executions)
    settled = row.stage == Stage.SETTLED

    def peers(doing: Doing) -> list[str]:
        return [each.peer.hex() for each in executions if each.doing == doing]

    return {
        "index": row.idx,
        "state": row.stage,
        "parameters": manifest.unit(JobId(row.job), row.idx).parameters,
        "result": None if settled else _result(row.result),
        "reason": "" if settled else row.reason,
        "attempts": row.attempts,
        "winners": peers(Doing.HELD if settled else Doing.RIGHT),
        "losers": peers(Doing.WRONG),
    }


def peer(each: Peer, operator: PeerKey, wall: float) -> Json:
    """A peer and its standing at ``wall``; the operator's validators are referees."""
    referee = each.validator and each.owner == operator
    return {
        "key": each.key.hex(),
        "owner": each.owner.hex(),
        "role": "referee" if referee else "validator" if each.validator else "volunteer",
        "cores": each.offerings.cores if each.offerings else 0,
        "agent": each.offerings.agent if each.offerings else "",
        "leases": each.leased,
        "connected": each.connected,
    } | standing(each, wall)


def standing(each: Peer | None, wall: float) -> Json:
    """What verdicts have said of a peer, and what is left of it at ``wall``, Unix seconds."""
    return {
        "right": each.right if each else 0,
        "wrong": each.wrong if each else 0,
        "withheld": each.withheld if each else 0,
        "late": each.late if each else 0,
        "verified": _verified(each, wall) if each else 0,
        "strikes": round(each.strikes.worth(wall)) if each else 0,
        "doubted": bool(each and each.doubtful),
        "banned": bool(each and each.banned),
    }


def account_row(row: AccountRow, peer: Peer | None, wall: float) -> Json:
    """An account: a peer's, an escrow's, or the mint."""
    return {
        "account": account_name(row.account),
        "balance": row.balance,
        "earned": row.earned,
        "spent": row.spent,
    } | standing(peer, wall)


def account_name(account: bytes) -> str:
    """Hex for peers; ``mint`` and ``escrow:<job>`` for the tracker's own."""
    if account == MINT:
        return "mint"
    head, colon, job = account.partition(b":")
    return f"escrow:{job.hex()}" if colon and head == b"escrow" else account.hex()


def entry_row(row: EntryRow) -> Json:
    """A ledger entry, with the bytes that its hash is of."""
    entry = entries.parse(row.entry)
    return {
        "number": row.number,
        "leaf": row.leaf.hex(),
        "entry": row.entry.hex(),
        "type": entry.t,
        "moves": [_move(move) for move in entry.moves],
    }


def _verified(peer: Peer, wall: float) -> int:
    """Verified executions of all kinds. Each is in two scores: of its kind of work, and of that
    kind for its submitter."""
    return round(sum(score.worth(wall) for score in peer.scores.values()) / 2)


def _demands(demands: Demands) -> Json:
    return {
        "settings": dict(demands.settings),
        "same_platform": demands.same_platform,
        "reputation": demands.reputation,
        "ringers": bool(demands.ringers),
    }


def _result(raw: bytes) -> Json | None:
    if not raw:
        return None
    result = Result.parse(raw)
    return {
        "ending": result.ending.value,
        "exit": result.exit_status,
        "outputs": [
            {
                "name": output.name,
                "length": output.ref.length,
                "v1": output.ref.v1.hex(),
                "v2": output.ref.v2.hex(),
            }
            for output in result.outputs
        ],
    }


def _move(move: Move) -> Json:
    source, target = account_name(move.source), account_name(move.target)
    return {"from": source, "to": target, "amount": move.amount}


def empty_account(key: PeerKey) -> AccountRow:
    """The account of a key that never had any credit."""
    return AccountRow(key, 0, 0, 0)
