"""Entries about units: what a verdict says, what goes without saying, and what is refused."""

import pytest

from tests.workunits.ledger.kinds import CAST, EXAMPLES, JOB, change, check_limit, value_of
from workunits import entries
from workunits.entries import MAX_CAST, Verdict
from workunits.errors import LimitError, MalformedError
from workunits.ids import LeaseToken
from workunits.ledger.work import MAX_DRAWS, MAX_PACKED, MAX_RINGERS
from workunits.results import MAX_RESULT

MAX_REASON = 200
SILENT = b"".join(at.to_bytes(8, "big") for at in range(MAX_CAST))
VOID = b"".join(at.to_bytes(2, "big") for at in range(MAX_DRAWS))
SAYS_ALL = {"right": b"\x00", "wrong": b"\x01", "silent": bytes(8), "known": 1}
GOES_WITHOUT_SAYING = [
    {"right": b"\x00\x01"},
    {"wrong": b""},
    {"silent": b""},
    {"known": 0},
]


def cast(*results: int) -> bytes:
    return b"".join(bytes(32) + bytes(8) + bytes([result]) for result in results)


def drawn(referee: int) -> bytes:
    return bytes(8) + bytes([referee]) + bytes(32)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("commits", {"job": bytes(31)}),
        ("commits", {"peer": bytes(33)}),
        ("commits", {"signature": bytes(63)}),
        ("commits", {"link": b""}),
        ("commits", {"link": bytes(33)}),
        ("commits", {"void": b"x"}),
        ("commits", {"void": bytes(5)}),
        ("draws", {"draws": drawn(2)}),
        ("draws", {"draws": drawn(1) + drawn(255)}),
        ("draws", {"draws": drawn(0)[:-1]}),
        ("draws", {"draws": drawn(0) + b"x"}),
        ("draws", {"link": bytes(31)}),
        ("verdict", {"cast": cast(0, 0)[:-1]}),
        ("verdict", {"cast": cast(0, 1)}),
        ("verdict", {"cast": b"", "right": b""}),
        ("verdict", {"cast": []}),
        ("verdict", {"results": []}),
        ("verdict", {"results": [1]}),
        ("verdict", {"right": b"\x01\x00"}),
        ("verdict", {"right": b"\x00\x00"}),
        ("verdict", {"right": b"\x02"}),
        ("verdict", {"wrong": b"\x02"}),
        ("verdict", {"wrong": b"\x01\x00"}),
        ("verdict", {"wrong": [1]}),
        ("verdict", {"index": -1}),
        ("verdict", {"index": b"0"}),
        ("verdict", {"silent": bytes(7)}),
        ("verdict", {"silent": bytes(9)}),
        ("verdict", {"silent": [1]}),
        ("verdict", {"known": 2}),
        ("verdict", {"known": b"1"}),
        ("failed", {"job": bytes(31)}),
        ("failed", {"index": -1}),
        ("failed", {"index": b"0"}),
        ("failed", {"reason": b"\xff"}),
        ("failed", {"reason": 1}),
        ("known", {"job": b""}),
    ],
)
def test_what_an_entry_about_units_may_not_say_is_refused(
    kind: str, changes: dict[str, object]
) -> None:
    with pytest.raises(MalformedError):
        entries.parse(change(kind, changes))


def test_nobody_is_both_right_and_wrong() -> None:
    for changes in ({"wrong": b"\x01"}, {"right": b"\x00", "wrong": b"\x00\x01"}):
        with pytest.raises(MalformedError, match="both right and wrong"):
            entries.parse(change("verdict", changes))


def test_a_verdict_in_which_all_are_right_says_no_more_than_who_gave_what() -> None:
    assert set(value_of(EXAMPLES["verdict"])) == {b"cast", b"index", b"job", b"results", b"t"}
    assert entries.parse(change("verdict", {})) == EXAMPLES["verdict"]


@pytest.mark.parametrize("field", SAYS_ALL)
def test_each_field_of_a_verdict_stands_alone(field: str) -> None:
    beside = {"right": b"\x00"} if field == "wrong" else {}
    raw = change("verdict", {field: SAYS_ALL[field]} | beside)
    said = entries.parse(raw)
    assert isinstance(said, Verdict)
    assert entries.encode(said) == raw
    assert (said.right, said.wrong) == {
        "right": ((0,), ()),
        "wrong": ((0,), (1,)),
    }.get(field, ((0, 1), ()))


def test_a_verdict_says_all_that_it_can() -> None:
    said = entries.parse(change("verdict", SAYS_ALL))
    silent = (LeaseToken(0),)
    assert said == Verdict((), JOB, 0, CAST, (b"r",), (0,), (1,), silent, known=True)


@pytest.mark.parametrize("superfluous", GOES_WITHOUT_SAYING)
@pytest.mark.parametrize("beside", [{}, SAYS_ALL])
def test_a_verdict_that_says_what_goes_without_saying_is_refused(
    superfluous: dict[str, object], beside: dict[str, object]
) -> None:
    with pytest.raises(MalformedError):
        entries.parse(change("verdict", beside | superfluous))


@pytest.mark.parametrize(
    "changes",
    [
        {"cast": b"", "results": []},
        {"results": [b"r", b"s"]},
        {"cast": cast(0) + cast(1), "results": [b"r", b"r"]},
    ],
)
def test_every_execution_has_a_result_and_every_result_one(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError, match="every result one"):
        entries.parse(change("verdict", changes))


@pytest.mark.parametrize(
    ("kind", "changes", "over"),
    [
        ("commits", {"commits": bytes(MAX_PACKED)}, b"x"),
        ("commits", {"void": VOID}, (MAX_DRAWS).to_bytes(2, "big")),
        ("draws", {"draws": drawn(1) * MAX_DRAWS}, drawn(0)),
        ("verdict", {"cast": cast(0) * MAX_CAST}, cast(0)),
        ("verdict", {"silent": SILENT}, MAX_CAST.to_bytes(8, "big")),
        ("failed", {"reason": b"r" * MAX_REASON}, b"r"),
        ("known", {"ringers": bytes(MAX_RINGERS)}, b"x"),
    ],
)
def test_an_entry_about_units_at_a_limit_is_read_and_one_beyond_it_is_over_the_limit(
    kind: str, changes: dict[str, bytes], over: bytes
) -> None:
    check_limit(kind, changes, over)


def test_a_result_in_a_verdict_is_no_larger_than_any_result() -> None:
    entries.parse(change("verdict", {"results": [bytes(MAX_RESULT)]}))
    with pytest.raises(LimitError):
        entries.parse(change("verdict", {"results": [bytes(MAX_RESULT + 1)]}))
