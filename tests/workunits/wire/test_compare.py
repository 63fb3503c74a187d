"""Asking for comparisons, and the signed answers: what comes through, and what does not."""

from collections.abc import Mapping
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import SUBMITTER, hashes, names, results
from tests.workunits.wire.mutation import check_spelling, mutated
from workunits.canonical import encode as bencode
from workunits.errors import LimitError, MalformedError, RemoteError, SignatureError
from workunits.ids import Digest, JobId, LeaseToken
from workunits.manifest import MAX_OUTPUTS
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob
from workunits.results import INLINE_LIMIT, MAX_RESULT, Ending, Result
from workunits.signing import Identity
from workunits.wire import work
from workunits.wire.compare import (
    JUDGEMENT_SIZE,
    MAX_PAIRS,
    Compare,
    Compared,
    Judgement,
    Opinion,
    Pair,
    Shown,
)

PEER = Identity.from_seed(b"p" * 32)
JOB = JobId(b"j" * 32)


def inline(outputs: Mapping[str, bytes]) -> Shown:
    """A result whose outputs travel inline."""
    blobs = tuple(
        NamedBlob(name, hash_stream(BytesIO(data), len(data)).info.ref)
        for name, data in sorted(outputs.items())
    )
    contents = tuple(data for _, data in sorted(outputs.items()))
    return Shown(Result(Ending.EXITED, 0, blobs), contents)


tokens = st.integers(0, 2**63 - 1).map(LeaseToken)
indices = st.integers(0, 2**63 - 1)
shown = st.builds(Shown, results()) | st.dictionaries(
    names, st.binary(max_size=20), max_size=3
).map(inline)
pairs = st.builds(Pair, tokens, indices, shown, shown)
compares = st.builds(
    Compare,
    hashes.map(JobId),
    st.integers(1, 2**40),
    st.lists(pairs, max_size=3).map(tuple),
)
digests = hashes.map(Digest)
judgements = st.lists(
    st.builds(Judgement, tokens, indices, digests, digests, st.sampled_from(Opinion)), max_size=4
)
compareds = st.builds(Compared.sign, st.just(PEER), hashes.map(JobId), judgements)


@given(compares)
def test_a_question_survives_the_wire(message: Compare) -> None:
    assert work.parse_from_tracker(work.encode(message)) == message


@given(compareds)
def test_an_answer_survives_the_wire(message: Compared) -> None:
    assert work.parse_from_peer(work.encode(message)) == message


@given(mutated(compares | compareds))
def test_a_mutated_frame_is_another_message_or_a_remote_error(frame: bytes) -> None:
    check_spelling(frame)


@given(judgements)
def test_a_batch_keeps_its_order_and_is_signed_by_one_peer_for_one_job(
    batch: list[Judgement],
) -> None:
    message = Compared.sign(PEER, JOB, batch)
    assert list(message) == batch
    message.check(PEER.key)
    for forged in (
        Compared(JobId(b"k" * 32), message.packed, message.signature),
        Compared(JOB, message.packed + bytes(JUDGEMENT_SIZE), message.signature),
    ):
        with pytest.raises(SignatureError):
            forged.check(PEER.key)
    with pytest.raises(SignatureError):
        message.check(SUBMITTER.key)


def test_a_signature_over_judgements_is_none_over_commits() -> None:
    packed = bytes(80 * JUDGEMENT_SIZE)  # whole records of both kinds
    judged = Compared.sign(PEER, JOB, list(Compared(JOB, packed, b"")))
    with pytest.raises(SignatureError):
        work.Commits(JOB, packed, judged.signature).check(PEER.key)


@given(pairs, st.sampled_from(Opinion))
def test_an_opinion_is_about_the_digests_that_were_shown(pair: Pair, opinion: Opinion) -> None:
    said = pair.judged(opinion)
    assert (said.token, said.index, said.opinion) == (pair.token, pair.index, opinion)
    assert (said.a, said.b) == (pair.a.result.digest, pair.b.result.digest)


def question(a: object, **changed: object) -> bytes:
    """A frame whose first result is ``a``."""
    b = {"contents": [], "result": Result(Ending.EXITED, 0, ()).encode()}
    pair = {"a": a, "b": b, "index": 0, "token": 1} | changed
    return bencode({"job": JOB, "pairs": [pair], "seconds": 1, "t": "compare"})


def test_inline_contents_are_what_their_result_names() -> None:
    good = inline({"one": b"1", "two": b"22"})
    work.parse_from_tracker(question(good.value()))
    for contents in ([b"1"], [b"1", b"2"], [b"x", b"22"], [b"1", b"22", b""], [b"1", 22]):
        with pytest.raises(MalformedError):
            work.parse_from_tracker(question(good.value() | {"contents": contents}))


@pytest.mark.parametrize(
    "contents", [{"big": bytes(INLINE_LIMIT + 1)}, {"a": bytes(4000), "b": bytes(97)}]
)
def test_what_is_too_large_does_not_travel_inline(contents: dict[str, bytes]) -> None:
    with pytest.raises(LimitError):
        work.parse_from_tracker(question(inline(contents).value()))


def test_a_result_must_be_one_and_stand_alone() -> None:
    good = inline({}).value()
    for bad in (good | {"result": b"d1:xi1ee"}, good | {"result": bytes(MAX_RESULT + 1)}, b"", {}):
        with pytest.raises(RemoteError):
            work.parse_from_tracker(question(bad))
    for changed in ({"extra": 1}, {"token": -1}, {"index": 2**63}):
        with pytest.raises(MalformedError):
            work.parse_from_tracker(question(good, **changed))
    with pytest.raises(MalformedError, match="unknown fields"):
        work.parse_from_tracker(question(good | {"extra": 1}))


def test_an_opinion_is_one_of_three() -> None:
    said = Judgement(LeaseToken(1), 0, Digest(bytes(32)), Digest(bytes(32)), Opinion.FAILED)
    frame = bytearray(work.encode(Compared.sign(PEER, JOB, [said, said])))
    at = frame.index(b"9:signature") - 1
    assert frame[at] == Opinion.FAILED
    for place in (at, at - JUDGEMENT_SIZE):
        changed = bytearray(frame)
        changed[place] = 3
        with pytest.raises(MalformedError, match="unknown opinion"):
            work.parse_from_peer(bytes(changed))


def test_batches_have_limits_and_the_largest_fits_into_a_frame() -> None:
    said = Judgement(LeaseToken(1), 0, Digest(bytes(32)), Digest(bytes(32)), Opinion.SAME)
    with pytest.raises(LimitError):
        work.parse_from_peer(work.encode(Compared.sign(PEER, JOB, [said] * (MAX_PAIRS + 1))))
    size = INLINE_LIMIT // MAX_OUTPUTS
    large = inline({f"{at:0100}": bytes([at]) * size for at in range(MAX_OUTPUTS)})
    pair = Pair(LeaseToken(2**63 - 1), 2**63 - 1, large, large)
    most = Compare(JOB, 2**62, (pair,) * MAX_PAIRS)
    room = 2 * MAX_PAIRS * (MAX_RESULT - len(large.result.encode()))
    assert len(work.encode(most)) + room <= work.MAX_FRAME
    assert work.parse_from_tracker(work.encode(most)) == most
    with pytest.raises(LimitError):
        work.parse_from_tracker(work.encode(Compare(JOB, 1, (pair,) * (MAX_PAIRS + 1))))
