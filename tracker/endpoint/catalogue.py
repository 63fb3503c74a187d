"""Published models: what can be asked here, under which name, and who may say so. Pure.

Names are first come, first served: only who published a model, or the operator, may replace it or
take it back. The card is a blob of the tracker; everything else that a model needs travels the
swarm.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tracker.endpoint.parlour import Served
from tracker.rows import ModelRow
from workunits.errors import LimitError, RefusedError
from workunits.ids import BlobRef, PeerKey
from workunits.models.card import ModelCard
from workunits.statements import Publish, Withdraw
from workunits.verification import Policy

MAX_OF_AUTHOR = 100
MAX_MODELS = 1_000


@dataclass(frozen=True, slots=True)
class Published:
    """A model that can be asked. ``ref`` is the blob of its card, ``created`` Unix seconds; in
    ``card`` it has the name under which it was published."""

    name: str
    author: PeerKey
    ref: BlobRef
    card: ModelCard
    created: int

    def served(self, policy: Policy) -> Served:
        """It, as the APIs see it where answers are checked by ``policy``."""
        checked = policy is not Policy.TRUSTED
        return Served(self.card, self.created, self.card.price, checked)


class Catalogue:
    """All published models. ``trusted`` says which keys have an account or are members; the
    ``operator`` may publish any number."""

    def __init__(self, *, trusted: Callable[[PeerKey], bool], operator: PeerKey) -> None:
        self._trusted = trusted
        self._operator = operator
        self._rows: dict[str, ModelRow] = {}
        self._models: dict[str, Published] = {}

    def fill(self, rows: Iterable[ModelRow], read: Callable[[BlobRef], ModelCard | None]) -> None:
        """Take in what the database has; ``read`` is asked for the cards of those that stand."""
        for row in rows:
            self._rows[row.name] = row
            ref = BlobRef(row.v2, row.v1, row.length)
            if not row.withdrawn and (card := read(ref)) is not None:
                self._enter(row, card)

    def all(self) -> list[Published]:
        """Every model, oldest first."""
        return sorted(self._models.values(), key=lambda each: (each.created, each.name))

    def find(self, name: str) -> Published | None:
        """The model of that name."""
        return self._models.get(name)

    def check(self, author: PeerKey, claim: Publish | Withdraw, time: int) -> None:
        """Raise ``RefusedError`` or ``LimitError`` unless ``author`` may say so; ``time`` is the
        statement's."""
        row = self._rows.get(claim.name)
        boss = author == self._operator
        if row is None:
            if isinstance(claim, Withdraw):
                raise _unknown(claim.name)
            if not boss:
                self._check_stranger(author)
            if len(self._rows) >= MAX_MODELS:
                raise LimitError("no more models can be published here", hint="Ask the operator.")
            return
        if not boss and row.author != author:
            raise RefusedError(
                f"the name {claim.name!r} is somebody else's",
                hint="Publish the model under another name: --name"
                if isinstance(claim, Publish)
                else "Only who published it, or the operator, can take it back.",
            )
        if time < max(row.created, row.withdrawn):
            raise RefusedError(
                "a later statement about this model was carried out", hint="Say it again."
            )
        if row.withdrawn and isinstance(claim, Withdraw):
            raise _unknown(claim.name)

    def publish(
        self, author: PeerKey, claim: Publish, card: ModelCard, time: int
    ) -> tuple[Published, ModelRow]:
        """Enter a model, or replace one; ``check`` was called. The row is to be written."""
        ref = claim.card
        row = ModelRow(claim.name, author, ref.v2, ref.v1, ref.length, time, 0)
        self._rows[claim.name] = row
        return self._enter(row, card), row

    def withdraw(self, claim: Withdraw, time: int) -> ModelRow:
        """Take a model back; ``check`` was called. The row is to be written.

        The name stays its author's.
        """
        self._models.pop(claim.name, None)
        row = self._rows[claim.name] = self._rows[claim.name]._replace(withdrawn=time)
        return row

    def _enter(self, row: ModelRow, card: ModelCard) -> Published:
        ref = BlobRef(row.v2, row.v1, row.length)
        named = replace(card, name=row.name)
        made = Published(row.name, PeerKey(row.author), ref, named, row.created)
        self._models[row.name] = made
        return made

    def _check_stranger(self, author: PeerKey) -> None:
        if not self._trusted(author):
            raise RefusedError(
                "only the operator, members and accounts that have or had credit publish models",
                hint=f"Ask the operator: swarm tracker grant {author.hex()} AMOUNT",
            )
        if sum(row.author == author for row in self._rows.values()) >= MAX_OF_AUTHOR:
            raise LimitError(
                f"you have published {MAX_OF_AUTHOR} models, which is the limit",
                hint="Publish it under the name of one that you do not need any more.",
            )


def _unknown(name: str) -> RefusedError:
    return RefusedError(f"there is no model {name!r}", hint="See what there is: swarm model list")
