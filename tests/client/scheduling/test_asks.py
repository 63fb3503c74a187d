"""What is kept of what units of models ask."""

import pytest

from client.scheduling.asks import Asks, is_urgent
from tests.client.work.models import request_of
from workunits.errors import LimitError
from workunits.ids import LeaseToken
from workunits.models.answer import Finish
from workunits.wire.models import Ask, Halt

ONE, TWO = LeaseToken(1), LeaseToken(2)


def test_the_first_ask_of_a_lease_counts() -> None:
    asks = Asks()
    asks.hear(Ask(ONE, request_of(1)))
    asks.hear(Ask(ONE, request_of(2)))
    assert asks.get(ONE) == Ask(ONE, request_of(1))
    assert asks.get(TWO) is None


def test_a_halt_is_remembered_with_the_ask_and_never_means_no_halt() -> None:
    asks = Asks()
    asks.hear(Ask(ONE, request_of()))
    asks.halt(Halt(ONE, 0))
    asks.halt(Halt(TWO, 5))
    assert asks.get(ONE) == Ask(ONE, request_of(), halt=1)
    assert asks.get(TWO) is None


def test_what_is_asked_is_forgotten_with_its_lease() -> None:
    asks = Asks()
    for token in (ONE, TWO):
        asks.hear(Ask(token, request_of()))
    asks.drop(ONE)
    asks.drop(ONE)
    asks.keep_only(())
    assert len(asks) == 0


def test_no_more_is_kept_than_there_is_room_for_and_room_comes_back() -> None:
    asks = Asks(most=30)
    asks.hear(Ask(ONE, request_of(prompt=10), (1, 2, 3), Finish.STOP))
    with pytest.raises(LimitError, match="30 tokens"):
        asks.hear(Ask(TWO, request_of(prompt=20)))
    assert len(asks) == 1
    asks.halt(Halt(ONE, 2))
    asks.drop(ONE)
    asks.hear(Ask(TWO, request_of(prompt=29)))
    with pytest.raises(LimitError):
        asks.hear(Ask(ONE))


def test_somebody_waits_for_a_stream_and_for_a_claim_to_be_checked() -> None:
    assert is_urgent(Ask(ONE, stream=True))
    assert is_urgent(Ask(ONE, given=(1,), finish=Finish.LENGTH))
    assert not is_urgent(Ask(ONE, request_of()))
    assert not is_urgent(None)
