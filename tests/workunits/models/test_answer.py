"""What a model answered: one spelling, and what it counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import answers, requests
from workunits.errors import MalformedError, RemoteError
from workunits.models.answer import Answer, Finish, meter, most_metered
from workunits.models.request import Request


@given(answers)
def test_an_answer_survives_the_wire(answer: Answer) -> None:
    assert Answer.parse(answer.encode()) == answer


@given(answers, st.data())
def test_a_mutated_answer_is_another_one_or_a_remote_error(
    answer: Answer, data: st.DataObject
) -> None:
    raw = bytearray(answer.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Answer.parse(bytes(raw))
    except RemoteError:
        return
    assert found.encode() == raw


@pytest.mark.parametrize("finish", [Finish.STOP, Finish.LENGTH])
def test_an_answer_that_ended_by_itself_has_a_token(finish: Finish) -> None:
    with pytest.raises(MalformedError, match="no token"):
        Answer.parse(Answer((), finish, b"n" * 16).encode())


def test_an_answer_that_was_halted_may_be_empty() -> None:
    answer = Answer((), Finish.HALTED, b"n" * 16)
    assert Answer.parse(answer.encode()) == answer


@given(requests, st.integers(0, 100))
def test_nothing_counts_more_than_the_most_that_was_set_aside(
    request: Request, generated: int
) -> None:
    context = len(request.prompt) + generated
    assert generated <= meter(request, generated) <= most_metered(generated, context)
