"""A call: one request on its way, between the desk that tells and the handler that reads.

The desk's callbacks come at once and put events into a queue; the handler takes them out. Prompt
and answer are in here and nowhere else, and go with it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from tracker.endpoint.keys import AbsentError, ApiKey, Hold, Use
from tracker.endpoint.parlour import Event, Heard, Settled, Spoke
from tracker.endpoint.tab import Tab, cost
from tracker.work.asking import Ruling
from tracker.work.query import Cause, Unanswerable
from tracker.work.state import Unit
from workunits.errors import RefusedError
from workunits.ids import NOBODY, PeerKey
from workunits.models.answer import Finish
from workunits.models.request import Request
from workunits.wire.models import Likely


class Host(Protocol):
    """What a call needs of its parlour."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    def ended(self, call: "SwarmCall", use: Use | None) -> int:
        """The request came to an end, or to nothing; the credits that were charged."""

    def halted(self, call: "SwarmCall", after: int) -> None:
        """Tell the desk that no more than ``after`` tokens are needed."""

    def dismissed(self, call: "SwarmCall") -> None:
        """Tell the desk that nobody listens."""

    def absence(self, call: "SwarmCall") -> RefusedError | None:
        """What to say if nobody is there who could answer."""


@dataclass(eq=False)
class SwarmCall:
    """A request (``Call``) and its ears (``Listener``).

    With ``stream`` tokens are told as they come. Without it everything is told with the verdict.
    """

    host: Host
    key: ApiKey
    model: str
    request: Request
    stream: bool
    top: int
    urgent: bool
    tab: Tab = field(init=False)
    hold: Hold = field(init=False)
    unit: Unit = field(init=False)
    heard: list[int] = field(default_factory=list)
    over: bool = False
    """The desk has said all that it will say."""

    _queue: "asyncio.Queue[Event | RefusedError]" = field(default_factory=asyncio.Queue)
    _likely: list[tuple[Likely, ...]] = field(default_factory=list)
    _finish: Finish | None = None
    _first: float | None = None
    _last: float = 0.0
    _told: int = 0
    _said: bool = False
    _ended: bool = False
    _done: bool = False
    _closed: bool = False
    _halt: int | None = None

    # -- the reader -------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """Tokens, their end, and the verdict. Raises ``RefusedError`` when there is no answer."""
        while not self._done:
            event = await self._queue.get()
            if isinstance(event, RefusedError):
                self._done = True
                raise event
            self._done = isinstance(event, Settled)
            yield event

    def halt(self, after: int) -> None:
        """No more than ``after`` tokens are needed."""
        if not (self.over or self._closed) and (self._halt is None or after < self._halt):
            self._halt = after
            self.host.halted(self, after)

    async def close(self) -> None:
        """Nobody listens any more: what was not done yet is not done."""
        if self._closed:
            return
        self._closed = self._done = True
        if not (self.over or self._ended) and self._finish is None:
            self.host.dismissed(self)

    # -- the desk ---------------------------------------------------------------------------

    @property
    def spoke_at(self) -> float | None:
        """When the answer was complete, if it waits for its verdict now."""
        return self._last if self._finish and not (self.over or self._ended) else None

    def tokens(self, ids: tuple[int, ...], likely: tuple[tuple[Likely, ...], ...]) -> None:
        """More tokens."""
        self._last = self.host.now()
        if self._first is None:
            self._first = self._last
        self.heard += ids
        self._likely += likely
        if self.stream:
            self._tell()

    def spoke(self, finish: Finish) -> None:
        """That was the last one."""
        self._last = self.host.now()
        self._finish = finish
        if self.stream:
            self._tell()

    def settled(self, ruling: Ruling) -> None:
        """The verdict."""
        if self.over:
            return
        self.over = True
        answer = ruling.answer
        verified = bool(ruling.validators)
        first = self._last if self._first is None else self._first
        charged = self.host.ended(
            self,
            Use(
                *(self.model, len(self.request.prompt), len(answer.tokens)),
                *(max(0.0, self._last - first), verified, ruling.cost),
            ),
        )
        same = self._reconcile(answer.tokens)
        self._finish = answer.finish
        self._tell()
        self._put(
            Settled(
                tokens=answer.tokens,
                finish=answer.finish,
                verified=verified,
                same=same,
                validators=ruling.validators,
                worker=ruling.worker,
                entry=ruling.entry,
                unit=ruling.unit,
                cost=charged,
                reason="" if verified else "this tracker has its answers checked by nobody",
            )
        )

    def failed(self, cause: Cause) -> None:
        """There will be no verdict."""
        if self.over:
            return
        self.over = True
        self.host.ended(self, None)
        if absence := self.host.absence(self):
            self._put(absence)
        elif isinstance(cause, Unanswerable):
            why = f": {cause.why}" if cause.why else ""
            message = f"no volunteer who is there can run the model {self.model!r}{why}"
            self._put(AbsentError(message, seconds=60))
        else:
            message = f"no answer could be verified: {cause}"
            hint = "Try again; the tracker's operator sees why in its log."
            self._put(RefusedError(message, hint=hint))

    # -- the parlour ------------------------------------------------------------------------

    def unverified(self, reason: str) -> None:
        """Nobody checks it in time: the answer is told as it is, and paid for when it is
        settled."""
        assert self._finish is not None
        self._tell()
        job = self.tab.job
        self._put(
            Settled(
                tokens=tuple(self.heard),
                finish=self._finish,
                verified=False,
                same=True,
                validators=(),
                worker=self._worker(),
                entry=-1,
                unit=self.unit.id,
                cost=cost(job.manifest, self.request, len(self.heard)),
                reason=reason,
            )
        )

    def _worker(self) -> PeerKey:
        unit, query = self.unit, self.unit.query
        if query and (now := self.tab.job.units.get(query.units[-1].index)):
            unit = now
        found = (*unit.committed, *unit.leased)
        return found[0].peer.key if found else NOBODY

    def _reconcile(self, tokens: tuple[int, ...]) -> bool:
        """Whether the tokens that were told stand; those that were not told become the right
        ones."""
        if tuple(self.heard) != tokens:
            told = tuple(self.heard[: self._told])
            if told != tokens[: len(told)]:
                halted = self._halt is not None and len(tokens) >= self._halt
                self.heard = list(told)
                return halted and told[: len(tokens)] == tokens
            self._likely = self._likely[: len(told)]
            self.heard = list(tokens)
        return True

    def _tell(self) -> None:
        """Put what was not told yet into the queue."""
        fresh = tuple(self.heard[self._told :])
        if fresh:
            likely = tuple(self._likely[self._told :])
            self._told = len(self.heard)
            self._put(Heard(fresh, likely if len(likely) == len(fresh) else ()))
        if self._finish is not None and not self._said:
            self._said = True
            self._put(Spoke(self._finish))

    def _put(self, event: Event | RefusedError) -> None:
        if not (self._closed or self._ended):
            self._ended = isinstance(event, Settled | RefusedError)
            self._queue.put_nowait(event)
