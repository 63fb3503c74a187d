"""A parlour without a swarm, for tests of the handlers: it says what it is told to say.

Without a script it echoes: the answer is the prompt's last tokens, then an end of text if it fits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tracker.endpoint.keys import ApiKey, Hold, Keys, Use
from tracker.endpoint.parlour import Event, Heard, Served, Settled, Spoke
from workunits.errors import RefusedError
from workunits.ids import JobId, PeerKey, UnitId
from workunits.models.answer import Finish, meter
from workunits.models.card import ModelCard
from workunits.models.request import Request
from workunits.wire.models import Likely

CREATED = 1_700_000_000
WORKER, VALIDATOR = PeerKey(b"w" * 32), PeerKey(b"v" * 32)
ENTRY = 7
CHUNK = 3
ECHO = 64
"""Tokens of the prompt that are echoed at most."""


@dataclass(slots=True)
class Script:
    """How calls go. ``answer`` gives the tokens; ``stands`` those that the verdict says, if others.

    ``refusal`` is raised at once, ``unchecked`` only where the answer is to be checked,
    ``failure`` after ``failure_after`` tokens. With ``hold_after`` the call stops after so many
    tokens until ``go`` is set. An answer with a ``reason`` is not verified. ``late`` keeps the
    verdict back until ``go`` is set.
    """

    answer: Callable[[ModelCard, Request], tuple[int, ...]] | None = None
    stands: tuple[int, ...] | None = None
    reason: str = ""
    refusal: RefusedError | None = None
    unchecked: RefusedError | None = None
    failure: RefusedError | None = None
    failure_after: int = 0
    hold_after: int | None = None
    late: bool = False
    go: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class FakeCall:
    """One request, and what became of it. ``heard`` are the tokens that were told so far."""

    card: ModelCard
    request: Request
    stream: bool
    top: int
    urgent: bool
    script: Script
    keys: Keys
    hold: Hold
    price: int
    number: int
    halted: int | None = None
    closed: bool = False
    done: bool = False
    heard: list[int] = field(default_factory=list)

    async def events(self) -> AsyncIterator[Event]:
        """What the script says."""
        script = self.script
        if script.failure and not script.failure_after:
            raise script.failure
        tokens = (script.answer or echo)(self.card, self.request)[: self.request.most]
        held = False
        for at in range(0, len(tokens), CHUNK):
            if script.hold_after is not None and len(self.heard) >= script.hold_after and not held:
                held = True
                await script.go.wait()
            chunk = self._cut(tokens[at : at + CHUNK])
            if chunk:
                self.heard += chunk
                yield Heard(chunk, tuple(self._likely(chunk)))
            if script.failure and len(self.heard) >= script.failure_after:
                raise script.failure
            if self.halted is not None and len(self.heard) >= self.halted:
                break
            await asyncio.sleep(0)
        finish = self._finish()
        yield Spoke(finish)
        if script.late:
            await script.go.wait()
        stands = tuple(self.heard) if script.stands is None else script.stands
        cost = self._pay(len(stands))
        self.done = True
        yield Settled(
            tokens=stands,
            finish=finish,
            verified=not script.reason,
            same=stands == tuple(self.heard),
            validators=() if script.reason else (VALIDATOR,),
            worker=WORKER,
            entry=-1 if script.reason else ENTRY,
            unit=UnitId(JobId(b"j" * 32), self.number),
            cost=cost,
            reason=script.reason,
        )

    def halt(self, after: int) -> None:
        """The answer ends after so many tokens, or now."""
        self.halted = max(after, len(self.heard))

    async def close(self) -> None:
        """Stop."""
        if not self.closed and not self.done:
            self._pay(len(self.heard))
        self.closed = True

    def _cut(self, chunk: tuple[int, ...]) -> tuple[int, ...]:
        return chunk if self.halted is None else chunk[: max(0, self.halted - len(self.heard))]

    def _finish(self) -> Finish:
        if self.halted is not None and len(self.heard) >= self.halted:
            return Finish.HALTED
        ended = self.heard and self.heard[-1] in self.card.vocabulary.ends
        return Finish.STOP if ended else Finish.LENGTH

    def _pay(self, generated: int) -> int:
        worth = self.price * meter(self.request, generated)
        cost = self.keys.settle(self.hold, worth + (worth + 1) // 2)
        prompt = len(self.request.prompt)
        verified = not self.script.reason
        self.keys.used(self.hold.key, Use(self.card.name, prompt, generated, 0.1, verified, cost))
        return cost

    def _likely(self, chunk: Sequence[int]) -> Iterator[tuple[Likely, ...]]:
        """The token itself, then its alternatives; ``top`` counts both."""
        for token in chunk if self.top else ():
            others = (token + n + 1 for n in range(self.top - 1))
            yield (Likely(token, -0.25), *(Likely(other, -2.0 - other % 7) for other in others))


def echo(card: ModelCard, request: Request) -> tuple[int, ...]:
    """The last tokens of the prompt that are no ends of text, and an end of text if it fits."""
    ends = card.vocabulary.ends
    kept = [token for token in request.prompt if token not in ends][-ECHO:]
    return (*kept, min(ends))[: request.most]


class FakeParlour:
    """Answers at once. ``calls`` are all that there were; ``script`` may be replaced at any time.

    ``now`` is what rates are measured by.
    """

    def __init__(
        self,
        cards: Sequence[ModelCard],
        keys: Keys,
        script: Script | None = None,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.script = script or Script()
        self.calls: list[FakeCall] = []
        self.checked = True
        self.cards = cards
        self._keys = keys
        self._now = now

    def models(self) -> list[Served]:
        """The cards that it was made with."""
        return [
            Served(card, CREATED + at, card.price, self.checked)
            for at, card in enumerate(self.cards)
        ]

    def find(self, name: str) -> Served | None:
        """The card of that name."""
        return next((each for each in self.models() if each.card.name == name), None)

    def ask(
        self,
        key: ApiKey,
        served: Served,
        request: Request,
        *,
        stream: bool,
        top: int = 0,
        urgent: bool = True,
        again: bool = False,
        checked: bool = False,
    ) -> FakeCall:
        """Begin a request. Budget and rate of the key are real."""
        script = self.script
        if urgent and not again:
            self._keys.pace(key, self._now())
        if script.refusal:
            raise script.refusal
        if checked and script.unchecked:
            raise script.unchecked
        worth = served.price * meter(request, request.most)
        hold = self._keys.reserve(key, worth + (worth + 1) // 2)
        made = FakeCall(
            *(served.card, request, stream, top, urgent, script, self._keys, hold, served.price),
            number=len(self.calls),
        )
        self.calls.append(made)
        return made
