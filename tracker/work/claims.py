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
    ``weight`` is how many tokens its peer was sent for it, while it is leased. ``altered`` is
    whether that was a trap, ``lost`` whether the claim was too much to be kept.
    """

    given: tuple[int, ...] = ()
    ids: "array[int]" = field(default_factory=lambda: array("I"))
    finish: Finish | None = None
    begun: bool = False
    altered: bool = False
    lost: bool = False
    weight: int = 0

    def hear(self, tokens: Tokens, most: int) -> None:
        """Take the next tokens, of ``most`` in all. After a break of its session a peer says all
        anew, for it cannot know what had arrived: what is known then changes nothing.

        Raises ``MalformedError`` or ``LimitError`` when they are not the next ones, or not the same
        as before; nothing has changed then.
        """
        start, end = tokens.start, tokens.start + len(tokens.ids)
        again = self.ids[start:end]
        expected = len(self.ids) if self.begun else min(start, len(self.given))
        if start > expected:
            raise MalformedError(
                f"tokens: they start at {start:,}, and {expected:,} are the next",
                hint="Send all tokens of an answer, in order.",
            )
        if end > most:
            raise LimitError(f"tokens: at most {most:,} were asked for")
        if again.tolist() != list(tokens.ids[: len(again)]):
            raise MalformedError("tokens: they are not the same as before")
        if self.finish is not None and (
            end > len(self.ids) or tokens.finish not in (None, self.finish)
        ):
            raise MalformedError(
                "tokens: the answer had its end", hint="Send the finish with the last of them."
            )
        if tokens.finish and end < len(self.ids):
            raise MalformedError("tokens: the answer ends before what was said of it")
        if not self.begun:
            self.ids.extend(self.given[:start])
            self.begun = True
        self.ids.extend(tokens.ids[len(again) :])
        self.finish = self.finish or tokens.finish

    def lose(self) -> None:
        """Keep nothing of it."""
        self.ids, self.finish, self.lost = array("I"), None, True
