"""What a cheat may claim differs from the honest answer in the way that its name says."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.calibration.claims import LIES, Case, Claim, cases
from workunits.models.answer import Finish
from workunits.models.request import Request

END = 0
ENDS = frozenset({END})
WORDS = 50


def case(tokens: tuple[int, ...], most: int = 40) -> Case:
    finish = Finish.STOP if tokens[-1] == END else Finish.LENGTH
    second = tuple((token % (WORDS - 1) + 1, 0.5 + at) for at, token in enumerate(tokens))
    honest = Claim(tokens, finish, second)
    request = Request((1, 2), most, 5, bytes(16))
    return Case(request, honest, Claim((7, 8, 9), Finish.LENGTH), WORDS, ENDS)


answers = st.lists(st.integers(1, WORDS - 1), min_size=1, max_size=30).map(tuple)


@pytest.mark.parametrize("name", LIES)
@given(tokens=answers, stops=st.booleans(), seed=st.integers(0, 1000))
def test_no_lie_is_the_honest_answer(
    name: str, tokens: tuple[int, ...], stops: bool, seed: int
) -> None:
    told = case((*tokens, END) if stops else tokens)
    lie = LIES[name](told, Random(seed))
    assert lie is None or lie.bare != told.honest.bare


@given(tokens=answers, seed=st.integers(0, 1000))
@pytest.mark.parametrize("name", ["one token edited", "one plausible token", "one token steered"])
def test_an_edit_changes_one_token_and_no_end(
    name: str, tokens: tuple[int, ...], seed: int
) -> None:
    told = case((*tokens, END))
    lie = LIES[name](told, Random(seed))
    assert lie is not None
    changed = [at for at, token in enumerate(lie.tokens) if token != told.honest.tokens[at]]
    assert len(changed) == 1
    assert len(lie.tokens) == len(told.honest.tokens)
    assert lie.tokens[-1] == END
    assert lie.tokens.count(END) == 1


def test_the_plausible_token_is_the_next_best_in_its_place() -> None:
    told = case((3, 4, 5))
    lie = LIES["one plausible token"](told, Random(1))
    assert lie is not None
    (at,) = [at for at, token in enumerate(lie.tokens) if token != told.honest.tokens[at]]
    assert lie.tokens[at] == told.honest.second[at][0]


def test_steering_takes_the_place_where_two_tokens_are_closest() -> None:
    second = ((9, 2.0), (9, 0.1), (9, 1.0))
    told = case((3, 4, 5))
    told = Case(told.request, Claim((3, 4, 5), Finish.LENGTH, second), told.other, WORDS, ENDS)
    lie = LIES["one token steered"](told, Random(1))
    assert lie is not None
    assert lie.tokens == (3, 9, 5)


def test_an_early_end_has_the_token_that_ends_a_text() -> None:
    lie = LIES["ended early"](case((3, 4, 5, 6)), Random(1))
    assert lie is not None
    assert lie.finish is Finish.STOP
    assert lie.tokens[-1] == END
    assert len(lie.tokens) < 4


def test_a_cut_says_that_it_is_long_enough() -> None:
    lie = LIES["cut off"](case((3, 4, 5, 6)), Random(1))
    assert lie is not None
    assert lie.finish is Finish.LENGTH
    assert lie.tokens == (3, 4, 5, 6)[: len(lie.tokens)]
    assert len(lie.tokens) < 4


def test_an_answer_of_one_token_cannot_be_shortened() -> None:
    for name in ("cut off", "ended early"):
        assert LIES[name](case((END,)), Random(1)) is None


def test_each_answer_lies_beside_that_of_the_next_request() -> None:
    request = Request((1,), 4, 5, bytes(16))
    claims = [Claim((each,), Finish.LENGTH) for each in (1, 2, 3)]
    found = cases([request] * 3, claims, WORDS, ENDS)
    assert [each.other.tokens for each in found] == [(2,), (3,), (1,)]
