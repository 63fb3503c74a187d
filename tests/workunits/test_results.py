"""Results, commitments and seals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import keys, results
from workunits.canonical import decode, encode
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.ids import BlobRef, Digest, JobId, PeerKey, UnitId
from workunits.parameters import NamedBlob
from workunits.results import MAX_RESULT, Ending, Result, check_inline, commitment, seal

UNIT = UnitId(JobId(b"j" * 32), 7)
OUT = NamedBlob("out.txt", BlobRef(b"2" * 32, b"1" * 20, 3))
LOG = NamedBlob("log.txt", BlobRef(b"3" * 32, b"4" * 20, 2))


@given(results())
def test_a_result_round_trips(result: Result) -> None:
    raw = result.encode()
    assert Result.parse(raw) == result
    assert Result.digest_of(raw) == result.digest


@given(results(), st.data())
def test_a_mutated_result_is_another_one_or_a_remote_error(
    result: Result, data: st.DataObject
) -> None:
    raw = bytearray(result.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = Result.parse(bytes(raw))
    except RemoteError:
        return
    assert parsed.encode() == bytes(raw)


@pytest.mark.parametrize(
    "change",
    [
        {b"ending": b"bored"},
        {b"exit": 256},
        {b"exit": -1},
        {b"outputs": [OUT.value(), LOG.value()]},
        {b"outputs": [OUT.value(), OUT.value()]},
        {b"outputs": [OUT.value() | {"name": "../x"}]},
        {b"outputs": [OUT.value() | {"v2": b"short"}]},
        {b"extra": 1},
    ],
)
def test_a_result_that_breaks_a_rule_is_refused(change: dict[bytes, object]) -> None:
    value = decode(Result(Ending.EXITED, 0, (OUT,)).encode(), limit=MAX_RESULT)
    assert isinstance(value, dict)
    with pytest.raises(MalformedError):
        Result.parse(encode(value | change))


def test_a_result_over_its_limit_is_not_looked_at() -> None:
    with pytest.raises(LimitError):
        Result.parse(b"d" * (MAX_RESULT + 1))


def test_why_a_unit_failed_is_said() -> None:
    declared = ("log.txt", "out.txt")
    assert Result(Ending.EXITED, 0, (LOG, OUT)).failure(declared) == ""
    assert Result(Ending.EXITED, 3, (LOG, OUT)).failure(declared) == "exit status 3"
    assert Result(Ending.MEMORY, 137, ()).failure(declared) == "over its memory limit"
    assert Result(Ending.EXITED, 0, (LOG,)).failure(declared) == "output missing: out.txt"


def test_equal_results_have_equal_commitments_and_each_peer_its_own_seal() -> None:
    digest = Result(Ending.EXITED, 0, (OUT,)).digest
    one, other = PeerKey(b"a" * 32), PeerKey(b"b" * 32)
    assert commitment(UNIT, digest) == commitment(UNIT, digest)
    assert seal(one, UNIT, digest) != seal(other, UNIT, digest)


@given(keys, keys, st.binary(min_size=32, max_size=32), st.integers(0, 2**63))
def test_a_copied_commit_cannot_be_revealed(
    honest: PeerKey, copycat: PeerKey, digest: bytes, index: int
) -> None:
    """Whoever reveals must show a digest that gives both the commitment and its own seal."""
    unit = UnitId(UNIT.job, index)
    shown = (commitment(unit, Digest(digest)), seal(honest, unit, Digest(digest)))
    assert (shown[1] == seal(copycat, unit, Digest(digest))) == (honest == copycat)


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_a_commitment_is_for_one_unit_only(one: int, other: int) -> None:
    digest = Digest(b"d" * 32)
    units = UnitId(UNIT.job, one), UnitId(UNIT.job, other)
    assert (commitment(units[0], digest) == commitment(units[1], digest)) == (one == other)
    assert commitment(units[0], digest) != seal(PeerKey(b""), units[0], digest)


def test_inline_contents_must_be_as_long_as_the_result_says() -> None:
    result = Result(Ending.EXITED, 0, (LOG, OUT))
    check_inline(result, (b"ab", b"abc"), 5)
    for contents in ((), (b"ab",), (b"abc", b"ab"), (b"ab", b"abc", b"")):
        with pytest.raises(MalformedError, match="do not match"):
            check_inline(result, contents, 5)
    with pytest.raises(LimitError, match="over 4 bytes"):
        check_inline(result, (b"ab", b"abc"), 4)
