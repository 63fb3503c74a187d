"""Answers that fail: nobody sees what came to nothing, and it is asked for once more."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.tracker.endpoint.salon import SECONDS, Salon
from tests.tracker.endpoint.serving import BUDGET, until
from tests.tracker.endpoint.tiny import CARD, ids
from tests.tracker.work.chat import answered
from tracker.endpoint.call import SwarmCall
from tracker.endpoint.dialects import Dialects
from tracker.endpoint.errors import ApiError, Fault
from tracker.endpoint.fake import FakeCall, FakeParlour, Script
from tracker.endpoint.inquiry import Counter, Inquiry, Outcome, ask
from tracker.endpoint.keys import AbsentError, BrokeError, CrowdedError, Keys
from tracker.endpoint.narration import Piece
from tracker.endpoint.swarm_parlour import SwarmParlour
from tracker.endpoint.wishes import Text, Wish
from workunits.errors import RefusedError
from workunits.ids import PeerKey
from workunits.models.answer import Answer, Finish
from workunits.models.request import Sampling

WISH = Wish(CARD.name, Sampling(), most=20)
FAILURE = RefusedError("no answer could be verified", hint="Try again.")
WRONG, RIGHT = ids("wrong"), ids("right")


class Theatre(FakeParlour):
    """Calls go by ``scripts``, one after the other."""

    def __init__(self, scripts: Sequence[Script], *, per_minute: int = 100) -> None:
        self.keys = Keys()
        super().__init__([CARD], self.keys)
        self.key = self.keys.open(PeerKey(b"o" * 32), b"k" * 32, "", BUDGET, per_minute, 0)
        self._scripts = iter(scripts)

    def ask(self, *args: Any, **settings: Any) -> FakeCall:
        self.script = next(self._scripts)
        return super().ask(*args, **settings)

    async def tell(self, wish: Wish = WISH) -> tuple[list[Outcome], list[Piece]]:
        """What a stream is told, with its outcomes."""
        pieces: list[Piece] = []

        async def tell(_: int, piece: Piece) -> None:
            pieces.append(piece)

        return await ask(*await self.inquire(wish), tell=tell), pieces

    async def answer(self, wish: Wish = WISH) -> list[Outcome]:
        """What is answered to somebody who waits for the verdict."""
        return await ask(*await self.inquire(wish))

    async def inquire(self, wish: Wish) -> tuple[Counter, Any, Inquiry]:
        counter = Counter(self, Dialects(), bytes)
        return counter, self.key, await counter.open(wish, (Text("?"),), "prompt")


def says(tokens: tuple[int, ...], *, fails_after: int | None = None) -> Script:
    failure = None if fails_after is None else FAILURE
    return Script(lambda *_: tokens, failure=failure, failure_after=fails_after or 0)


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize("changes", [{}, {"stops": ("never",)}, {"top": 2}])
async def test_who_waits_for_the_verdict_never_sees_what_failed(changes: dict[str, Any]) -> None:
    theatre = Theatre([says(WRONG, fails_after=6), says(RIGHT)])
    (outcome,) = await theatre.answer(replace(WISH, **changes))
    assert (outcome.text, outcome.settled.verified, outcome.corrected) == ("right", True, False)
    assert len(outcome.weighed) == (5 if "top" in changes else 0)
    first, second = theatre.calls
    assert (second.request, second.stream, second.top) == (first.request, first.stream, first.top)
    assert first.closed
    assert second.closed


async def test_a_stream_that_was_told_nothing_is_asked_for_once_more() -> None:
    theatre = Theatre([says(WRONG, fails_after=0), says(RIGHT)])
    (outcome,), pieces = await theatre.tell()
    assert text_of(pieces) == outcome.text == "right"
    assert len(theatre.calls) == 2


async def test_what_may_be_a_stop_sequence_is_not_told_and_so_no_hindrance() -> None:
    theatre = Theatre([says(WRONG, fails_after=3), says(RIGHT)])
    (outcome,), pieces = await theatre.tell(replace(WISH, stops=("wrong way",)))
    assert text_of(pieces) == outcome.text == "right"


async def test_a_stream_that_was_told_something_ends_with_the_failure() -> None:
    theatre = Theatre([says(WRONG, fails_after=3)])
    with pytest.raises(RefusedError, match="verified"):
        await theatre.tell()
    (call,) = theatre.calls
    assert call.closed


async def test_a_stream_whose_answer_does_not_stand_is_flagged_and_not_asked_again() -> None:
    theatre = Theatre([replace(says(WRONG), stands=RIGHT)])
    (outcome,), pieces = await theatre.tell()
    assert text_of(pieces) == "wrong"
    assert (outcome.corrected, outcome.text) == (True, "right")


async def test_the_second_failure_is_the_answer() -> None:
    last = RefusedError("and again")
    theatre = Theatre([says(WRONG, fails_after=3), Script(failure=last)])
    with pytest.raises(RefusedError, match="and again"):
        await theatre.answer()
    assert [call.closed for call in theatre.calls] == [True, True]
    assert theatre.key.reserved == 0


@pytest.mark.parametrize(
    "error",
    [
        AbsentError("nobody is there", seconds=1),
        CrowdedError("too many", seconds=1),
        BrokeError("no credits"),
        ApiError(Fault.FAILED, "a mistake"),
    ],
)
async def test_what_would_end_no_better_is_not_asked_again(error: RefusedError) -> None:
    theatre = Theatre([Script(failure=error)])
    with pytest.raises(type(error)) as caught:
        await theatre.answer()
    assert caught.value is error


async def test_of_several_answers_only_the_one_that_failed_is_made_again() -> None:
    theatre = Theatre([says(ids("one")), says(WRONG, fails_after=3), says(ids("3")), says(RIGHT)])
    outcomes = await theatre.answer(replace(WISH, count=3))
    assert [each.text for each in outcomes] == ["one", "right", "3"]
    assert theatre.calls[3].request == theatre.calls[1].request


async def test_the_second_time_does_not_count_for_the_rate_of_the_key() -> None:
    theatre = Theatre([says(WRONG, fails_after=3), says(RIGHT), says(RIGHT)], per_minute=1)
    assert (await theatre.answer())[0].text == "right"
    with pytest.raises(CrowdedError):
        await theatre.answer()


def calls_of(parlour: SwarmParlour) -> list[SwarmCall]:
    """The calls that the desk has now."""
    return list(parlour._calls)


async def test_the_desk_is_asked_once_more_and_what_failed_costs_nothing() -> None:
    salon = Salon()
    salon.key.per_minute = 1
    one, other = salon.peer("one", cores=8), salon.peer("other", cores=8)
    counter = Counter(salon.parlour, Dialects(), bytes)
    inquiry = await counter.open(replace(WISH, model="tiny"), (Text("?"),), "prompt")
    request = inquiry.requests[0]
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        asking = group.create_task(ask(counter, salon.key, inquiry))
        await until(lambda: calls_of(salon.parlour))
        (first,) = calls_of(salon.parlour)
        worker = one if one.leases else other
        salon.chat.say(worker, WRONG, finish=Finish.STOP)
        first.failed("the peers could not agree")
        assert salon.key.reserved == 0
        await until(lambda: calls_of(salon.parlour))
        (second,) = calls_of(salon.parlour)
        assert second.unit is not first.unit
        assert (second.request, second.stream) == (request, False)
        right = Answer(RIGHT, Finish.STOP, request.nonce)
        for actor in (one, other, one, other):
            for token in list(actor.leases):
                if actor.leases[token].index == second.unit.index:
                    salon.chat.say(actor, RIGHT, finish=Finish.STOP, token=token)
                    salon.chat.commit(actor, answered(request, right), token)
        for actor in (one, other):
            actor.reveal()
        (outcome,) = await asking
    assert (outcome.text, outcome.settled.verified) == ("right", True)
    assert (salon.key.reserved, salon.key.spent) == (0, outcome.settled.cost)


async def test_two_failures_at_the_desk_are_an_error_that_says_so() -> None:
    salon = Salon()
    salon.peer("one")
    counter = Counter(salon.parlour, Dialects(), bytes)
    inquiry = await counter.open(replace(WISH, model="tiny"), (Text("?"),), "prompt")
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        asking = group.create_task(_refusal(ask(counter, salon.key, inquiry)))
        for reason in ("the peers could not agree", "and could not again"):
            await until(lambda: calls_of(salon.parlour))
            calls_of(salon.parlour)[0].failed(reason)
        error = await asking
    assert "and could not again" in error.message
    assert "Try again" in error.hint
    assert (salon.key.reserved, salon.key.spent, len(salon.parlour)) == (0, 0, 0)


async def _refusal(asking: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await asking
    return caught.value
