"""Every decision of the policies, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validators.cases import NUMERIC, commitment, finding, manifest
from validators import policies
from validators.comparators import comparator, exact
from validators.policies import (
    RULES,
    WRONG_BEFORE_BAN,
    Accept,
    Another,
    Fail,
    Next,
    Verdict,
    after_commit,
    after_reveal,
    is_banned,
    rules,
)
from workunits.verification import Comparator, Policy

ANOTHER, REVEAL = Next.ANOTHER, Next.REVEAL


@pytest.mark.parametrize(
    ("policy", "comparison", "commits", "expected"),
    [
        (Policy.TRUSTED, Comparator(), "", ANOTHER),
        (Policy.TRUSTED, Comparator(), "a", REVEAL),
        (Policy.TRUSTED, NUMERIC, "a", REVEAL),
        (Policy.PAIR, Comparator(), "", ANOTHER),
        (Policy.PAIR, Comparator(), "a", ANOTHER),
        (Policy.PAIR, Comparator(), "aa", REVEAL),
        (Policy.PAIR, Comparator(), "ab", ANOTHER),
        (Policy.PAIR, Comparator(), "abc", ANOTHER),
        (Policy.PAIR, Comparator(), "aba", REVEAL),
        (Policy.PAIR, Comparator(), "abb", REVEAL),
        (Policy.PAIR, Comparator(), "abcd", ANOTHER),
        (Policy.PAIR, Comparator(), "abcde", REVEAL),
        (Policy.PAIR, NUMERIC, "a", ANOTHER),
        (Policy.PAIR, NUMERIC, "ab", REVEAL),
        (Policy.PAIR, NUMERIC, "abc", REVEAL),
    ],
)
def test_after_commit(policy: Policy, comparison: Comparator, commits: str, expected: Next) -> None:
    commitments = [commitment(each.encode()) for each in commits]
    assert after_commit(manifest(policy, comparison), commitments) is expected


@pytest.mark.parametrize(
    ("policy", "results", "expected"),
    [
        (Policy.TRUSTED, "a", Accept((0,), ())),
        (Policy.PAIR, "a", Another()),
        (Policy.PAIR, "aa", Accept((0, 1), ())),
        (Policy.PAIR, "ab", Another()),
        (Policy.PAIR, "aba", Accept((0, 2), (1,))),
        (Policy.PAIR, "abb", Accept((1, 2), (0,))),
        (Policy.PAIR, "aaa", Accept((0, 1), ())),
        (Policy.PAIR, "abab", Accept((0, 2), (1, 3))),
        (Policy.PAIR, "abcd", Another()),
        (Policy.PAIR, "abcde", Fail("5 executions, no 2 of which agree")),
        (Policy.PAIR, "abcda", Accept((0, 4), (1, 2, 3))),
    ],
)
def test_after_reveal(policy: Policy, results: str, expected: Verdict) -> None:
    findings = [finding(each.encode()) for each in results]
    assert after_reveal(manifest(policy), findings, exact) == expected


def test_close_numbers_win_together_though_agreement_is_not_transitive() -> None:
    loose = Comparator(NUMERIC.kind, 0.0, 1.0)
    findings = [finding(each) for each in (b"1.0", b"5", b"2.9", b"2.0")]
    verdict = after_reveal(manifest(Policy.PAIR, loose), findings, comparator(loose))
    assert verdict == Accept((0, 3), (1, 2))


def test_a_result_beyond_the_quorum_is_neither_paid_nor_wrong() -> None:
    findings = [finding(each) for each in (b"a", b"b", b"a", b"a")]
    assert after_reveal(manifest(), findings, exact) == Accept((0, 2), (1,))


@given(st.sampled_from(Policy), st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_a_verdict_pays_the_quorum_and_calls_nobody_both_right_and_wrong(
    policy: Policy, results: list[str]
) -> None:
    job = manifest(policy)
    findings = [finding(each.encode()) for each in results]
    verdict = after_reveal(job, findings, exact)
    if isinstance(verdict, Accept):
        assert len(verdict.winners) == rules(job).quorum
        assert len({results[at] for at in verdict.winners}) == 1
        assert not set(verdict.winners) & set(verdict.losers)
        assert all(results[at] != results[verdict.winners[0]] for at in verdict.losers)
    elif isinstance(verdict, Fail):
        assert len(results) >= rules(job).executions


@given(st.sampled_from(Policy), st.lists(st.sampled_from("abcde"), max_size=5))
def test_an_exact_reveal_always_ends_the_unit(policy: Policy, results: list[str]) -> None:
    """What is asked for under exact comparison is never thrown back for another execution."""
    job = manifest(policy)
    commitments = [commitment(each.encode()) for each in results]
    if after_commit(job, commitments) is Next.REVEAL:
        findings = [finding(each.encode()) for each in results]
        assert not isinstance(after_reveal(job, findings, exact), Another)


def test_every_policy_has_rules_that_can_be_met() -> None:
    assert set(RULES) == set(Policy)
    for each in RULES.values():
        assert 1 <= each.quorum <= each.executions


def test_one_wrong_result_can_be_a_machines_fault_and_three_cannot() -> None:
    assert [is_banned(wrong) for wrong in range(WRONG_BEFORE_BAN + 2)] == (
        [False] * WRONG_BEFORE_BAN + [True, True]
    )


@pytest.mark.parametrize(
    ("right", "failures", "doubtful"),
    [(0, 0, False), (0, 2, False), (0, 3, True), (2, 3, True), (3, 3, False), (100, 50, False)],
)
def test_who_fails_more_often_than_it_is_right_is_doubtful(
    right: int, failures: int, doubtful: bool
) -> None:
    assert policies.is_doubtful(right, failures) is doubtful
