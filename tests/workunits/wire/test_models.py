"""Asking a model over the work session: what comes through, and what does not."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import requests, token_ids
from tests.workunits.wire.mutation import check_spelling, mutated
from workunits.canonical import decode, encode
from workunits.errors import LimitError, MalformedError
from workunits.ids import LeaseToken
from workunits.models.answer import Finish
from workunits.models.request import MAX_NEW
from workunits.wire import work
from workunits.wire.models import MAX_CHUNK, MAX_RATE, MAX_TOP, Ask, Halt, Likely, Tokens

tokens = st.integers(0, 2**63 - 1).map(LeaseToken)
endings = st.none() | st.sampled_from(Finish)
asks = st.builds(
    Ask,
    tokens,
    st.none() | requests,
    token_ids,
    endings,
    st.integers(0, MAX_NEW),
    st.booleans(),
    st.integers(0, MAX_TOP + 1),
)
halts = st.builds(Halt, tokens, st.integers(0, MAX_NEW))
logprobs = st.floats(max_value=0, allow_nan=False, width=32)


@st.composite
def token_messages_of(draw: st.DrawFn) -> Tokens:
    """Some tokens, with probabilities for all of them or for none."""
    ids = draw(token_ids)
    each = st.lists(
        st.builds(Likely, st.integers(0, 2**32 - 1), logprobs), min_size=1, max_size=3
    ).map(tuple)
    likely: tuple[tuple[Likely, ...], ...] = ()
    told = draw(st.booleans())
    if ids and told:
        likely = tuple(draw(st.lists(each, min_size=len(ids), max_size=len(ids))))
    start, rate = draw(st.integers(0, 1000)), draw(st.integers(0, MAX_RATE))
    return Tokens(draw(tokens), start, ids, draw(endings), likely, rate)


token_messages = token_messages_of()


@given(mutated(asks | halts | token_messages))
def test_a_mutated_frame_is_another_message_or_a_remote_error(frame: bytes) -> None:
    check_spelling(frame)


def test_more_tokens_than_fit_into_a_message_are_refused() -> None:
    with pytest.raises(LimitError):
        work.parse_from_peer(work.encode(Tokens(LeaseToken(1), 0, (1,) * (MAX_CHUNK + 1))))


def test_tokens_beyond_the_longest_answer_are_refused() -> None:
    with pytest.raises(LimitError, match="at most"):
        work.parse_from_peer(work.encode(Tokens(LeaseToken(1), MAX_NEW, (1,))))


@pytest.mark.parametrize(
    "likely",
    [[], [b""], [b"123"], [struct.pack(">If", 1, 0.5)], [struct.pack(">If", 1, float("nan"))]],
    ids=["none", "empty", "cut off", "more than certain", "no number"],
)
def test_probabilities_that_are_none_are_refused(likely: list[bytes]) -> None:
    frame = decode(work.encode(Tokens(LeaseToken(1), 0, (7,))), limit=1000)
    assert isinstance(frame, dict)
    frame[b"likely"] = list(likely)
    with pytest.raises(MalformedError, match="probabilit"):
        work.parse_from_peer(encode(frame))
