"""Lots and draws: public, the same for everybody who replays them, and fair."""

from collections import Counter
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from validators.draw import LOTS, draw, lot
from workunits.ids import JobId, PeerKey, UnitId

JOB = JobId(b"j" * 32)
LINK = b"c" * 32
ROSTER = [PeerKey(bytes([at]) * 32) for at in range(10)]
links = st.binary(min_size=32, max_size=32)
units = st.builds(UnitId, st.binary(min_size=32, max_size=32).map(JobId), st.integers(0, 2**63 - 1))


def anybody(_: PeerKey) -> bool:
    return True


def crowd(size: int) -> list[PeerKey]:
    return [PeerKey(at.to_bytes(32, "big")) for at in range(size)]


# -- draws ----------------------------------------------------------------------------------


@given(links, units)
def test_the_same_question_draws_the_same_peer(link: bytes, unit: UnitId) -> None:
    one = draw(link, unit, ROSTER, anybody)
    assert one == draw(link, unit, tuple(ROSTER), anybody)
    assert one in ROSTER


@given(links, units, st.sets(st.sampled_from(ROSTER)))
def test_only_an_eligible_peer_is_drawn_and_one_is_found_if_there_is_one(
    link: bytes, unit: UnitId, allowed: set[PeerKey]
) -> None:
    drawn = draw(link, unit, ROSTER, allowed.__contains__)
    assert drawn in allowed if allowed else drawn is None


def test_nobody_is_drawn_from_an_empty_roster() -> None:
    assert draw(LINK, UnitId(JOB, 0), [], anybody) is None


def test_nobody_is_drawn_when_nobody_is_eligible_and_all_were_asked() -> None:
    asked = Counter[PeerKey]()

    def nobody(peer: PeerKey) -> bool:
        asked[peer] += 1
        return False

    assert draw(LINK, UnitId(JOB, 0), ROSTER, nobody) is None
    assert set(asked) == set(ROSTER)


@given(links, units)
def test_the_one_who_is_there_is_drawn(link: bytes, unit: UnitId) -> None:
    assert draw(link, unit, ROSTER[:1], anybody) == ROSTER[0]


def test_the_one_eligible_peer_among_very_many_is_found_wherever_it_is() -> None:
    many = crowd(300)
    for peer in many:
        assert draw(LINK, UnitId(JOB, 0), many, peer.__eq__) == peer


def test_everybody_is_drawn_about_equally_often() -> None:
    counts = Counter(draw(LINK, UnitId(JOB, index), ROSTER, anybody) for index in range(5000))
    assert set(counts) == set(ROSTER)
    assert all(430 < count < 570 for count in counts.values())


def test_all_who_are_eligible_are_drawn_about_equally_often() -> None:
    allowed = set(ROSTER[::3])
    counts = Counter(
        draw(LINK, UnitId(JOB, index), ROSTER, allowed.__contains__) for index in range(4000)
    )
    assert set(counts) == allowed
    assert all(900 < count < 1100 for count in counts.values())


def test_few_eligible_peers_among_many_are_drawn_about_equally_often() -> None:
    many = crowd(500)
    allowed = set(many[200:202])
    counts = Counter(
        draw(LINK, UnitId(JOB, index), many, allowed.__contains__) for index in range(400)
    )
    assert all(150 < counts[peer] < 250 for peer in allowed)


def test_the_link_the_job_and_the_unit_each_change_the_draw() -> None:
    def drawn(link: bytes, job: bytes, first: int) -> list[PeerKey | None]:
        return [
            draw(link, UnitId(JobId(job), index), ROSTER, anybody)
            for index in range(first, first + 50)
        ]

    base = drawn(LINK, JOB, 0)
    assert base != drawn(b"d" * 32, JOB, 0)
    assert base != drawn(LINK, b"k" * 32, 0)
    assert base != drawn(LINK, JOB, 50)


# -- lots -----------------------------------------------------------------------------------


@given(links, units)
def test_a_lot_is_one_of_a_thousand_and_always_the_same(link: bytes, unit: UnitId) -> None:
    assert lot(link, unit) == lot(link, unit)
    assert 0 <= lot(link, unit) < LOTS


def test_a_lot_is_the_remainder_of_a_hash_that_anybody_can_compute() -> None:
    word = sha256(b"openswarm lot v1\n" + LINK + JOB + bytes(7) + b"\x07").digest()[:8]
    assert lot(LINK, UnitId(JOB, 7)) == int.from_bytes(word, "big") % 1000


def test_every_tenth_of_the_lots_comes_about_equally_often() -> None:
    counts = Counter(lot(LINK, UnitId(JOB, index)) * 10 // LOTS for index in range(5000))
    assert set(counts) == set(range(10))
    assert all(430 < count < 570 for count in counts.values())


def test_the_link_the_job_and_the_unit_each_change_the_lot() -> None:
    def all_lots(link: bytes, job: bytes, first: int) -> list[int]:
        return [lot(link, UnitId(JobId(job), index)) for index in range(first, first + 20)]

    base = all_lots(LINK, JOB, 0)
    assert base != all_lots(b"d" * 32, JOB, 0)
    assert base != all_lots(LINK, b"k" * 32, 0)
    assert base != all_lots(LINK, JOB, 20)


def test_a_lot_says_nothing_of_who_is_drawn_by_the_same_link() -> None:
    low = Counter(
        draw(LINK, UnitId(JOB, index), ROSTER, anybody)
        for index in range(20_000)
        if lot(LINK, UnitId(JOB, index)) < 100
    )
    total = sum(low.values())
    assert all(0.7 < count * len(ROSTER) / total < 1.3 for count in low.values())
