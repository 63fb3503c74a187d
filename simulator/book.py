"""A book that keeps accounts and chance, and no log: runs that nobody audits are faster by it."""

from dataclasses import dataclass

from tracker.ledger import Book
from workunits.entries import Entry


@dataclass(slots=True)
class Unlogged(Book):
    """Moves credit as the tracker's book does, and forgets why."""

    def _enter(self, entry: Entry) -> None:
        self._draws = None
        for source, target, amount in entry.moves:
            self._account(source).balance -= amount
            self._account(target).balance += amount
        self.rows.clear()
