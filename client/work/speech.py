"""What units of models say: kept until the lease is over, and told to the tracker piece by piece.

Tokens are told from the first to the last without a gap. After a break of the session all of an
answer is told anew: nobody knows how much of it had arrived. Pure but for ``say``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sandbox.models.runtime import Answered, Spoken
from workunits.ids import LeaseToken
from workunits.models.answer import Answer, Finish
from workunits.wire.models import MAX_CHUNK, MAX_RATE, Likely, Tokens

LEAST_LOGPROB = -1e9
_PER_RATE = 1000
"""Seconds that a rate is for."""


@dataclass(slots=True, eq=False)
class _Speech:
    token: LeaseToken
    stream: bool
    ids: list[int] = field(default_factory=list)
    likely: list[tuple[Likely, ...]] = field(default_factory=list)
    told: int = 0
    finish: Finish | None = None
    rate: int = 0
    ended: bool = False
    """Whether the last message was told."""

    def messages(self) -> Iterable[Tokens]:
        """What was not told yet; it counts as told."""
        while self.told < len(self.ids) or (self.finish and not self.ended):
            start = self.told
            self.told = min(start + MAX_CHUNK, len(self.ids))
            self.ended = self.finish is not None and self.told == len(self.ids)
            known = len(self.likely) >= self.told
            yield Tokens(
                self.token,
                start,
                tuple(self.ids[start : self.told]),
                self.finish if self.ended else None,
                tuple(self.likely[start : self.told]) if known else (),
                self.rate if self.ended else 0,
            )


class Speeches:
    """The answers under leases that are not over."""

    def __init__(self, say: Callable[[Tokens], None]) -> None:
        """``say`` sends a message if a session stands, and must not block."""
        self._say = say
        self._speeches: dict[LeaseToken, _Speech] = {}

    def __len__(self) -> int:
        return len(self._speeches)

    def begin(self, token: LeaseToken, *, stream: bool) -> None:
        """An answer begins; with ``stream`` its tokens are wanted before it ends."""
        self._speeches[token] = _Speech(token, stream)

    def hear(self, token: LeaseToken, spoken: Spoken) -> bool:
        """Keep some tokens; whether they are to be told soon. None are kept after ``forget``."""
        speech = self._speeches.get(token)
        if speech is None or spoken.start != len(speech.ids):
            return False
        speech.ids += spoken.tokens
        speech.likely += (tuple(map(_likely, each)) for each in spoken.likely)
        return speech.stream

    def tell(self, token: LeaseToken) -> None:
        """Say what was not said yet."""
        speech = self._speeches.get(token)
        for message in speech.messages() if speech else ():
            self._say(message)

    def end(self, token: LeaseToken, answer: Answer, rate: float) -> None:
        """The answer is complete: say the rest of it. ``rate`` is tokens a second, 0 for none."""
        speech = self._speeches.get(token)
        if speech is None:
            return
        if tuple(speech.ids) != answer.tokens:  # heard otherwise, or not at all
            kept = tuple(speech.ids[: speech.told]) == answer.tokens[: speech.told]
            speech.told = speech.told if kept else 0
            speech.ids, speech.likely = list(answer.tokens), speech.likely if kept else []
        speech.finish = answer.finish
        speech.rate = min(MAX_RATE, round(rate * _PER_RATE))
        self.tell(token)

    def restore(self, token: LeaseToken, answer: Answer) -> None:
        """An answer that an earlier run gave, and committed to perhaps."""
        self._speeches[token] = _Speech(token, False, list(answer.tokens), finish=answer.finish)

    def again(self, tokens: Iterable[LeaseToken]) -> None:
        """A new session: say anew what was said under ``tokens``."""
        for token in tokens:
            speech = self._speeches.get(token)
            if speech is not None and (speech.stream or speech.finish):
                speech.told, speech.ended = 0, False
                self.tell(token)

    def forget(self, token: LeaseToken) -> None:
        """Nobody needs this answer any more; an unknown one is no error."""
        self._speeches.pop(token, None)


def rate_of(answered: Answered) -> float:
    """How fast an answer was made, in tokens a second, without the time for its prompt."""
    seconds = answered.wall_seconds - answered.prompt_seconds
    return len(answered.tokens) / seconds if seconds > 0 else 0.0


def _likely(pair: tuple[int, float]) -> Likely:
    token, logprob = pair
    return Likely(token, max(LEAST_LOGPROB, min(0.0, logprob)))
