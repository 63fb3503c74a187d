"""The bars of verification on the real engine, on few short answers: ``docs/models.md`` has many.

A check gives the checker's own answer, so a lie is accepted if that is what was claimed.
"""

from random import Random

import pytest

from client.calibration.claims import LIES, Claim, cases
from sandbox.models.runtime import Answered, Given, ModelCell
from tests.models import STORY
from tests.sandbox.models.conftest import Ears, Model, ask
from workunits.models.request import Request, Sampling

pytestmark = pytest.mark.engine

TOPICS = (31530, 3365, 9843, 28, 1977, 260, 6650, 563)
"""Tokens in the place of the one that makes it a long story."""

MOST = 20


def requests() -> list[Request]:
    """Greedy ones and drawn ones."""
    return [
        Request((*STORY[:3], topic, *STORY[4:]), MOST, at, bytes(16), Sampling(800 * (at % 2)))
        for at, topic in enumerate(TOPICS)
    ]


async def answers(cell: ModelCell, asked: list[Request]) -> list[Claim]:
    """What the engine says, with the second best token in each place."""
    made = []
    for request in asked:
        ears = Ears()
        answered = await ask(cell, request, top=2, hear=ears)
        likely = [each for spoken in ears.spoken for each in spoken.likely]
        second = tuple((best[1][0], best[0][1] - best[1][1]) for best in likely)
        made.append(Claim(answered.tokens, answered.finish, second))
    return made


async def check(cell: ModelCell, request: Request, claim: Claim) -> Answered:
    """An exact check of a claim."""
    return await ask(cell, request, Given(claim.tokens, claim.finish))


def is_confirmed(checked: Answered, claim: Claim) -> bool:
    return (checked.tokens, checked.finish) == claim.bare


async def test_no_honest_answer_is_rejected_and_no_lie_is_accepted(llama_model: Model) -> None:
    asked = requests()
    cell, other = await llama_model.open(), await llama_model.open()
    honest = await answers(cell, asked)
    assert len({claim.tokens for claim in honest}) > len(asked) // 2
    for request, claim in zip(asked, honest, strict=True):
        checked = await check(other, request, claim)
        assert is_confirmed(checked, claim)
        assert checked.agreed == len(claim.tokens)
    told = cases(asked, honest, 49_152, frozenset({0, 2, 4}))
    for at, (name, lie) in enumerate(LIES.items()):
        case = told[at % len(told)]
        told_lie = lie(case, Random(at))
        assert told_lie is not None
        checked = await check(other, case.request, told_lie)
        assert not is_confirmed(checked, told_lie), name
        assert (checked.tokens, checked.finish) == case.honest.bare, name


async def test_gaps_are_zero_of_what_an_exact_check_confirms_and_of_nothing_else(
    llama_model: Model,
) -> None:
    asked = requests()[:3]
    cell = await llama_model.open()
    honest = await answers(cell, asked)
    told = cases(asked, honest, 49_152, frozenset({0, 2, 4}))
    for case in told:
        measured = await ask(
            cell, case.request, Given(case.honest.tokens, case.honest.finish), margins=True
        )
        assert measured.gaps is not None
        assert measured.gaps.most == 0
    for at, (name, lie) in enumerate(LIES.items()):
        case = told[at % len(told)]
        claim = lie(case, Random(at))
        assert claim is not None
        measured = await ask(cell, case.request, Given(claim.tokens, claim.finish), margins=True)
        assert measured.gaps is not None
        assert measured.gaps.most > 0, name


async def test_a_check_costs_less_than_an_answer(llama_model: Model) -> None:
    (asked, *_) = requests()
    long = Request(asked.prompt, 64, asked.seed, asked.nonce)
    cell = await llama_model.open()
    made = await ask(cell, long)
    checked = await ask(cell, long, Given(made.tokens, made.finish))
    # The bar of .45 is for an idle machine (`python -m bench verify`): one that is busy with other
    # things slows many sums at once down more than many reads of memory.
    assert checked.cpu_seconds < 0.9 * made.cpu_seconds
