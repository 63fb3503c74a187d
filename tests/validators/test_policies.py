"""Every decision of the policies, as tables, and what no decision may ever do.

A vote is a letter: a peer's result is small, a referee's is capital, equal letters agree.
"""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.validators.cases import commitment
from validators import policies
from validators.draw import LOTS
from validators.policies import (
    FAILURES_BEFORE_DOUBT,
    Accept,
    Another,
    By,
    Demand,
    Fail,
    before_reveal,
    decide,
    demand,
    is_verified,
)
from validators.settings import SETTINGS, Settings
from workunits.verification import Policy

ECONOMY, STRICT, PAIR, TRUSTED = Policy.ECONOMY, Policy.STRICT, Policy.PAIR, Policy.TRUSTED
PEER, REFEREE = Another(By.PEER), Another(By.REFEREE)
ONE, TWO, THREE = Demand(1, False), Demand(2, False), Demand(3, False)
ONE_JUDGED, TWO_JUDGED, THREE_JUDGED = Demand(1, True), Demand(2, True), Demand(3, True)

lots = st.integers(0, LOTS - 1)
wanteds = st.builds(Demand, st.integers(1, 3), st.booleans())
ballots = st.text("abcABC", max_size=9)
landslides = st.lists(st.sampled_from("aaaaaabcA"), max_size=9).map("".join)
any_settings = st.builds(
    Settings,
    copies=st.integers(1, 2),
    probation=st.sampled_from([0, 10]),
    audit=st.integers(0, 1000),
    referee=st.integers(0, 1000),
    lead=st.integers(1, 3),
    executions=st.integers(1, 12),
)


def groups_of(votes: str) -> list[tuple[int, ...]]:
    """Who agrees with whom when only equal results do."""
    small = votes.lower()
    return [tuple(at for at, other in enumerate(small) if other == one) for one in small]


def close_groups(results: Sequence[int]) -> list[tuple[int, ...]]:
    """Who agrees with whom when neighbours do: a relation that is not transitive."""
    return [
        tuple(at for at, other in enumerate(results) if abs(one - other) <= 1) for one in results
    ]


def referees_of(votes: str) -> list[bool]:
    return [vote.isupper() for vote in votes]


def judge(settings: Settings, wanted: Demand, votes: str) -> policies.Verdict:
    return decide(settings, wanted, groups_of(votes), referees_of(votes))


def blind(settings: Settings, wanted: Demand, votes: str, *, exact: bool) -> Another | None:
    commitments = [commitment(vote.encode()) for vote in votes.lower()]
    return before_reveal(settings, wanted, commitments, referees_of(votes), exact=exact)


# -- demand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "lot", "proven", "reopened", "expected"),
    [
        (ECONOMY, 0, True, False, ONE_JUDGED),
        (ECONOMY, 49, True, False, ONE_JUDGED),
        (ECONOMY, 50, True, False, TWO),
        (ECONOMY, 149, True, False, TWO),
        (ECONOMY, 150, True, False, ONE),
        (ECONOMY, 999, True, False, ONE),
        (ECONOMY, 0, False, False, TWO_JUDGED),
        (ECONOMY, 100, False, False, TWO),
        (ECONOMY, 999, False, False, TWO),
        (ECONOMY, 0, True, True, TWO_JUDGED),
        (ECONOMY, 100, True, True, TWO),
        (ECONOMY, 999, True, True, TWO),
        (ECONOMY, 999, False, True, TWO),
        (STRICT, 0, True, False, TWO_JUDGED),
        (STRICT, 99, True, False, TWO_JUDGED),
        (STRICT, 100, True, False, TWO),
        (STRICT, 999, True, False, TWO),
        (STRICT, 0, False, False, THREE_JUDGED),
        (STRICT, 999, False, False, THREE),
        (STRICT, 999, True, True, TWO),
        (STRICT, 999, False, True, THREE),
        (PAIR, 0, True, False, TWO),
        (PAIR, 999, False, False, TWO),
        (PAIR, 0, False, True, TWO),
        (TRUSTED, 0, True, False, ONE),
        (TRUSTED, 999, False, False, ONE),
        (TRUSTED, 0, False, True, TWO),
    ],
)
def test_what_a_unit_needs(
    policy: Policy, lot: int, proven: bool, reopened: bool, expected: Demand
) -> None:
    assert demand(SETTINGS[policy], lot, proven=proven, reopened=reopened) == expected


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_lots_give_referees_their_share_and_audits_theirs_after_it(
    referee: int, audit: int
) -> None:
    settings = Settings(copies=1, audit=audit, referee=referee)
    wanted = [demand(settings, lot, proven=True, reopened=False) for lot in range(LOTS)]
    audited = min(audit, LOTS - referee)
    assert wanted == [ONE_JUDGED] * referee + [TWO] * audited + [ONE] * (LOTS - referee - audited)


@given(any_settings, lots, st.booleans())
def test_who_is_on_probation_gets_at_least_one_more_copy_than_the_policy_has(
    settings: Settings, lot: int, reopened: bool
) -> None:
    believed = demand(settings, lot, proven=True, reopened=reopened)
    doubted = demand(settings, lot, proven=False, reopened=reopened)
    assert doubted.referee == believed.referee
    assert doubted.copies >= max(believed.copies, settings.copies + (settings.probation > 0))


@given(any_settings, lots, st.booleans(), st.booleans())
def test_no_lot_adds_more_than_one_copy_and_one_referee(
    settings: Settings, lot: int, proven: bool, reopened: bool
) -> None:
    wanted = demand(settings, lot, proven=proven, reopened=reopened)
    assert settings.copies <= wanted.copies <= settings.copies + 1
    assert wanted.copies >= 2 or not reopened
    assert wanted.votes == wanted.copies + wanted.referee


@pytest.mark.parametrize("policy", [ECONOMY, STRICT, PAIR, TRUSTED])
def test_a_unit_never_needs_more_votes_than_its_policy_has_executions(policy: Policy) -> None:
    settings = SETTINGS[policy]
    for lot in range(LOTS):
        for proven in (False, True):
            for reopened in {False, settings.batch > 1}:
                wanted = demand(settings, lot, proven=proven, reopened=reopened)
                assert wanted.votes <= settings.executions


# -- before the reveal ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "wanted", "votes", "expected"),
    [
        (TRUSTED, ONE, "", PEER),
        (TRUSTED, ONE, "a", None),
        (PAIR, TWO, "a", PEER),
        (PAIR, TWO, "aa", None),
        (PAIR, TWO, "ab", REFEREE),
        (PAIR, TWO, "abc", REFEREE),
        (PAIR, TWO, "aba", None),
        (PAIR, TWO, "abcd", REFEREE),
        (PAIR, TWO, "abcde", None),
        (PAIR, TWO, "abC", None),
        (ECONOMY, ONE, "a", None),
        (ECONOMY, ONE, "A", None),
        (ECONOMY, ONE_JUDGED, "a", REFEREE),
        (ECONOMY, ONE_JUDGED, "aa", None),
        (ECONOMY, ONE_JUDGED, "aA", None),
        (ECONOMY, ONE_JUDGED, "aB", None),
        (ECONOMY, ONE_JUDGED, "A", PEER),
        (ECONOMY, TWO, "ab", REFEREE),
        (ECONOMY, TWO, "aba", REFEREE),
        (ECONOMY, TWO, "abaa", None),
        (STRICT, THREE_JUDGED, "aa", PEER),
        (STRICT, THREE_JUDGED, "aaa", REFEREE),
        (STRICT, THREE_JUDGED, "aaaA", None),
        (STRICT, THREE, "aA", PEER),
        (STRICT, THREE, "aAa", None),
    ],
)
def test_before_the_reveal_under_exact_comparison(
    policy: Policy, wanted: Demand, votes: str, expected: Another | None
) -> None:
    assert blind(SETTINGS[policy], wanted, votes, exact=True) == expected


@pytest.mark.parametrize(
    ("wanted", "votes", "expected"),
    [
        (ONE, "", PEER),
        (ONE, "a", None),
        (TWO, "a", PEER),
        (TWO, "A", PEER),
        (TWO, "ab", None),
        (TWO, "abc", None),
        (ONE_JUDGED, "a", REFEREE),
        (ONE_JUDGED, "A", PEER),
        (ONE_JUDGED, "aB", None),
        (TWO_JUDGED, "ab", REFEREE),
        (TWO_JUDGED, "abc", None),
        (TWO_JUDGED, "abC", None),
        (TWO_JUDGED, "aB", PEER),
    ],
)
def test_before_the_reveal_other_comparators_only_count(
    wanted: Demand, votes: str, expected: Another | None
) -> None:
    assert blind(SETTINGS[STRICT], wanted, votes, exact=False) == expected


@given(any_settings, wanteds, ballots)
def test_an_exact_reveal_always_ends_the_unit(
    settings: Settings, wanted: Demand, votes: str
) -> None:
    """What is asked for under exact comparison is never thrown back for another execution."""
    verdict = judge(settings, wanted, votes)
    asked = blind(settings, wanted, votes, exact=True)
    assert asked == (verdict if isinstance(verdict, Another) else None)


@given(any_settings, wanteds, ballots)
def test_where_only_the_reveal_can_tell_no_more_are_asked_for_than_the_unit_needs(
    settings: Settings, wanted: Demand, votes: str
) -> None:
    asked = blind(settings, wanted, votes, exact=False)
    assert (asked is None) == (len(votes) >= wanted.votes)
    agreeing = "".join("A" if vote.isupper() else "a" for vote in votes)
    verdict = judge(settings, wanted, agreeing)
    assert verdict == (asked or Accept(tuple(range(len(votes))), ()))


# -- the verdict ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "wanted", "votes", "expected"),
    [
        (TRUSTED, ONE, "", PEER),
        (TRUSTED, ONE, "a", Accept((0,), ())),
        (PAIR, TWO, "a", PEER),
        (PAIR, TWO, "aa", Accept((0, 1), ())),
        (PAIR, TWO, "aaa", Accept((0, 1, 2), ())),
        (PAIR, TWO, "ab", REFEREE),
        (PAIR, TWO, "aba", Accept((0, 2), (1,))),
        (PAIR, TWO, "abb", Accept((1, 2), (0,))),
        (PAIR, TWO, "abab", REFEREE),
        (PAIR, TWO, "abcd", REFEREE),
        (PAIR, TWO, "abcda", Accept((0, 4), (1, 2, 3))),
        (PAIR, TWO, "abcde", Fail("5 executions, of which 1 agree: too few")),
        (PAIR, TWO, "ababc", Fail("5 executions, of which 2 agree: too few")),
        (PAIR, TWO, "aaB", Accept((2,), (0, 1))),
        (ECONOMY, ONE, "a", Accept((0,), ())),
        (ECONOMY, ONE_JUDGED, "a", REFEREE),
        (ECONOMY, ONE_JUDGED, "aA", Accept((0, 1), ())),
        (ECONOMY, ONE_JUDGED, "aB", Accept((1,), (0,))),
        (ECONOMY, ONE_JUDGED, "aa", Accept((0, 1), ())),
        (ECONOMY, ONE_JUDGED, "ab", REFEREE),
        (ECONOMY, ONE, "ab", REFEREE),
        (ECONOMY, TWO, "a", PEER),
        (ECONOMY, TWO, "ab", REFEREE),
        (ECONOMY, TWO, "abB", Accept((1, 2), (0,))),
        (ECONOMY, TWO, "aba", REFEREE),
        (ECONOMY, TWO, "abaa", Accept((0, 2, 3), (1,))),
        (ECONOMY, TWO, "abcaba", REFEREE),
        (ECONOMY, TWO, "abcabaa", Accept((0, 3, 5, 6), (1, 2, 4))),
        (ECONOMY, TWO, "abababa", Fail("7 executions, of which 4 agree: too few")),
        (STRICT, TWO, "aa", Accept((0, 1), ())),
        (STRICT, TWO, "aaB", Accept((2,), (0, 1))),
        (STRICT, TWO_JUDGED, "aa", REFEREE),
        (STRICT, TWO_JUDGED, "aaA", Accept((0, 1, 2), ())),
        (STRICT, TWO_JUDGED, "aaB", Accept((2,), (0, 1))),
        (STRICT, TWO_JUDGED, "aab", REFEREE),
        (STRICT, TWO_JUDGED, "aaba", Accept((0, 1, 3), (2,))),
        (STRICT, THREE, "aa", PEER),
        (STRICT, THREE, "aab", REFEREE),
        (STRICT, THREE, "aaba", Accept((0, 1, 3), (2,))),
        (STRICT, THREE, "aB", Accept((1,), (0,))),
        (STRICT, THREE, "AA", PEER),
        (STRICT, TWO, "ababababa", Fail("9 executions, of which 5 agree: too few")),
        (STRICT, TWO, "aaaaAB", Fail("two referees disagree")),
        (TRUSTED, TWO, "ab", Fail("2 executions, of which 1 agree: too few")),
    ],
)
def test_the_verdict(
    policy: Policy, wanted: Demand, votes: str, expected: policies.Verdict
) -> None:
    verdict = judge(SETTINGS[policy], wanted, votes)
    if isinstance(expected, Fail):
        assert isinstance(verdict, Fail)
        assert verdict.reason.startswith(expected.reason)
    else:
        assert verdict == expected


@given(any_settings, wanteds, st.lists(st.integers(0, 5), max_size=9), st.data())
def test_right_and_wrong_are_all_votes_each_once_in_order(
    settings: Settings, wanted: Demand, results: list[int], data: st.DataObject
) -> None:
    """Also where agreement is not transitive."""
    votes = len(results)
    referees = data.draw(st.lists(st.booleans(), min_size=votes, max_size=votes))
    verdict = decide(settings, wanted, close_groups(results), referees)
    if not isinstance(verdict, Accept):
        return
    assert verdict.right
    assert sorted(verdict.right + verdict.wrong) == list(range(votes))
    assert list(verdict.right) == sorted(verdict.right)
    assert list(verdict.wrong) == sorted(verdict.wrong)


@given(any_settings, wanteds, st.lists(st.integers(0, 5), max_size=9))
def test_without_a_referee_an_answer_needs_all_the_votes_or_a_lead(
    settings: Settings, wanted: Demand, results: list[int]
) -> None:
    groups = close_groups(results)
    verdict = decide(settings, wanted, groups, [False] * len(results))
    if not isinstance(verdict, Accept):
        return
    right, wrong = set(verdict.right), set(verdict.wrong)
    assert len(results) >= wanted.votes
    assert len(right) >= wanted.copies
    assert right in [set(group) for group in groups]
    for at in wrong:
        assert len(right) >= 2
        assert len(right) - len(wrong.intersection(groups[at])) >= settings.lead


@given(any_settings, wanteds, ballots)
def test_a_referees_answer_always_decides(settings: Settings, wanted: Demand, votes: str) -> None:
    said = {vote.lower() for vote in votes if vote.isupper()}
    assume(said)
    verdict = judge(settings, wanted, votes)
    if len(said) > 1:
        assert isinstance(verdict, Fail)
    elif isinstance(verdict, Another):
        assert set(votes.lower()) == said
        assert len(votes) < wanted.votes
    else:
        right = tuple(at for at, vote in enumerate(votes.lower()) if vote in said)
        assert isinstance(verdict, Accept)
        assert verdict.right == right


@given(any_settings, wanteds, st.text("abc", max_size=9), st.data())
def test_a_referee_that_comes_late_overrules_any_crowd(
    settings: Settings, wanted: Demand, votes: str, data: st.DataObject
) -> None:
    answer = data.draw(st.sampled_from("ABC"))
    assume(set(votes) - {answer.lower()})
    right = [at for at, vote in enumerate(votes) if vote == answer.lower()]
    wrong = [at for at, vote in enumerate(votes) if vote != answer.lower()]
    assert judge(settings, wanted, votes + answer) == Accept((*right, len(votes)), tuple(wrong))


@given(any_settings, wanteds, ballots)
def test_no_more_votes_are_asked_for_than_there_are_executions(
    settings: Settings, wanted: Demand, votes: str
) -> None:
    """A unit that needs more votes than its policy has executions gets those, if all agree."""
    asked = judge(settings, wanted, votes)
    if isinstance(asked, Another):
        disputed = len(set(votes.lower())) > 1
        assert len(votes) < (settings.executions if disputed else wanted.votes)
        assert asked.by is By.REFEREE or not disputed


@given(any_settings, wanteds, landslides, st.booleans())
def test_one_more_vote_that_agrees_keeps_an_answer_accepted(
    settings: Settings, wanted: Demand, votes: str, referee: bool
) -> None:
    verdict = judge(settings, wanted, votes)
    if not isinstance(verdict, Accept):
        return
    answer = votes[verdict.right[0]]
    more = judge(settings, wanted, votes + (answer.upper() if referee else answer.lower()))
    assert more == Accept((*verdict.right, len(votes)), verdict.wrong)


@given(any_settings, lots, st.booleans(), st.booleans(), st.text("ab", min_size=14, max_size=14))
def test_every_unit_comes_to_an_end_whoever_answers_what(
    settings: Settings, lot: int, proven: bool, has_referee: bool, answers: str
) -> None:
    wanted = demand(settings, lot, proven=proven, reopened=False)
    votes, asked = "", blind(settings, wanted, "", exact=True)
    while asked:
        answer = answers[len(votes)]
        judged = asked.by is By.REFEREE and has_referee
        votes += answer.upper() if judged else answer
        asked = blind(settings, wanted, votes, exact=True)
    assert 1 <= len(votes) <= max(settings.executions, wanted.votes)
    verdict = judge(settings, wanted, votes)
    has_room = wanted.copies < settings.executions
    if has_referee and has_room and len(set(votes.lower())) > 1:
        assert isinstance(verdict, Accept)
    if has_referee and wanted.referee and isinstance(verdict, Accept):
        assert any(votes[at].isupper() for at in verdict.right)


def test_a_referees_answer_decides_though_a_vote_between_agrees_with_both_sides() -> None:
    groups = close_groups([0, 1, 2])
    verdict = decide(SETTINGS[STRICT], TWO_JUDGED, groups, [True, False, False])
    assert verdict == Accept((0, 1), (2,))


def test_of_two_answers_that_overlap_the_one_with_more_votes_wins() -> None:
    """1 and 3 both agree with 2, and not with one another."""
    assert decide(SETTINGS[PAIR], TWO, close_groups([1, 5, 2, 3]), [False] * 4) == Accept(
        (0, 2, 3), (1,)
    )


@pytest.mark.parametrize(("lead", "low", "high"), [(1, 0.199, 0.201), (2, 0.05, 0.06)])
def test_a_clique_of_a_fifth_wins_a_dispute_as_rarely_as_a_gamblers_ruin_says(
    lead: int, low: float, high: float
) -> None:
    settings = Settings(copies=1, lead=lead, executions=12)

    def chance(votes: str) -> float:
        verdict = judge(settings, TWO, votes)
        if isinstance(verdict, Accept):
            return float(votes[verdict.right[0]] == "b")
        if isinstance(verdict, Fail):
            return 0.0
        return 0.8 * chance(votes + "a") + 0.2 * chance(votes + "b")

    assert low < chance("ab") < high


# -- what follows from a verdict ------------------------------------------------------------


@pytest.mark.parametrize(
    ("votes", "verified"), [("a", False), ("A", True), ("aa", True), ("aA", True), ("ab", False)]
)
def test_a_result_is_verified_when_it_was_seen_twice_or_by_a_referee(
    votes: str, verified: bool
) -> None:
    right = groups_of(votes)[0]
    assert is_verified(right, referees_of(votes)) is verified


def test_a_referee_that_was_wrong_verifies_nothing() -> None:
    assert not is_verified((0,), [False, True])


@pytest.mark.parametrize(
    ("right", "failures", "doubtful"),
    [(0, 0, False), (0, 2, False), (0, 3, True), (2, 3, True), (3, 3, False), (100, 50, False)],
)
def test_who_fails_more_often_than_it_is_right_is_doubtful(
    right: int, failures: int, doubtful: bool
) -> None:
    assert policies.is_doubtful(right, failures) is doubtful


@given(st.integers(0, 50), st.integers(0, 50))
def test_being_right_once_more_never_makes_a_peer_doubtful(right: int, failures: int) -> None:
    assert policies.is_doubtful(right + 1, failures) <= policies.is_doubtful(right, failures)
    assert policies.is_doubtful(right, failures) <= policies.is_doubtful(right, failures + 1)
    assert not policies.is_doubtful(right, FAILURES_BEFORE_DOUBT - 1)
