"""When the tracker is told what is held: at once, then when it matters, never in a rush."""

from client.work.holdings import GRAIN, PAUSE, REFRESH, Holdings
from workunits.ids import BlobRef
from workunits.wire.holds import Holds, name_of

QUOTA = 1 << 30
A, B = BlobRef(b"a" * 32, b"a" * 20, 1), BlobRef(b"b" * 32, b"b" * 20, 1)


def test_a_session_begins_with_all_that_is_held() -> None:
    holdings = Holdings()
    for _ in range(2):
        said = holdings.next([A, B], 5, QUOTA, 0.0)
        assert said == Holds(5, frozenset(map(name_of, (A, B))))
        assert holdings.next([], 5, QUOTA, PAUSE / 2) is None
        holdings.forget()


def test_even_nothing_is_said_at_the_beginning() -> None:
    assert Holdings().next([], 0, 0, 0.0) == Holds(0)


def test_changes_are_gathered_for_a_moment() -> None:
    holdings = Holdings()
    holdings.next([A], 5, QUOTA, 0.0)
    assert holdings.next([B], 5, QUOTA, PAUSE / 2) is None
    said = holdings.next([B], 5, QUOTA, PAUSE)
    assert said == Holds(5, frozenset([name_of(B)]), frozenset([name_of(A)]))
    assert holdings.next([B], 5, QUOTA, 10 * REFRESH) is None


def test_small_changes_of_the_room_wait() -> None:
    holdings = Holdings()
    holdings.next([], 0, QUOTA, 0.0)
    small = QUOTA // GRAIN - 1
    assert holdings.next([], small, QUOTA, PAUSE) is None
    assert holdings.next([], small + 1, QUOTA, PAUSE) == Holds(small + 1)
    assert holdings.next([], small, QUOTA, PAUSE + REFRESH) == Holds(small)
