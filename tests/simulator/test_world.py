"""The world: replayable, balanced, and true to the policies it drives."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.attackers import ATTACKS
from simulator.scene import Scene, Tally
from simulator.world import World
from workunits.verification import Policy


def run(policy: Policy | str, attack: str, **settings: float) -> Tally:
    """Run a small scene."""
    basis: dict[str, float] = {"units": 400, "peers": 40}
    return World(Scene(str(policy), attack, **(basis | settings))).run()  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_same_seed_gives_the_same_run(policy: Policy, attack: str) -> None:
    assert run(policy, attack, units=100) == run(policy, attack, units=100)


def test_another_process_with_other_hashes_gives_the_same_run() -> None:
    code = (
        "from simulator.scene import Scene; from simulator.world import World;"
        "print(World(Scene('pair', 'withholder', units=300, peers=40)).run())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {f"{run('pair', 'withholder', units=300)}\n"}


def test_another_seed_gives_another_run() -> None:
    assert run(Policy.PAIR, "none", seed=1) != run(Policy.PAIR, "none", seed=2)


@pytest.mark.parametrize("policy", Policy)
def test_without_attackers_nothing_wrong_is_accepted_and_nobody_is_banned(policy: Policy) -> None:
    tally = run(policy, "none")
    assert (tally.accepted, tally.wrong, tally.banned, tally.unearned) == (400, 0, 0, 0)


@pytest.mark.parametrize(("policy", "each"), [(Policy.TRUSTED, 1), (Policy.PAIR, 2)])
def test_without_attackers_a_unit_is_executed_as_often_as_the_policy_says(
    policy: Policy, each: int
) -> None:
    tally = run(policy, "none")
    assert tally.executions == tally.paid == each * tally.accepted


@pytest.mark.parametrize("rate", [0.03, 0.3, 1])
def test_a_pair_accepts_nothing_of_independent_saboteurs(rate: float) -> None:
    tally = run(Policy.PAIR, "saboteur", attackers=0.33, sabotage=rate, units=800)
    assert (tally.wrong, tally.unearned) == (0, 0)


def test_trusted_accepts_what_it_gets() -> None:
    tally = run(Policy.TRUSTED, "saboteur", attackers=0.2, sabotage=1)
    assert tally.wrong == tally.unearned > 40


def test_a_clique_gets_through_a_pair() -> None:
    tally = run(Policy.PAIR, "clique", attackers=0.33, sabotage=0.1, units=800)
    assert tally.wrong > 0
    assert tally.unearned >= 2 * tally.wrong


def test_no_copy_is_ever_accepted_even_when_everything_leaks() -> None:
    tally = run(Policy.PAIR, "copycat", attackers=0.33, units=6000, peers=100, rejoin=1.0)
    assert tally.copies > 500
    assert (tally.copies_accepted, tally.unearned, tally.wrong) == (0, 0, 0)
    assert tally.accepted == 6000


@pytest.mark.parametrize("attack", ["inflator", "freeloader", "lazy-validator", "withholder"])
def test_nobody_is_paid_for_what_it_did_not_compute(attack: str) -> None:
    tally = run(Policy.PAIR, attack)
    assert (tally.wrong, tally.unearned) == (0, 0)


def test_an_inflator_gets_what_it_would_get_anyway() -> None:
    inflated, plain = run(Policy.PAIR, "inflator"), run(Policy.PAIR, "none")
    assert (inflated.paid, inflated.executions) == (plain.paid, plain.executions)


@pytest.mark.parametrize("policy", Policy)
def test_every_unit_finishes_when_a_third_withholds(policy: Policy) -> None:
    tally = run(policy, "withholder", attackers=1 / 3)
    assert (tally.accepted, tally.unfinished) == (400, 0)
    assert tally.lost > 0


def test_a_whitewasher_comes_back_until_the_job_is_over() -> None:
    tally = run(Policy.PAIR, "whitewasher", sabotage=1, units=1500)
    assert 50 < tally.identities <= 50 + tally.banned
    assert tally.banned > 8


def test_a_sleeper_that_never_wakes_is_honest() -> None:
    assert run(Policy.PAIR, "sleeper", nap=1000).executions == 800


def test_validators_make_no_first_execution() -> None:
    tally = run(Policy.PAIR, "none", validators=0.5)
    assert tally.executions == 800
    assert tally.makespan > 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(Policy),
    st.sampled_from(sorted(ATTACKS)),
    st.floats(0, 0.6),
    st.floats(0, 1),
    st.integers(1, 80),
    st.integers(2, 30),
    st.integers(0, 1 << 30),
)
def test_the_sum_of_all_accounts_is_what_was_minted(
    policy: Policy, attack: str, f: float, s: float, units: int, peers: int, seed: int
) -> None:
    scene = Scene(str(policy), attack, attackers=f, sabotage=s, units=units, peers=peers, seed=seed)
    tally = World(scene).run()
    assert tally.held == tally.minted
    assert 0 <= tally.unearned <= tally.paid <= tally.minted
    assert tally.accepted + tally.failed + tally.unfinished == units
    assert tally.copies_accepted == 0


def test_fewer_of_a_clique_get_past_referees() -> None:
    def wrong(referees: int) -> int:
        return sum(
            run(Policy.PAIR, "clique", attackers=0.33, referees=referees, seed=seed).wrong
            for seed in range(4)
        )

    assert wrong(20) < wrong(0)


def test_lazy_validators_are_not_paid_and_stop_nothing_while_there_is_a_referee() -> None:
    tally = run(Policy.PAIR, "lazy-validator")
    assert (tally.failed, tally.unearned) == (0, 0)
    assert tally.honest_banned == 0


@pytest.mark.parametrize("policy", [Policy.ECONOMY, Policy.STRICT])
@pytest.mark.parametrize("attack", ["saboteur", "clique", "recanter", "whitewasher"])
def test_checking_lets_through_a_fraction_of_what_trust_does(policy: Policy, attack: str) -> None:
    scene = {"sabotage": 0.3, "units": 3000, "nap": 5}
    checked, trusted = run(policy, attack, **scene), run(Policy.TRUSTED, attack, **scene)
    assert checked.wrong <= trusted.wrong / 20
    assert checked.honest_banned == 0


def test_economy_costs_little_more_than_one_execution_once_peers_are_known() -> None:
    tally = run(Policy.ECONOMY, "none", units=8000)
    assert 1.1 < tally.executions / 8000 < 1.25


def test_a_run_without_a_ledger_is_the_same_run() -> None:
    scene = {"sabotage": 0.3, "units": 600}
    logged, unlogged = (run(Policy.ECONOMY, "clique", logged=on, **scene) for on in (1, 0))
    assert logged.head != unlogged.head
    assert replace(logged, head="") == replace(unlogged, head="")


def test_progress_is_told() -> None:
    told: list[int] = []
    World(Scene("trusted", "none", units=1000, peers=20), told.append).run()
    assert told == sorted(told)
    assert told[-1] == 1000
