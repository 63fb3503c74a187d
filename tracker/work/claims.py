"""Claims: the tokens that an execution says it answers, before its commitment is even there."""

from array import array
from dataclasses import dataclass, field

from workunits.errors import LimitError, MalformedError
from workunits.models.answer import Finish
from workunits.wire.models import Tokens


@dataclass(slots=True, eq=False)
class Claim:
    """What one execution claims so far; with ``finish`` it is all.

    ``given`` is what it was told that others claim: it may leave out as much of it at its start.
    ``altered`` is whether that was a trap, ``lost`` whether the claim was too much to be kept.
    """

    given: tuple[int, ...] = ()
    ids: "array[int]" = field(default_factory=lambda: array("I"))
    finish: Finish | None = None
    begun: bool = False
    altered: bool = False
    lost: bool = False

    def hear(self, tokens: Tokens, most: int) -> None:
        """Take the next tokens, of ``most`` in all. Raises ``MalformedError`` or ``LimitError``
        when they are not the next ones; nothing has changed then."""
        if self.finish is not None:
            raise MalformedError(
                "tokens: the answer had its end", hint="Send the finish with the last of them."
            )
        expected = len(self.ids) if self.begun else min(tokens.start, len(self.given))
        if tokens.start != expected:
            raise MalformedError(
                f"tokens: they start at {tokens.start:,}, and {expected:,} are the next",
                hint="Send all tokens of an answer, in order.",
            )
        if tokens.start + len(tokens.ids) > most:
            raise LimitError(f"tokens: at most {most:,} were asked for")
        if not self.begun:
            self.ids.extend(self.given[: tokens.start])
            self.begun = True
        self.ids.extend(tokens.ids)
        self.finish = tokens.finish

    def lose(self) -> None:
        """Keep nothing of it."""
        self.ids, self.finish, self.lost = array("I"), None, True
