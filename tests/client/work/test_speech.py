"""What answers say to the tracker: in order, without gaps, and anew after a break."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.work.speech import LEAST_LOGPROB, Speeches, rate_of
from sandbox.models.runtime import Answered, Spoken
from workunits.ids import LeaseToken
from workunits.models.answer import Answer, Finish
from workunits.wire.models import MAX_CHUNK, MAX_RATE, Likely, Tokens
from workunits.wire.work import encode, parse_from_peer

ONE = LeaseToken(1)


def answer(*tokens: int) -> Answer:
    return Answer(tokens, Finish.LENGTH, bytes(16))


@given(
    st.lists(st.lists(st.integers(0, 1000), max_size=5), max_size=10),
    st.sets(st.integers(0, 9)),
    st.sets(st.integers(0, 9)),
)
def test_whenever_it_is_told_and_the_wire_breaks_the_tracker_hears_all_of_it_in_order(
    parts: list[list[int]], told: set[int], broken: set[int]
) -> None:
    heard: list[Tokens] = []
    speeches = Speeches(heard.append)
    speeches.begin(ONE, stream=True)
    whole: list[int] = []
    for at, part in enumerate(parts):
        assert speeches.hear(ONE, Spoken(len(whole), tuple(part)))
        whole += part
        if at in told:
            speeches.tell(ONE)
        if at in broken:
            heard.clear()
            speeches.again([ONE])
    speeches.end(ONE, answer(*whole, 7), 1.0)
    ids: list[int] = []
    for each in heard:
        assert each.start == len(ids)
        ids += each.ids
        assert parse_from_peer(encode(each)) == each
    assert ids == [*whole, 7]
    assert [each.finish for each in heard] == [None] * (len(heard) - 1) + [Finish.LENGTH]


def test_an_answer_that_nobody_waits_for_is_said_once_at_its_end() -> None:
    heard: list[Tokens] = []
    speeches = Speeches(heard.append)
    speeches.begin(ONE, stream=False)
    assert not speeches.hear(ONE, Spoken(0, (1, 2)))
    speeches.again([ONE])
    assert not heard
    speeches.end(ONE, answer(1, 2, 3), 96.5)
    assert heard == [Tokens(ONE, 0, (1, 2, 3), Finish.LENGTH, (), 96_500)]
    speeches.tell(ONE)
    assert len(heard) == 1
    speeches.again([LeaseToken(9), ONE])
    assert heard[1:] == heard[:1]


def test_long_answers_are_said_in_several_messages() -> None:
    heard: list[Tokens] = []
    speeches = Speeches(heard.append)
    speeches.begin(ONE, stream=False)
    speeches.end(ONE, answer(*range(2 * MAX_CHUNK + 1)), 1e12)
    assert [len(each.ids) for each in heard] == [MAX_CHUNK, MAX_CHUNK, 1]
    assert [each.rate for each in heard] == [0, 0, MAX_RATE]


def test_an_empty_answer_still_has_an_end() -> None:
    heard: list[Tokens] = []
    speeches = Speeches(heard.append)
    speeches.begin(ONE, stream=True)
    speeches.end(ONE, Answer((), Finish.HALTED, bytes(16)), 0.0)
    assert heard == [Tokens(ONE, 0, (), Finish.HALTED)]


def test_an_answer_that_turns_out_otherwise_is_said_anew() -> None:
    heard: list[Tokens] = []
    speeches = Speeches(heard.append)
    speeches.begin(ONE, stream=True)
    speeches.hear(ONE, Spoken(0, (1, 2), (((1, -0.5),), ((2, -0.5),))))
    speeches.tell(ONE)
    speeches.hear(ONE, Spoken(5, (6,)))  # a gap: nothing can follow
    speeches.end(ONE, answer(1, 3), 1.0)
    assert [(each.start, each.ids, bool(each.likely)) for each in heard] == [
        (0, (1, 2), True),
        (0, (1, 3), False),
    ]


def test_probabilities_go_with_their_tokens_and_are_none_that_cannot_be() -> None:
    heard: list[Tokens] = []
    speeches = Speeches(heard.append)
    speeches.begin(ONE, stream=True)
    odd = ((1, 0.0001), (2, -math.inf), (3, math.nan))
    speeches.hear(ONE, Spoken(0, (1,), (odd,)))
    speeches.end(ONE, answer(1), 1.0)
    (said,) = heard
    assert said.likely == ((Likely(1, 0.0), Likely(2, LEAST_LOGPROB), Likely(3, 0.0)),)
    assert isinstance(parse_from_peer(encode(said)), Tokens)


def test_nothing_is_said_of_a_lease_that_is_over() -> None:
    heard: list[Tokens] = []
    speeches = Speeches(heard.append)
    speeches.begin(ONE, stream=True)
    speeches.hear(ONE, Spoken(0, (1,)))
    speeches.forget(ONE)
    speeches.forget(ONE)
    assert not speeches.hear(ONE, Spoken(1, (2,)))
    speeches.tell(ONE)
    speeches.end(ONE, answer(1, 2), 1.0)
    speeches.again([ONE])
    assert not heard
    assert len(speeches) == 0


def test_what_an_earlier_run_answered_is_said_before_it_is_committed_to_again() -> None:
    heard: list[Tokens] = []
    speeches = Speeches(heard.append)
    speeches.restore(ONE, answer(4, 5))
    assert not heard
    speeches.again([ONE])
    assert heard == [Tokens(ONE, 0, (4, 5), Finish.LENGTH)]


@pytest.mark.parametrize(
    ("seconds", "prompt", "rate"), [(3.0, 1.0, 2.0), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0)]
)
def test_the_rate_is_without_the_time_for_the_prompt(
    seconds: float, prompt: float, rate: float
) -> None:
    answered = Answered((1, 2, 3, 4), Finish.STOP, prompt_seconds=prompt, wall_seconds=seconds)
    assert rate_of(answered) == rate
