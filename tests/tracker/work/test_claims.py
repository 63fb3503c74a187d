"""What peers say that they answer, piece by piece, and anew after a break."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.work.claims import Claim
from workunits.errors import LimitError, MalformedError
from workunits.ids import LeaseToken
from workunits.models.answer import Finish
from workunits.wire.models import Tokens

ONE = LeaseToken(1)


def said(start: int, *ids: int, finish: Finish | None = None) -> Tokens:
    return Tokens(ONE, start, ids, finish)


def heard(*messages: Tokens, hint: tuple[int, ...] = ()) -> Claim:
    claim = Claim(hint)
    for message in messages:
        claim.hear(message, 100)
    return claim


def test_tokens_come_one_after_the_other_to_an_end() -> None:
    claim = heard(said(0, 1, 2), said(2, 3), said(3, finish=Finish.STOP))
    assert claim.ids.tolist() == [1, 2, 3]
    assert claim.finish is Finish.STOP


def test_what_was_given_may_be_left_out_at_the_start_alone() -> None:
    assert heard(said(2, 7), hint=(1, 2, 3)).ids.tolist() == [1, 2, 7]
    assert heard(said(0, 1, 2), said(2, 7), hint=(1, 2, 3)).ids.tolist() == [1, 2, 7]
    with pytest.raises(MalformedError, match="3 are the next"):
        heard(said(4, 7), hint=(1, 2, 3))


@given(st.lists(st.integers(0, 9), max_size=12), st.data())
def test_after_a_break_all_is_said_anew_in_other_pieces_and_nothing_changes(
    ids: list[int], data: st.DataObject
) -> None:
    known = data.draw(st.integers(0, len(ids)))
    claim = heard(said(0, *ids[:known]))
    cuts = sorted({0, len(ids), *data.draw(st.lists(st.integers(0, len(ids)), max_size=3))})
    for start, end in pairwise(cuts):
        claim.hear(said(start, *ids[start:end]), 100)
    for _ in range(2):
        claim.hear(said(len(ids), finish=Finish.LENGTH), 100)
        claim.hear(said(0, *ids, finish=Finish.LENGTH), 100)
    assert claim.ids.tolist() == ids
    assert claim.finish is Finish.LENGTH


@pytest.mark.parametrize(
    "wrong",
    [
        said(4, 9),
        said(0, 1, 9),
        said(0, 1, finish=Finish.STOP),
        said(3, 4),
        said(0, 1, 2, 3, finish=Finish.LENGTH),
    ],
    ids=repr,
)
def test_what_contradicts_what_was_said_is_refused_and_changes_nothing(wrong: Tokens) -> None:
    claim = heard(said(0, 1, 2, 3, finish=Finish.STOP))
    with pytest.raises(MalformedError):
        claim.hear(wrong, 100)
    assert claim.ids.tolist() == [1, 2, 3]
    assert claim.finish is Finish.STOP


def test_no_more_is_taken_than_was_asked_for() -> None:
    claim = heard(said(0, 1, 2))
    with pytest.raises(LimitError):
        claim.hear(said(2, 3, 4), 3)
    assert claim.ids.tolist() == [1, 2]
