"""Sanctions: what being wrong, late or silent costs a peer."""

from collections.abc import Sequence

from tracker.work.floor import Floor
from tracker.work.state import Peer, Unit
from validators.reputation import STRIKES, Score
from workunits.errors import RefusedError
from workunits.ids import PeerKey


class BannedError(RefusedError):
    """The peer is a proven cheat."""

    code = "banned"


def banned(peer: Peer) -> BannedError:
    """The refusal that a banned peer gets."""
    return BannedError(
        f"this peer was banned after {peer.wrong} wrong results",
        hint="If its hardware is at fault, repair it and start with a new key.",
    )


class Sanctions:
    """Keeps the record of every peer."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def verify(self, peer: Peer, unit: Unit, now: float) -> None:
        """An execution of ``unit`` by ``peer`` was confirmed by somebody else."""
        floor = self._floor
        for kind in (unit.job.kind, unit.job.trust):
            peer.scores.setdefault(kind, Score()).add(floor.wall(now))
            floor.score(peer, kind)

    def strike(self, cheats: Sequence[Peer], by: PeerKey | None, now: float) -> list[Peer]:
        """Results of ``cheats`` were proven wrong; returns those that are to be banned for it.

        With ``by``, a submitter's own referees or known answers prove it: then it counts with that
        submitter alone, who could have lied.
        """
        floor = self._floor
        out = []
        for peer in cheats:
            if by is None:
                for kind, score in peer.scores.items():
                    score.amount = 0.0
                    floor.score(peer, kind)
                peer.strikes.add(floor.wall(now))
                if peer.strikes.reaches(STRIKES, floor.wall(now)):
                    out.append(peer)
            else:
                peer.struck[by] = peer.struck.get(by, 0) + 1
                if peer.struck[by] >= STRIKES:
                    floor.electorate.shun(peer.key, by)
            floor.outbox.rows += peer.strike_rows()
        return out

    def reconsider(self, peer: Peer) -> None:
        """Have the electorate know whether a peer is to come last."""
        doubted = self._floor.electorate.doubted
        if peer.doubtful == (peer.key in doubted):
            return
        if peer.doubtful:
            doubted.add(peer.key)
        else:
            doubted.discard(peer.key)
        self._floor.book.doubt(peer.key, doubted=peer.doubtful)
