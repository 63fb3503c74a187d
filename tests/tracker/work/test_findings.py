"""Answers of models as results: what is refused before anybody compares it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.work.chat import (
    CONTEXT,
    MOST,
    REFUSAL,
    a_request,
    answered,
    chat_manifest,
    truth,
)
from tests.tracker.work.world import blob, manifest, outcome
from tracker.work.findings import inline_limit, read_finding
from workunits.errors import RemoteError
from workunits.ids import LeaseToken
from workunits.models.answer import MAX_ANSWER, OUTPUT, Answer, Finish, meter
from workunits.results import Ending, Result
from workunits.wire.work import Reveal

ASKED, BATCH = chat_manifest(), chat_manifest(budget=0)
REQUEST = a_request()
TRUTH = truth(REQUEST)


def shown(raw: bytes, counted: int = 7, status: int = 0) -> Reveal:
    result = Result(Ending.EXITED, status, (blob(raw, OUTPUT),), counted)
    return Reveal(LeaseToken(0), result.encode(), (raw,))


def test_the_right_answer_is_taken() -> None:
    right = answered(REQUEST, TRUTH)
    assert read_finding(ASKED, right, None, REQUEST).contents == (TRUTH.encode(),)
    assert read_finding(BATCH, right, None).result.meter == 7
    assert inline_limit(ASKED) == MAX_ANSWER


def test_a_refusal_counts_nothing() -> None:
    assert read_finding(ASKED, REFUSAL, None, REQUEST).result.meter == 0


BAD = [
    (answered(REQUEST, TRUTH, 6), "counts 6 tokens"),
    (answered(REQUEST, TRUTH, 8), "counts 8 tokens"),
    (answered(REQUEST, TRUTH, 0), "counts 0 tokens"),
    (answered(REQUEST, replace(TRUTH, nonce=bytes(16))), "another request"),
    (answered(REQUEST, replace(TRUTH, tokens=TRUTH.tokens * 2)), "at most 5"),
    (answered(REQUEST, replace(TRUTH, tokens=TRUTH.tokens[:4])), "ends after 4 of 5"),
    (answered(REQUEST, truth(REQUEST, 3)), "nobody wanted that"),
    (answered(REQUEST, Answer((), Finish.HALTED, REQUEST.nonce)), "no token"),
    (shown(b"nonsense"), "answer"),
    (shown(b""), "answer"),
    (shown(TRUTH.encode() + b"e"), "answer"),
    (shown(TRUTH.encode(), 7, status=1), "engine that failed"),
    (Reveal(LeaseToken(0), Result(Ending.EXITED, 3, (), 5).encode()), "no answer of a model"),
    (Reveal(LeaseToken(0), Result(Ending.MEMORY, 0, (), 5).encode()), "no answer of a model"),
    (shown(bytes(MAX_ANSWER + 1)), "do not travel inline"),
]


@pytest.mark.parametrize(("reveal", "message"), BAD)
def test_an_answer_that_is_none_to_the_request_is_refused(reveal: Reveal, message: str) -> None:
    with pytest.raises(RemoteError, match=message):
        read_finding(ASKED, reveal, None, REQUEST)


def test_an_answer_too_large_to_be_looked_at_is_refused_without_content_too() -> None:
    large = replace(shown(bytes(MAX_ANSWER + 1)), contents=())
    with pytest.raises(RemoteError, match="do not travel inline"):
        read_finding(ASKED, large, None, REQUEST)


def test_a_cut_answer_is_taken_where_it_was_cut_or_later() -> None:
    cut = answered(REQUEST, truth(REQUEST, 3))
    for halt in (1, 3):
        assert read_finding(ASKED, cut, None, REQUEST, halt).contents
    with pytest.raises(RemoteError, match="nobody wanted that"):
        read_finding(ASKED, cut, None, REQUEST, 4)


def test_an_answer_may_end_where_the_context_is_full() -> None:
    request = a_request(prompt=CONTEXT - 3)
    said = replace(truth(request), tokens=truth(request).tokens[:3])
    assert read_finding(ASKED, answered(request, said), None, request).contents
    less = replace(said, tokens=said.tokens[:2])
    with pytest.raises(RemoteError, match="ends after 2"):
        read_finding(ASKED, answered(request, less), None, request)


@pytest.mark.parametrize("counted", [4, 5 + CONTEXT // 16 + 1])
def test_a_batch_counts_no_fewer_tokens_than_there_are_and_not_too_many(counted: int) -> None:
    with pytest.raises(RemoteError, match=f"counts {counted} tokens"):
        read_finding(BATCH, answered(REQUEST, TRUTH, counted), None)


@pytest.mark.parametrize(
    "answer",
    [truth(REQUEST, 3), truth(a_request(most=MOST + 1)), Answer((), Finish.HALTED, bytes(16))],
)
def test_a_batch_takes_no_cut_or_long_answer(answer: Answer) -> None:
    with pytest.raises(RemoteError):
        read_finding(BATCH, answered(REQUEST, answer), None)


def test_only_a_model_counts_tokens() -> None:
    result = replace(Result.parse(outcome(0).result), meter=1)
    counted = replace(outcome(0), result=result.encode())
    with pytest.raises(RemoteError, match="no answer of a model"):
        read_finding(manifest(), counted, None)


@given(
    st.lists(st.integers(0, 2**24 - 1), max_size=8),
    st.sampled_from(Finish),
    st.integers(0, 12),
    st.integers(0, 8),
)
def test_whatever_is_taken_is_paid_as_it_should_be(
    tokens: list[int], finish: Finish, counted: int, halt: int
) -> None:
    said = Answer(tuple(tokens), finish, REQUEST.nonce)
    try:
        found = read_finding(ASKED, answered(REQUEST, said, counted), None, REQUEST, halt)
    except RemoteError:
        return
    assert 0 < len(tokens) <= REQUEST.most
    assert found.result.meter == meter(REQUEST, len(tokens))
    assert finish is not Finish.HALTED or 0 < halt <= len(tokens)
    assert finish is not Finish.LENGTH or len(tokens) == REQUEST.most
