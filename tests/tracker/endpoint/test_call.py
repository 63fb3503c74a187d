"""A call by itself: what is told when the verdict is not what was heard."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.endpoint.call import SwarmCall
from tracker.endpoint.keys import AbsentError, ApiKey, Use
from tracker.endpoint.parlour import Event, Heard, Settled, Spoke
from tracker.work.query import Ruling, Unanswerable
from workunits.errors import RefusedError
from workunits.ids import JobId, PeerKey, UnitId
from workunits.models.answer import Answer, Finish
from workunits.models.request import Request
from workunits.wire.models import Likely

REQUEST = Request((1, 2, 3), 9, 0, bytes(16))
WORKER, CHECKER = PeerKey(b"w" * 32), PeerKey(b"c" * 32)
UNIT = UnitId(JobId(b"j" * 32), 4)
KEY = ApiKey(b"k" * 32, PeerKey(b"o" * 32), "", 100, 60, 0)


@dataclass(eq=False)
class Desk:
    """A host that takes everything."""

    time: float = 0.0
    uses: list[Use | None] = field(default_factory=list)
    halts: list[int] = field(default_factory=list)
    dismissals: int = 0
    away: RefusedError | None = None

    def now(self) -> float:
        return self.time

    def ended(self, call: SwarmCall, use: Use | None) -> int:
        self.uses.append(use)
        return use.cost if use else 0

    def halted(self, call: SwarmCall, after: int) -> None:
        self.halts.append(after)

    def dismissed(self, call: SwarmCall) -> None:
        self.dismissals += 1

    def absence(self, call: SwarmCall) -> RefusedError | None:
        return self.away


def called(*, stream: bool = True) -> tuple[SwarmCall, Desk]:
    host = Desk()
    call = SwarmCall(host, KEY, "tiny", REQUEST, stream, 0, True)
    call.unit = cast("object", SimpleNamespace(id=UNIT))  # type: ignore[assignment]
    return call, host


def ruling(tokens: tuple[int, ...], finish: Finish = Finish.LENGTH) -> Ruling:
    return Ruling(Answer(tokens, finish, bytes(16)), WORKER, (CHECKER,), 7, UNIT, 30)


def told(call: SwarmCall) -> list[Event]:
    """All events of a call that has its verdict."""

    async def read() -> list[Event]:
        async with asyncio.timeout(20):
            return [event async for event in call.events()]

    return asyncio.run(read())


def of(events: list[Event]) -> tuple[tuple[int, ...], Settled]:
    heard = [event for event in events if isinstance(event, Heard)]
    settled = events[-1]
    assert isinstance(settled, Settled)
    return tuple(id_ for event in heard for id_ in event.tokens), settled


ids = st.lists(st.integers(0, 3), max_size=6).map(tuple)


@given(st.lists(ids, max_size=4), ids.filter(bool), st.booleans(), st.booleans())
def test_what_was_told_is_the_answer_or_is_flagged(
    chunks: list[tuple[int, ...]], answer: tuple[int, ...], spoke: bool, stream: bool
) -> None:
    call, host = called(stream=stream)
    for chunk in chunks:
        if chunk:
            call.tokens(chunk, ())
    if spoke:
        call.spoke(Finish.LENGTH)
    call.settled(ruling(answer))
    events = told(call)
    heard, settled = of(events)
    assert settled.tokens == answer
    assert settled.same == (heard == answer)
    assert settled.same or stream, "without streaming nothing wrong is ever told"
    assert sum(isinstance(event, Spoke) for event in events) == 1
    assert [use.cost for use in host.uses if use] == [settled.cost] == [30]


def test_an_answer_that_was_heard_in_part_is_completed() -> None:
    call, _ = called()
    call.tokens((1, 2), ((Likely(1, -1.0),), (Likely(2, -1.0),)))
    call.settled(ruling((1, 2, 3)))
    events = told(call)
    assert events[:2] == [
        Heard((1, 2), ((Likely(1, -1.0),), (Likely(2, -1.0),))),
        Heard((3,)),
    ]
    assert of(events)[1].same


def test_more_than_was_needed_may_have_been_heard() -> None:
    call, host = called()
    call.tokens((1, 2, 3), ())
    call.halt(2)
    call.halt(3)
    assert host.halts == [2]
    call.tokens((4,), ())
    call.settled(ruling((1, 2, 3), Finish.HALTED))
    heard, settled = of(told(call))
    assert heard == (1, 2, 3, 4)
    assert settled.same, "what was needed stands"


def test_a_halt_does_not_excuse_other_tokens() -> None:
    call, _ = called()
    call.tokens((1, 2, 3), ())
    call.halt(2)
    call.settled(ruling((1, 5), Finish.HALTED))
    assert not of(told(call))[1].same


def test_nothing_follows_the_verdict_or_the_close() -> None:
    call, host = called()
    call.tokens((1,), ())
    call.spoke(Finish.LENGTH)
    call.settled(ruling((1,)))
    call.settled(ruling((2,)))
    call.failed("late")
    call.halt(1)
    asyncio.run(call.close())
    assert (len(host.uses), host.halts, host.dismissals) == (1, [], 0)


def test_who_closes_twice_dismisses_once_and_hears_nothing_more() -> None:
    call, host = called()
    asyncio.run(call.close())
    asyncio.run(call.close())
    call.tokens((1,), ())
    call.settled(ruling((1,)))
    assert (host.dismissals, len(host.uses)) == (1, 1), "it is still charged"
    assert told(call) == []


def test_a_complete_answer_is_not_dismissed_but_paid_for() -> None:
    call, host = called()
    call.tokens((1,), ())
    call.spoke(Finish.LENGTH)
    asyncio.run(call.close())
    assert host.dismissals == 0


def test_where_nobody_is_left_the_reader_is_told_so() -> None:
    call, host = called()
    host.away = RefusedError("nobody")
    call.failed("no peer is there")
    with pytest.raises(RefusedError, match="nobody"):
        told(call)


def test_what_every_peer_gave_back_nobody_can_run() -> None:
    call, host = called(stream=False)
    call.failed(Unanswerable())
    with pytest.raises(AbsentError, match=r"can run the model 'tiny'$"):
        told(call)
    assert host.uses == [None]


def test_why_every_peer_gave_it_back_is_told() -> None:
    call, _ = called()
    call.failed(Unanswerable.of(["memory"]))
    with pytest.raises(AbsentError, match="can run the model 'tiny': the model needs more memory"):
        told(call)


def test_without_streaming_nothing_is_told_of_what_failed() -> None:
    call, host = called(stream=False)
    call.tokens((1,), ())
    call.spoke(Finish.LENGTH)
    call.failed("they could not agree")
    events = call.events()
    with pytest.raises(RefusedError, match="no answer could be verified: they could not agree"):
        asyncio.run(anext(events))  # type: ignore[arg-type]
    assert host.uses == [None]


def test_the_time_of_an_answer_is_from_its_first_token_to_its_last() -> None:
    call, host = called()
    host.time = 5.0
    call.tokens((1,), ())
    host.time = 7.5
    call.spoke(Finish.LENGTH)
    waits = call.spoke_at
    host.time = 99.0
    call.settled(ruling((1,)))
    assert (waits, call.spoke_at) == (7.5, None)
    assert host.uses == [Use("tiny", 3, 1, 2.5, True, 30)]
