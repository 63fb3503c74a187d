"""Scores: what is confirmed counts, and fades."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validators.cases import manifest
from validators.reputation import HALF_LIFE, STRIKES, Score, kind_of, trust_of
from workunits.ids import PeerKey
from workunits.manifest import Manifest, Program
from workunits.parameters import Range, Sweep
from workunits.verification import Policy

walls = st.floats(0, 4e9)
spans = st.floats(0, 100 * HALF_LIFE)


def score(*walls: float) -> Score:
    found = Score()
    for wall in walls:
        found.add(wall)
    return found


def test_nothing_is_worth_nothing_at_any_time() -> None:
    assert [Score().worth(wall) for wall in (0, 1e9)] == [0, 0]


@pytest.mark.parametrize(
    ("half_lives", "left"), [(0, 8.0), (1, 4.0), (2, 2.0), (3, 1.0), (0.5, 5.657)]
)
def test_half_of_a_score_is_forgotten_in_each_half_life(half_lives: float, left: float) -> None:
    found = score(*[1e9] * 8)
    assert found.worth(1e9 + half_lives * HALF_LIFE) == pytest.approx(left, abs=1e-3)


def test_asking_does_not_change_a_score() -> None:
    found = score(0, 0)
    assert found.worth(HALF_LIFE) == found.worth(HALF_LIFE) == 1
    assert found == Score(2, 0)


@given(st.lists(walls, max_size=20), walls, spans)
def test_a_score_only_fades_and_is_never_more_than_what_was_counted(
    times: list[float], wall: float, span: float
) -> None:
    found = score(*sorted(times))
    assert 0 <= found.worth(wall + span) <= found.worth(wall) <= len(times)


@given(st.lists(walls, max_size=20), spans)
def test_one_more_adds_one_to_what_is_left(times: list[float], span: float) -> None:
    found = score(*sorted(times))
    wall = max(times, default=0.0) + span
    before = found.worth(wall)
    found.add(wall)
    assert found.worth(wall) == pytest.approx(before + 1)


@given(st.integers(1, 50), walls, spans)
def test_a_clock_that_went_back_adds_nothing(count: int, wall: float, back: float) -> None:
    assert score(*[wall] * count).worth(wall - back) == count


@given(st.lists(walls, max_size=30), walls, st.integers(1, 30))
def test_nobody_reaches_a_count_with_less_work_than_that(
    times: list[float], wall: float, count: int
) -> None:
    if score(*sorted(times)).reaches(count, wall):
        assert len(times) >= count


@pytest.mark.parametrize(
    ("amount", "count", "reached"),
    [
        (10.0, 10, True),
        (9.6, 10, True),
        (9.5, 10, False),
        (9.4, 10, False),
        (0.0, 0, True),
        (0.0, 1, False),
        (0.6, 1, True),
    ],
)
def test_a_count_is_reached_give_or_take_half_of_one(
    amount: float, count: int, reached: bool
) -> None:
    assert Score(amount, 5.0).reaches(count, 5.0) is reached


def test_ten_confirmed_within_two_days_are_ten_and_within_a_half_life_are_not() -> None:
    day = 24 * 3600
    assert score(*[at * 2 * day / 9 for at in range(10)]).reaches(10, 2 * day)
    assert not score(*[at * HALF_LIFE / 9 for at in range(10)]).reaches(10, HALF_LIFE)


def test_three_wrong_results_in_a_week_ban_and_three_in_half_a_year_do_not() -> None:
    day = 24 * 3600
    for gap, banned in ((0, True), (3 * day, True), (60 * day, False), (90 * day, False)):
        times = [at * gap for at in range(STRIKES)]
        assert score(*times).reaches(STRIKES, times[-1]) is banned
        assert not score(*times[:-1]).reaches(STRIKES, times[-2])


def test_a_strike_a_month_never_bans_and_a_strike_a_week_does() -> None:
    for gap, banned in ((HALF_LIFE, False), (HALF_LIFE / 4, True)):
        found = score(*[at * gap for at in range(100)])
        assert found.reaches(STRIKES, 99 * gap) is banned


# -- kinds of work --------------------------------------------------------------------------


def with_program(image: str, *command: str) -> Manifest:
    return replace(manifest(), program=Program(image, command))


def test_the_kind_of_work_is_the_image_and_the_command_whatever_else_a_job_says() -> None:
    one = manifest()
    other = replace(
        manifest(Policy.STRICT),
        name="other",
        nonce=b"m" * 16,
        price=7,
        parameters=Sweep((Range("p", 5, 1, 99),)),
    )
    assert kind_of(one) == kind_of(other)
    assert len(kind_of(one)) == 32


def test_another_image_or_command_is_another_kind_of_work() -> None:
    programs = [
        ("sha256:a", "run", "{p}"),
        ("sha256:b", "run", "{p}"),
        ("sha256:a", "run", "{q}"),
        ("sha256:a", "run{p}"),
        ("sha256:a", "run", "{p}", ""),
        ("sha256:a", "{p}", "run"),
        ("sha256:ar", "un", "{p}"),
    ]
    assert len({kind_of(with_program(*each)) for each in programs}) == len(programs)


def test_trust_is_of_one_kind_of_work_for_one_submitter() -> None:
    one = manifest()
    stranger = replace(one, submitter=PeerKey(b"x" * 32))
    assert trust_of(one) == trust_of(replace(one, name="other", nonce=b"m" * 16))
    assert kind_of(one) == kind_of(stranger)
    assert trust_of(one) != trust_of(stranger)
    assert trust_of(one) != trust_of(with_program("sha256:b", "run"))
    assert trust_of(one) != kind_of(one)
