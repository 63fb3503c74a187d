"""The lying tracker: which lies an auditor finds, and which rest on the tracker's word."""

import json
from functools import cache
from random import Random

import pytest
from click.testing import CliRunner

from simulator import grid, liar
from simulator.attackers import LYING
from simulator.baselines import BASELINES
from simulator.commands import simulate
from simulator.lies import RULES, WORD, Books
from simulator.scene import Scene
from simulator.world import OPERATOR, World
from validators.audit import Audit
from validators.case import Case
from validators.policies import Accept
from workunits import beacon, entries
from workunits.entries import Verdict
from workunits.errors import AuditError
from workunits.verification import Policy


@cache
def world(policy: Policy = Policy.STRICT) -> World:
    """A small run with bans, disputes and draws."""
    made = World(Scene(policy, LYING, 0.2, 0.3, 60, 20, logged=True, signed=True))
    made.run()
    return made


def books(seed: int = 0, policy: Policy = Policy.STRICT) -> Books:
    """Its ledger, as the operator has it."""
    actors = world(policy).actors.values()
    friends = [each.identity for each in actors if each.identity and not each.member.honest]
    honest = [each.key for each in actors if each.member.honest and not each.member.referee]
    return Books(world(policy).log, OPERATOR, friends, honest, Random(seed))


def found(policy: Policy = Policy.STRICT) -> dict[str, int]:
    """How many lies of each kind are found, of ten."""
    lies = liar.Liar(books(0, policy)).lie(10 * len(liar.KINDS))
    assert all(told == 10 for _, told, _ in lies)
    return {kind: count for kind, _, count in lies}


def test_the_peers_of_a_signed_run_sign_what_an_auditor_checks() -> None:
    audit = Audit(OPERATOR.key)
    for raw in world().log:
        audit.take(raw)
    assert audit.root == world().desk.book.head
    assert audit.on_trust == 0


@pytest.mark.parametrize("policy", [Policy.STRICT, Policy.PAIR])
def test_every_kind_of_lie_is_told_and_found_but_those_that_rest_on_the_trackers_word(
    policy: Policy,
) -> None:
    counts = found(policy)
    assert set(counts) == set(liar.KINDS)
    assert {kind for kind, count in counts.items() if count < 10} <= set(WORD)
    assert {kind for kind, count in counts.items() if count == 0} >= {
        *("unit given up", "commitment voided", "rival set back", "friend not banned")
    }


@pytest.mark.parametrize("kind", RULES | WORD)
def test_every_lie_keeps_to_the_form_of_entries_and_says_something_else(kind: str) -> None:
    for seed in range(3):
        made = books(seed)
        for at in made.rng.choices((RULES | WORD)[kind].places(made), k=5):
            raw = entries.encode((RULES | WORD)[kind].forge(made, at))
            assert entries.encode(entries.parse(raw)) == raw != made.log[at]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("a friend is paid", "other credits"),
        ("right and wrong exchanged", "decides unit"),
        ("audit skipped", "decides unit"),
        ("drawn by choice", "was not drawn"),
        ("commitment forged", "signature"),
        ("link of the beacon chosen", "does not follow"),
        ("final without a verdict", "without a verdict"),
        ("ban invented", "often enough"),
        ("minted without a grant", "grant|signature|not the operator|other credits"),
        ("one grant minted twice", "carried out twice"),
        ("transfer without a word", "signature|other credits"),
        ("refund to a friend", "not decided|not made final|other credits"),
        ("cancelled by a friend", "by who may not"),
    ],
)
def test_a_lie_is_found_for_what_it_is(kind: str, why: str) -> None:
    made = books()
    at = made.rng.choice(RULES[kind].places(made))
    audit = Audit(OPERATOR.key)
    for raw in made.log[:at]:
        audit.take(raw)
    with pytest.raises(AuditError, match=why):
        audit.take(entries.encode(RULES[kind].forge(made, at)))


def test_an_auditor_who_does_not_decide_again_lets_verdicts_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def believe(case: Case, unit: object, entry: Verdict, votes: object) -> None:
        assert Accept(entry.right, entry.wrong)

    monkeypatch.setattr(Case, "_decide", believe)
    counts = found()
    assert counts["audit skipped"] == 0
    assert counts["right and wrong exchanged"] < 10
    assert counts["drawn by choice"] == 10


def test_an_auditor_who_does_not_follow_the_beacon_lets_links_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = liar.Liar(books())
    kinds = {"link of the beacon chosen", "commitment forged"}
    monkeypatch.setattr(liar, "RULES", {kind: RULES[kind] for kind in kinds})
    monkeypatch.setattr(liar, "WORD", {})
    monkeypatch.setattr(beacon, "follows", lambda link, last: True)
    counts = {kind: (told, found) for kind, told, found in made.lie(80)}
    told, got = counts["link of the beacon chosen"]
    assert got < told
    told, got = counts["commitment forged"]
    assert got == told


def test_an_auditor_who_keeps_no_checkpoint_lets_history_be_rewritten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = liar.Liar(books())
    monkeypatch.setattr(liar, "_root", lambda leaves: made.books.log[0])
    monkeypatch.setattr(liar.Liar, "_audit", lambda self, lies: None)
    counts = {kind: found for kind, _, found in made.lie(10 * len(liar.KINDS))}
    assert counts["signed entry changed"] == counts["signed entries exchanged"] == 0
    assert counts["two histories"] == 10


def test_the_same_seed_tells_the_same_lies() -> None:
    scene = Scene(Policy.PAIR, LYING, units=30, peers=10, lies=60)
    first = liar.run(scene)
    assert first == liar.run(scene)
    assert sum(told for _, told, _ in first.lies) == 60


def test_lies_are_told_about_small_runs_of_our_policies_alone() -> None:
    basis = Scene("", "none", units=100_000, peers=5)
    made = grid.cells(basis, grid.POLICIES, [LYING, "none"], [0.2], [0.1])
    lying = [each for each in made if each.attack == LYING]
    assert [each.policy for each in lying] == [each.value for each in Policy]
    assert {each.units for each in lying} == {liar.MAX_UNITS}
    assert {each.policy for each in made} > set(BASELINES)


def test_the_table_says_how_many_lies_were_found_and_names_the_kinds_that_were_not() -> None:
    words = (
        *("--units", "30", "--peers", "10", "--lies", "46", "--attack", LYING),
        *("--policy", "pair", "--policy", "quorum-2"),
    )
    said = CliRunner().invoke(simulate, words)
    assert said.exit_code == 0, said.output
    (row,) = json.loads(CliRunner().invoke(simulate, (*words, "--json")).stdout)
    assert row["lies"] == 46
    assert f"{row['lies_found']}/46" in said.output
    assert "unit given up 0/" in said.output
    assert row["lies_by_kind"]["unit given up"]["found"] == 0
