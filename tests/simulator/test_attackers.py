"""Attackers do what their names say."""

from collections import Counter
from random import Random

import pytest

from simulator.attackers import ATTACKS, HONEST, SHARED, TRUE, Behaviour, Recipe


def attacker(name: str, number: int = 0, sabotage: float = 0.1) -> Behaviour:
    rng = Random(number)
    return ATTACKS[name].make(Recipe(number, sabotage, 5, rng, b"the clique's secret"))


@pytest.mark.parametrize("name", ["saboteur", "clique", "whitewasher", "whitewashing-clique"])
def test_a_saboteur_lies_at_its_rate(name: str) -> None:
    one = attacker(name)
    lies = sum(one.meet(index).answer != TRUE for index in range(20_000))
    assert 1800 < lies < 2200


def test_two_saboteurs_never_agree_on_a_lie() -> None:
    one, two = (attacker("saboteur", number, 1) for number in (0, 1))
    assert all(one.meet(index).answer != two.meet(index).answer for index in range(100))


def test_a_clique_agrees_on_every_unit() -> None:
    one, two = (attacker("clique", number) for number in (0, 1))
    answers = [(one.meet(index).answer, two.meet(index).answer) for index in range(1000)]
    assert set(answers) == {(TRUE, TRUE), (SHARED, SHARED)}


def test_a_sleeper_naps_and_wakes() -> None:
    one = attacker("sleeper", sabotage=1)
    assert [one.meet(index) == HONEST for index in range(7)] == [True] * 5 + [False] * 2


@pytest.mark.parametrize("name", ["freeloader", "lazy-validator"])
def test_garbage_is_never_the_same_twice(name: str) -> None:
    made = Counter(
        one.meet(3).answer for one in (attacker(name, number) for number in range(5)) for _ in "abc"
    )
    assert set(made.values()) == {1}
    assert TRUE not in made


def test_only_whitewashers_and_copycats_return_and_only_lazy_validators_validate() -> None:
    made = {name: attacker(name) for name in ATTACKS}
    assert {name for name, one in made.items() if one.returns} == {
        "whitewasher",
        *("whitewashing-clique", "copycat"),
    }
    assert {name for name, one in made.items() if one.validator} == {"lazy-validator"}


def test_only_a_computed_truth_earns() -> None:
    assert HONEST.earns
    for name in ("clique", "freeloader"):
        assert not attacker(name, sabotage=1).meet(0).earns
