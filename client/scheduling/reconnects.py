"""A new session: what the tracker still counts on, against what is held here. Pure."""

from math import inf

from client.scheduling import moves
from client.scheduling.book import Book
from client.scheduling.leases import Held, State
from workunits.ids import LeaseToken


def settle(book: Book, event: moves.Connected) -> None:
    """Bring every lease to where the tracker has it, and give back what is not here."""
    for kept in event.kept:
        if kept.token not in book.leases:
            lease = Held(kept.token, kept.unit.job, kept.unit.index, inf, State.COMPUTED)
            lease.digest, lease.sent = kept.digest, True
            book.add(lease)
    held, committed = set(event.held), set(event.committed)
    unknown = (held | committed) - book.leases.keys()
    again = []
    for lease in list(book.leases.values()):
        if lease.token in committed:
            again += _resume_committed(book, lease, unknown)
        elif lease.token in held:
            if lease.state in (State.COMMITTING, State.COMMITTED, State.REVEALING):
                book.move(lease, State.COMPUTED)
        elif lease.state is State.REVEALING:
            book.end(lease, State.DONE)
        else:
            book.end(lease, State.REVOKED, "forgotten by the tracker")
    book.send_release(sorted(unknown), "unknown")
    if again:
        book.out.append(moves.SendReveals(tuple(again)))


def _resume_committed(book: Book, lease: Held, unknown: set[LeaseToken]) -> list[LeaseToken]:
    if lease.state is State.REVEALING:
        return [lease.token]
    if lease.state in (State.COMPUTED, State.COMMITTING) and lease.sent:
        book.commit_stands(lease)
    elif lease.state is not State.COMMITTED:
        book.end(lease, State.REVOKED, "the tracker claims a commit that was not made")
        unknown.add(lease.token)
    return []
