"""The transition tables: every state can be reached, the last ones are last, the rest raises."""

from collections.abc import Mapping
from itertools import product
from typing import TypeVar

import pytest

from tracker.work.table import (
    EXECUTION,
    UNIT,
    Act,
    Doing,
    IllegalTransitionError,
    Stage,
    Turn,
    next_doing,
    next_stage,
)
from workunits.errors import Blame

_S = TypeVar("_S", Doing, Stage)
_A = TypeVar("_A", Act, Turn)


def reachable(table: Mapping[tuple[_S, _A], _S], start: _S) -> set[_S]:
    found, look = {start}, [start]
    while look:
        state = look.pop()
        new = {to for (one, _), to in table.items() if one is state} - found
        found |= new
        look += new
    return found


def test_every_state_of_an_execution_can_be_reached() -> None:
    assert reachable(EXECUTION, Doing.LEASED) == set(Doing)


def test_every_state_of_a_unit_can_be_reached() -> None:
    assert reachable(UNIT, Stage.OPEN) == set(Stage)


def test_every_act_and_turn_is_used() -> None:
    assert {act for _, act in EXECUTION} == set(Act)
    assert {turn for _, turn in UNIT} == set(Turn)


def test_the_end_states_have_no_way_out_and_every_other_state_leads_to_one() -> None:
    ends = {Doing.RIGHT, Doing.WRONG, Doing.SPARE, Doing.RELEASED, Doing.EXPIRED}
    ends |= {Doing.REVOKED, Doing.STRUCK}
    assert {state for state in Doing if not any(one is state for one, _ in EXECUTION)} == ends
    for state in Doing:
        assert reachable(EXECUTION, state) & ends
    over = {Stage.ACCEPTED, Stage.FAILED, Stage.CANCELLED}
    assert {stage for stage in Stage if not any(one is stage for one, _ in UNIT)} == over
    for stage in Stage:
        assert reachable(UNIT, stage) & over


@pytest.mark.parametrize(("state", "act"), list(product(Doing, Act)))
def test_an_execution_moves_along_the_table_or_not_at_all(state: Doing, act: Act) -> None:
    if (state, act) in EXECUTION:
        assert next_doing(state, act) is EXECUTION[state, act]
    else:
        with pytest.raises(IllegalTransitionError, match="an execution that is") as caught:
            next_doing(state, act)
        assert caught.value.blame is Blame.OURS


@pytest.mark.parametrize(("stage", "turn"), list(product(Stage, Turn)))
def test_a_unit_moves_along_the_table_or_not_at_all(stage: Stage, turn: Turn) -> None:
    if (stage, turn) in UNIT:
        assert next_stage(stage, turn) is UNIT[stage, turn]
    else:
        with pytest.raises(IllegalTransitionError, match="a unit that is"):
            next_stage(stage, turn)


def test_only_a_commitment_can_be_revealed_and_only_when_asked() -> None:
    assert {state for state, act in EXECUTION if act is Act.REVEAL} == {Doing.ASKED}
    assert {state for state, act in EXECUTION if act is Act.ASK} == {Doing.COMMITTED}
    assert {state for state, act in EXECUTION if act is Act.WIN} == {Doing.HELD}
