"""The baselines follow the rules that were published."""

from math import e

import pytest

from simulator.attackers import Deed
from simulator.baselines import BASELINES, Adaptive, Credibility, Replication, run
from simulator.crew import behaviour, crew
from simulator.pool import Host, Vote
from simulator.scene import Scene, Tally


def play(policy: str, attack: str, **settings: float) -> Tally:
    basis: dict[str, float] = {"units": 3000, "peers": 60}
    return run(Scene(policy, attack, **(basis | settings)))  # type: ignore[arg-type]


def hosts(scene: Scene) -> list[Host]:
    members = crew(scene)
    return [Host(each.number, each, 0, behaviour(scene, each, 0)) for each in members]


@pytest.mark.parametrize("policy", BASELINES)
@pytest.mark.parametrize("attack", ["none", "clique", "whitewasher", "withholder", "freeloader"])
def test_the_same_seed_gives_the_same_run_and_every_unit_a_verdict(
    policy: str, attack: str
) -> None:
    tally = play(policy, attack, units=500)
    assert tally == play(policy, attack, units=500)
    assert tally.accepted + tally.failed == 500
    assert tally.unfinished == 0


@pytest.mark.parametrize(("policy", "each"), [("quorum-2", 2), ("quorum-3", 3)])
def test_a_quorum_costs_its_number(policy: str, each: int) -> None:
    tally = play(policy, "none")
    assert (tally.executions, tally.wrong, tally.paid) == (3000 * each, 0, 3000 * each)


def test_two_of_a_clique_or_two_of_three_get_through_a_quorum_of_two() -> None:
    f = 0.2
    tally = play("quorum-2", "clique", attackers=f, sabotage=1, units=10_000, peers=200)
    assert tally.wrong / tally.accepted == pytest.approx(f**2 * (3 - 2 * f), rel=0.2)


def test_adaptive_replication_trusts_after_ten_valid_results_and_never_quite() -> None:
    scene = Scene("boinc-adaptive", "none", units=20, peers=2)
    rule, host = Adaptive(scene), hosts(scene)[0]
    host.valid = 9
    assert not any(rule._trusts(host) for _ in range(200))
    host.valid = 10
    assert 850 < sum(rule._trusts(host) for _ in range(1000)) < 950
    rule._judge(host, valid=False)
    assert host.valid == 0


def test_adaptive_replication_is_cheap_and_lets_a_tenth_of_the_clique_through() -> None:
    tally = play("boinc-adaptive", "clique", attackers=0.2, sabotage=0.1, units=20_000)
    assert 1.0 < tally.executions / tally.accepted < 1.2
    assert 0.01 < tally.wrong / tally.accepted < 0.03


def test_credibility_is_sarmentas_formula() -> None:
    rule = Credibility(Scene("sarmenta", "none", units=2, peers=2))
    assert rule.worker(0) == 0.8
    assert rule.worker(10) == pytest.approx(1 - 0.25 / (10 * e))
    assert rule.worker(91) < rule.THRESHOLD <= rule.worker(92)


def test_a_group_of_two_is_more_credible_than_one_and_a_contradiction_less() -> None:
    scene = Scene("sarmenta", "none", units=3, peers=3)
    rule, (one, two, three) = Credibility(scene), hosts(scene)[:3]
    for host in (one, two, three):
        host.valid = 10
    task = rule.tasks[0]
    rule.came(task, Vote(one, Deed()))
    assert task.answer is None
    rule.came(task, Vote(two, Deed(1)))
    assert task.answer is None
    rule.came(task, Vote(three, Deed()))
    assert task.answer is None
    both = rule.tasks[1]
    rule.came(both, Vote(one, Deed()))
    rule.came(both, Vote(two, Deed()))
    assert both.answer == 0


def test_who_fails_a_spot_check_loses_what_it_did() -> None:
    scene = Scene("sarmenta", "none", units=1, peers=2)
    rule, (one, two) = Credibility(scene), hosts(scene)
    one.valid = two.valid = 10
    task = rule.tasks[0]
    for host in (one, two):
        task.hosts.add(host.number)
        rule.came(task, Vote(host, Deed()))
    assert rule.open == 0
    rule._blacklist(one)
    assert (task.answer, rule.open, one.banned) == (None, 1, True)
    assert rule.take(two) is not task


def test_sarmenta_bans_no_honest_host() -> None:
    tally = play("sarmenta", "clique", sabotage=0.3)
    assert tally.honest_banned == 0
    assert tally.banned > 0


def test_a_majority_of_three_is_two() -> None:
    scene = Scene("quorum-3", "none", units=1, peers=4)
    rule, found = Replication(scene, 3), hosts(scene)
    task = rule.take(found[0])
    assert task is not None
    for host, answer in zip(found, (0, 7, 0), strict=False):
        rule.came(task, Vote(host, Deed(answer)))
    assert (task.answer, rule.open) == (0, 0)


def test_sarmenta_keeps_its_promise_when_the_first_round_takes_hours() -> None:
    tally = play("sarmenta", "clique", sabotage=0.01, units=20_000, peers=40)
    assert tally.unfinished == 0
    assert tally.wrong / tally.accepted <= 1 - Credibility.THRESHOLD
    assert tally.executions / tally.accepted < 2
