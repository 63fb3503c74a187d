"""What every model promises: the fake is held to the same tests as the engines."""

import asyncio

import pytest

from sandbox.models.runtime import Given, Question, Spoken
from tests.sandbox.models.conftest import MOST, Ears, Model, ask, claim, is_endless, swapped
from workunits.errors import LocalError, RefusedError, UnavailableError
from workunits.models.answer import Finish
from workunits.models.request import Request


async def test_an_answer_is_heard_as_it_is_made_and_is_the_same_again(model: Model) -> None:
    cell = await model.open()
    ears = Ears()
    answered = await ask(cell, model.request(), hear=ears)
    assert ears.tokens == answered.tokens
    assert [each.start for each in ears.spoken] == list(range(MOST))
    assert (len(answered.tokens), answered.finish) == (MOST, Finish.LENGTH)
    assert (answered.agreed, answered.gaps) == (0, None)
    assert answered.wall_seconds >= answered.prompt_seconds >= 0
    assert (await ask(cell, model.request())).tokens == answered.tokens
    assert (await ask(cell, model.request(4))).tokens == answered.tokens[:4]


async def test_a_seed_draws_and_without_temperature_draws_nothing(model: Model) -> None:
    cell = await model.open()
    best, drawn, again, other = [
        (await ask(cell, model.request(temperature=heat, seed=seed))).tokens
        for heat, seed in ((0, 1), (900, 1), (900, 1), (900, 2))
    ]
    assert drawn == again
    assert len({best, drawn, other}) == 3
    assert (await ask(cell, model.request(temperature=0, seed=2))).tokens == best


async def test_a_claim_that_is_right_is_kept_whole(model: Model) -> None:
    cell = await model.open()
    for heat in (0, 900):
        request = model.request(temperature=heat)
        answered = await ask(cell, request)
        ears = Ears()
        checked = await ask(cell, request, claim(answered), hear=ears)
        assert checked.agreed == MOST
        assert (checked.tokens, checked.finish) == (answered.tokens, answered.finish)
        assert ears.tokens == answered.tokens


@pytest.mark.parametrize("place", [0, 4, MOST - 1])
async def test_a_wrong_token_is_found_at_its_place_and_changes_nothing(
    model: Model, place: int
) -> None:
    cell = await model.open()
    answered = await ask(cell, model.request())
    checked = await ask(cell, model.request(), swapped(answered, place))
    assert checked.agreed == place
    assert (checked.tokens, checked.finish) == (answered.tokens, answered.finish)


async def test_an_answer_goes_on_from_the_tokens_of_who_was_lost(model: Model) -> None:
    cell = await model.open()
    answered = await ask(cell, model.request())
    for known in (1, MOST - 1, MOST):
        ears = Ears()
        resumed = await ask(cell, model.request(), Given(answered.tokens[:known]), hear=ears)
        assert resumed.agreed == known
        assert ears.tokens == resumed.tokens == answered.tokens


async def test_a_claim_may_have_tokens_that_no_model_has_and_more_than_were_asked_for(
    model: Model,
) -> None:
    cell = await model.open()
    answered = await ask(cell, model.request())
    long = answered.tokens + (7,) * 600
    checked = await ask(cell, model.request(), Given(long, Finish.LENGTH))
    assert (checked.tokens, checked.agreed) == (answered.tokens, MOST)
    checked = await ask(cell, model.request(), Given((*answered.tokens[:3], 2**24 - 1), None))
    assert (checked.tokens, checked.agreed) == (answered.tokens, 3)


async def test_margins_measure_a_claim_and_say_nothing(model: Model) -> None:
    cell = await model.open()
    answered = await ask(cell, model.request())
    ears = Ears()
    right = await ask(cell, model.request(), claim(answered), margins=True, hear=ears)
    assert right.gaps is not None
    assert (right.gaps.mean, right.gaps.most) == (0, 0)
    wrong = await ask(cell, model.request(), swapped(answered, 5), margins=True, hear=ears)
    assert wrong.gaps is not None
    assert 0 < wrong.gaps.mean < wrong.gaps.most < 1000
    assert wrong.agreed == 5
    assert wrong.tokens == swapped(answered, 5).tokens
    assert not ears.spoken


async def test_an_end_that_nobody_ordered_has_an_infinite_gap(model: Model) -> None:
    cell = await model.open()
    tokens = (await ask(cell, model.request())).tokens
    for given in (
        Given(tokens[:6], Finish.LENGTH),
        Given(tokens[:6], Finish.HALTED),
        Given(tokens, Finish.STOP),
        Given((*tokens, 7), Finish.LENGTH),
        Given((*tokens[:6], 2**24 - 1), Finish.STOP),
        Given((), Finish.HALTED),
    ):
        assert is_endless(await ask(cell, model.request(), given, margins=True))
    halted = Given(tokens[:6], Finish.HALTED)
    assert not is_endless(await ask(cell, model.request(), halted, margins=True, halt=6))


async def test_an_answer_ends_where_it_was_to_be_halted(model: Model) -> None:
    cell = await model.open()
    whole = await ask(cell, model.request())
    halted = await ask(cell, model.request(), halt=5)
    assert (halted.tokens, halted.finish) == (whole.tokens[:5], Finish.HALTED)
    checked = await ask(cell, model.request(), claim(halted), halt=5)
    assert (checked.tokens, checked.finish, checked.agreed) == (halted.tokens, Finish.HALTED, 5)
    assert (await ask(cell, model.request(), halt=MOST)).finish is Finish.LENGTH


async def test_an_answer_under_way_can_be_halted_and_has_one_token_at_least(model: Model) -> None:
    cell = await model.open()
    whole = await ask(cell, model.request(40))

    def stop(spoken: Spoken) -> None:
        if spoken.start == 3:
            cell.halt(1)

    halted = await ask(cell, model.request(40), hear=stop)
    assert 4 <= len(halted.tokens) < len(whole.tokens)
    assert halted.tokens == whole.tokens[: len(halted.tokens)]
    assert halted.finish is Finish.HALTED
    cell.halt(1)
    assert (await ask(cell, model.request())).finish is Finish.LENGTH


async def test_probabilities_come_with_each_token_if_they_are_wanted(model: Model) -> None:
    cell = await model.open()
    ears = Ears()
    answered = await ask(cell, model.request(4), top=4, hear=ears)
    likely = [some for each in ears.spoken for some in each.likely]
    assert [some[0][0] for some in likely] == list(answered.tokens)
    for some in likely:
        assert len({token for token, _ in some}) == 4
        assert all(value <= 0 for _, value in some)
        assert [value for _, value in some[1:]] == sorted(
            (value for _, value in some[1:]), reverse=True
        )
    again = Ears()
    await ask(cell, model.request(4), claim(answered), top=4, hear=again)
    assert [token for each in again.spoken for token, _ in each.likely[0]][:1] == [likely[0][0][0]]


async def test_an_answer_ends_where_the_context_does(model: Model) -> None:
    cell = await model.open(context=40)
    assert cell.context == 40
    answered = await ask(cell, model.request(40))
    assert len(answered.tokens) == 40 - len(model.prompt)
    assert answered.finish is Finish.LENGTH
    checked = await ask(cell, model.request(40), claim(answered))
    assert (checked.tokens, checked.agreed) == (answered.tokens, len(answered.tokens))
    assert not is_endless(await ask(cell, model.request(40), claim(answered), margins=True))


async def test_a_request_that_does_not_fit_is_refused_and_hurts_nobody(model: Model) -> None:
    cell = await model.open()
    for prompt in ((7,) * 512, (7,) * 100_000, (7, 2**24 - 1)):
        with pytest.raises(RefusedError) as caught:
            await ask(cell, Request(prompt, 4, 1, bytes(16)))
        assert caught.value.hint
    assert (await ask(cell, model.request(4))).tokens


async def test_a_model_answers_one_request_at_a_time_and_none_when_closed(model: Model) -> None:
    cell = await model.open()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(ask(cell, model.request(4)))
        await asyncio.sleep(0)
        if not first.done():  # the fake may be that fast
            with pytest.raises(LocalError):
                await ask(cell, model.request(4))
    await cell.close()
    await cell.close()
    with pytest.raises(LocalError):
        await ask(cell, model.request(4))


async def test_a_question_that_nobody_waits_for_leaves_a_model_that_works(model: Model) -> None:
    cell = await model.open()
    whole = await ask(cell, model.request())

    class LostError(Exception):
        pass

    def leave(spoken: Spoken) -> None:
        raise LostError

    with pytest.raises(LostError):
        await cell.answer(Question(model.request(40)), leave)
    with pytest.raises(LostError):
        await cell.answer(Question(model.request(), claim(whole)), leave)
    assert (await ask(cell, model.request())).tokens == whole.tokens


async def test_an_image_that_is_not_there_cannot_be_served(model: Model) -> None:
    with pytest.raises(UnavailableError) as caught:
        await model.open(image="sha256:" + "f" * 64)
    assert caught.value.hint
