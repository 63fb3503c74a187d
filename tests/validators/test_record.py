"""What the ledger alone says of peers."""

from hypothesis import given
from hypothesis import strategies as st

from validators.record import Record
from workunits.ids import JobId, PeerKey, UnitId

PEER, OTHER = PeerKey(b"p" * 32), PeerKey(b"q" * 32)
SUBMITTER, ANOTHER = PeerKey(b"s" * 32), PeerKey(b"t" * 32)
KIND, STRANGE = b"kind", b"strange"
UNITS = [UnitId(JobId(b"j" * 32), index) for index in range(3)]


def record(verified: int) -> Record:
    found = Record()
    for _ in range(verified):
        found.verify(PEER, KIND)
    return found


@given(st.integers(0, 30), st.integers(1, 30))
def test_a_peer_is_proven_by_as_many_confirmed_executions_as_probation_lasts(
    verified: int, probation: int
) -> None:
    found = record(verified)
    assert found.is_proven(PEER, KIND, SUBMITTER, probation) is (verified >= probation)


def test_without_probation_everybody_is_proven() -> None:
    assert Record().is_proven(PEER, KIND, SUBMITTER, 0)


def test_confirmed_work_counts_for_its_peer_and_its_kind_alone() -> None:
    found = record(5)
    assert found.is_proven(PEER, KIND, SUBMITTER, 5)
    assert not found.is_proven(PEER, STRANGE, SUBMITTER, 5)
    assert not found.is_proven(OTHER, KIND, SUBMITTER, 5)


def test_to_ask_changes_nothing() -> None:
    found = Record()
    for _ in range(2):
        assert not found.is_proven(PEER, KIND, SUBMITTER, 1)
    assert found == Record()


def test_a_strike_costs_all_confirmed_work_of_every_kind() -> None:
    found = record(5)
    found.verify(PEER, STRANGE)
    found.verify(OTHER, KIND)
    found.strike(PEER, None)
    assert found.strikes[PEER] == 1
    assert not found.is_proven(PEER, KIND, SUBMITTER, 1)
    assert not found.is_proven(PEER, STRANGE, SUBMITTER, 1)
    assert found.is_proven(OTHER, KIND, SUBMITTER, 1)


def test_after_a_strike_a_peer_can_prove_itself_again() -> None:
    found = record(5)
    found.strike(PEER, None)
    for _ in range(3):
        found.verify(PEER, KIND)
    assert found.is_proven(PEER, KIND, SUBMITTER, 3)
    assert found.strikes[PEER] == 1


def test_what_a_submitter_alone_proved_counts_with_that_submitter_alone() -> None:
    found = record(5)
    found.strike(PEER, SUBMITTER)
    assert found.strikes[PEER] == 0
    assert found.struck[PEER, SUBMITTER] == 1
    for probation in (0, 5):
        assert not found.is_proven(PEER, KIND, SUBMITTER, probation)
        assert found.is_proven(PEER, KIND, ANOTHER, probation)


def test_a_unit_is_held_against_the_peers_on_whose_word_it_rests_until_it_is_let_go() -> None:
    found = Record()
    found.hold([PEER, OTHER], UNITS[0])
    found.hold([PEER], UNITS[1])
    found.hold([PEER], UNITS[1])
    assert found.held == {PEER: set(UNITS[:2]), OTHER: {UNITS[0]}}
    found.let_go([PEER, OTHER], UNITS[0])
    assert found.held == {PEER: {UNITS[1]}, OTHER: set()}
    found.let_go([PEER], UNITS[2])
    assert found.held[PEER] == {UNITS[1]}
