"""The draw: public, the same for everybody who replays it, and fair."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from validators.draw import draw
from workunits.ids import JobId, PeerKey, UnitId

JOB = JobId(b"j" * 32)
ROSTER = [PeerKey(bytes([at]) * 32) for at in range(10)]
checkpoints = st.binary(min_size=32, max_size=32)
indexes = st.integers(0, 2**60)


def anybody(_: PeerKey) -> bool:
    return True


@given(checkpoints, indexes, st.integers(0, 100))
def test_the_same_question_draws_the_same_peer(checkpoint: bytes, index: int, attempt: int) -> None:
    unit = UnitId(JOB, index)
    one = draw(checkpoint, unit, attempt, ROSTER, anybody)
    assert one == draw(checkpoint, unit, attempt, tuple(ROSTER), anybody)
    assert one in ROSTER


@given(checkpoints, indexes, st.sets(st.sampled_from(ROSTER)))
def test_only_an_eligible_peer_is_drawn_and_one_is_found_if_there_is_one(
    checkpoint: bytes, index: int, allowed: set[PeerKey]
) -> None:
    drawn = draw(checkpoint, UnitId(JOB, index), 1, ROSTER, allowed.__contains__)
    assert drawn in allowed if allowed else drawn is None


def test_nobody_is_drawn_from_an_empty_roster() -> None:
    assert draw(b"c" * 32, UnitId(JOB, 0), 1, [], anybody) is None


def test_the_one_eligible_peer_among_very_many_is_found() -> None:
    many = sorted(PeerKey(at.to_bytes(32, "big")) for at in range(5000))
    last = many[4321]
    assert draw(b"c" * 32, UnitId(JOB, 0), 1, many, last.__eq__) == last


def test_everybody_is_drawn_about_equally_often() -> None:
    counts = Counter(
        draw(b"c" * 32, UnitId(JOB, index), 1, ROSTER, anybody) for index in range(5000)
    )
    assert set(counts) == set(ROSTER)
    assert all(400 < count < 600 for count in counts.values())


def test_the_checkpoint_the_unit_and_the_attempt_each_change_the_draw() -> None:
    def drawn(checkpoint: bytes, job: bytes, index: int, attempt: int) -> PeerKey | None:
        return draw(checkpoint, UnitId(JobId(job), index), attempt, ROSTER, anybody)

    base = [drawn(b"c" * 32, JOB, index, 1) for index in range(50)]
    assert base != [drawn(b"d" * 32, JOB, index, 1) for index in range(50)]
    assert base != [drawn(b"c" * 32, b"k" * 32, index, 1) for index in range(50)]
    assert base != [drawn(b"c" * 32, JOB, index, 2) for index in range(50)]
    assert base != [drawn(b"c" * 32, JOB, index + 50, 1) for index in range(50)]
