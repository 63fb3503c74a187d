"""What the host believes of what an engine writes: nothing that does not fit together."""

import math
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given as fuzz
from hypothesis import strategies as st

from sandbox.models import frames
from sandbox.models.frames import Loaded, Replies, encode_halt, encode_question
from sandbox.models.runtime import Answered, Gaps, Given, Question, Spoken
from sandbox.models.worker import serve
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.models.answer import Finish
from workunits.models.request import Request, Sampling

REQUEST = Request((1, 2, 3), 6, 7, bytes(16), Sampling(800, 900, 40, 1100), "json")


def frame(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">cI", kind, len(payload)) + payload


def ready(vocabulary: int = 100, context: int = 8, version: int = 1) -> bytes:
    return frame(b"R", struct.pack(">BII", version, vocabulary, context))


def spoken(start: int, tokens: Iterable[int], likely: bytes = b"") -> bytes:
    ids = tuple(tokens)
    return frame(b"S", struct.pack(f">IH{len(ids)}I", start, len(ids), *ids) + likely)


def likely(*pairs: tuple[int, float]) -> bytes:
    return bytes((len(pairs),)) + b"".join(struct.pack(">If", *pair) for pair in pairs)


def end(
    finish: int,
    count: int,
    agreed: int = 0,
    mean: float = math.nan,
    most: float = math.nan,
    seconds: float = 1.5,
) -> bytes:
    return frame(b"E", struct.pack(">BIIddddd", finish, count, agreed, mean, most, *[seconds] * 3))


def asked(question: Question) -> Replies:
    replies = Replies()
    assert list(replies.feed(ready())) == [Loaded(100, 8)]
    replies.expect(question)
    return replies


def test_an_answer_comes_in_pieces_of_any_size() -> None:
    stream = spoken(0, (4, 5)) + spoken(2, (6,)) + end(1, 3, 0)
    for size in (1, 3, len(stream)):
        replies = asked(Question(REQUEST))
        events = [
            event
            for at in range(0, len(stream), size)
            for event in replies.feed(stream[at : at + size])
        ]
        assert events == [
            Spoken(0, (4, 5)),
            Spoken(2, (6,)),
            Answered((4, 5, 6), Finish.STOP, 0, None, 1.5, 1.5, 1.5),
        ]


def test_probabilities_are_of_the_token_and_of_others() -> None:
    replies = asked(Question(REQUEST, top=2))
    some = likely((4, -1.0), (9, -2.0)) + likely((5, 0.0))
    (event,) = replies.feed(spoken(0, (4, 5), some))
    assert event == Spoken(0, (4, 5), (((4, -1.0), (9, -2.0)), ((5, 0.0),)))


def test_gaps_are_of_the_tokens_that_were_claimed() -> None:
    question = Question(REQUEST, Given((4, 5), Finish.STOP), margins=True)
    (event,) = asked(question).feed(end(1, 2, 1, 0.5, 1.0))
    assert event == Answered((4, 5), Finish.STOP, 1, Gaps(0.5, 1.0), 1.5, 1.5, 1.5)
    (event,) = asked(question).feed(end(1, 2, 0, math.inf, math.inf))
    assert isinstance(event, Answered)
    assert event.gaps == Gaps(math.inf, math.inf)


@pytest.mark.parametrize(
    ("question", "stream"),
    [
        (Question(REQUEST), ready()),
        (Question(REQUEST), frame(b"X", b"")),
        (Question(REQUEST), spoken(1, (4,))),
        (Question(REQUEST), spoken(0, ())),
        (Question(REQUEST), spoken(0, (100,))),
        (Question(REQUEST), spoken(0, (4,)) + spoken(0, (4,))),
        (Question(REQUEST), spoken(0, (4,), b"\0")),
        (Question(REQUEST), frame(b"S", b"\0\0\0\0\0")),
        (Question(REQUEST), frame(b"S", struct.pack(">IH", 0, 3))),
        (Question(REQUEST, top=2), spoken(0, (4,))),
        (Question(REQUEST, top=2), spoken(0, (4,), b"\0")),
        (Question(REQUEST, top=2), spoken(0, (4,), likely((5, -1.0)))),
        (Question(REQUEST, top=2), spoken(0, (4,), likely((4, -1.0), (100, -1.0)))),
        (Question(REQUEST, top=2), spoken(0, (4,), likely((4, 0.1)))),
        (Question(REQUEST, top=2), spoken(0, (4,), likely((4, math.nan)))),
        (Question(REQUEST, top=2), spoken(0, (4,), likely((4, -math.inf)))),
        (Question(REQUEST, top=1), spoken(0, (4,), likely((4, -1.0), (5, -1.0)))),
        (Question(REQUEST), end(1, 1)),
        (Question(REQUEST), end(3, 0)),
        (Question(REQUEST), spoken(0, (4,)) + end(2, 1)),
        (Question(REQUEST), spoken(0, (4,)) + end(3, 1)),
        (Question(REQUEST), spoken(0, (4,)) + end(0, 1)),
        (Question(REQUEST), spoken(0, (4,)) + end(4, 1)),
        (Question(REQUEST), spoken(0, (4,)) + end(1, 1, 1)),
        (Question(REQUEST, Given((5,))), spoken(0, (4,)) + end(1, 1, 1)),
        (Question(REQUEST), spoken(0, (4,)) + end(1, 1, 0, seconds=-1.0)),
        (Question(REQUEST), spoken(0, (4,)) + end(1, 1, 0, seconds=math.nan)),
        (Question(REQUEST), frame(b"E", bytes(10))),
        (Question(REQUEST, Given((5,)), margins=True), spoken(0, (4,))),
        (Question(REQUEST, Given((5,)), margins=True), end(1, 2, 0, 0.0, 0.0)),
        (Question(REQUEST, Given((5,)), margins=True), end(1, 1, 0)),
        (Question(REQUEST, Given((5,)), margins=True), end(1, 1, 0, -1.0, 1.0)),
        (Question(REQUEST, Given((5,)), margins=True), end(1, 1, 0, 2.0, 1.0)),
    ],
)
def test_what_does_not_fit_together_is_malformed(question: Question, stream: bytes) -> None:
    with pytest.raises(MalformedError):
        list(asked(question).feed(stream))


def test_nothing_larger_than_an_answer_is_kept() -> None:
    with pytest.raises(LimitError):  # five fit into the context after a prompt of three
        list(asked(Question(REQUEST)).feed(spoken(0, range(6))))
    with pytest.raises(LimitError):
        list(asked(Question(REQUEST)).feed(struct.pack(">cI", b"S", 2**31)))
    with pytest.raises(LimitError):
        list(asked(Question(REQUEST)).feed(struct.pack(">cI", b"E", 1000)))


@pytest.mark.parametrize("greeting", [ready(version=2), ready(0), ready(2**24 + 1), ready(9, 0)])
def test_a_greeting_is_that_of_this_version_with_a_vocabulary(greeting: bytes) -> None:
    with pytest.raises(MalformedError):
        list(Replies().feed(greeting))


def test_only_who_was_halted_may_end_in_the_middle_and_only_who_was_left_without_a_word() -> None:
    halted = asked(Question(REQUEST))
    list(halted.feed(spoken(0, (4,))))
    halted.halt()
    (event,) = halted.feed(end(3, 1))
    assert isinstance(event, Answered)
    assert event.finish is Finish.HALTED
    left = asked(Question(REQUEST))
    left.leave()
    (event,) = left.feed(end(3, 0))
    assert isinstance(event, Answered)
    assert event.tokens == ()


ids = st.integers(0, 2**24 - 1)


@fuzz(
    st.builds(
        Question,
        st.builds(
            Request,
            st.lists(ids, min_size=1, max_size=40).map(tuple),
            st.integers(1, 32_768),
            st.integers(0, 2**53),
            st.just(bytes(16)),
            st.builds(Sampling, *[st.integers(0, 1000) for _ in range(2)], st.integers(0, 256)),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        ),
        st.builds(
            Given,
            st.lists(ids, max_size=40).map(tuple),
            st.sampled_from([None, *Finish]),
        ),
        st.booleans(),
        st.integers(0, 32_768),
        st.integers(0, 21),
    )
)
def test_an_engine_reads_what_the_host_asks(question: Question) -> None:
    data = encode_question(question)
    assert struct.unpack_from(">cI", data) == (b"Q", len(data) - 5)
    ask = serve.read_question(data[5:])
    request, given = question.request, question.given
    assert (tuple(ask.prompt), tuple(ask.given)) == (request.prompt, given.tokens)
    assert (ask.most, ask.seed, ask.form) == (request.most, request.seed, request.form)
    assert Sampling(*ask.sampling) == request.sampling
    assert frames.FINISHES[ask.finish] is given.finish
    assert (ask.margins, ask.halt, ask.top) == (question.margins, question.halt, question.top)


def test_a_halt_is_a_frame_with_a_number() -> None:
    assert encode_halt(7) == frame(b"H", b"\0\0\0\7")


@fuzz(st.binary(max_size=200), st.booleans(), st.integers(0, 3))
def test_bytes_become_fitting_events_or_an_error(data: bytes, margins: bool, top: int) -> None:
    replies = asked(Question(REQUEST, Given((4, 5)), margins, top=top))
    said: list[int] = []
    try:
        for event in replies.feed(data):
            if isinstance(event, Spoken):
                said.extend(event.tokens)
    except RemoteError:
        return
    assert len(said) <= 5


@fuzz(
    st.lists(
        st.one_of(
            st.builds(
                lambda kind, body: frame(kind, body),
                st.sampled_from([b"R", b"S", b"E"]),
                st.binary(max_size=60),
            ),
            st.builds(spoken, st.integers(0, 6), st.lists(st.integers(0, 120), max_size=4)),
            st.builds(end, st.integers(0, 4), st.integers(0, 6), st.integers(0, 3)),
        ),
        max_size=6,
    )
)
def test_no_order_of_frames_makes_an_answer_that_cannot_be(stream: list[bytes]) -> None:
    replies = asked(Question(REQUEST, Given((4, 5))))
    said: tuple[int, ...] = ()
    try:
        for event in replies.feed(b"".join(stream)):
            if isinstance(event, Spoken):
                said += event.tokens
            elif isinstance(event, Answered):
                assert event.tokens == said
                assert 1 <= len(said) <= 5
                assert max(said) < 100
                assert event.finish is not Finish.HALTED
                assert said[: event.agreed] == (4, 5)[: event.agreed]
    except RemoteError:
        return
