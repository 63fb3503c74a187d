"""API keys: known by a hash alone, never spent twice, never over their budget or their pace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.endpoint import keys as book
from tracker.endpoint.keys import ApiKey, BrokeError, CrowdedError, Hold, Keys, UnknownKeyError, Use
from tracker.rows import ApiKeyRow, UsageRow
from workunits.errors import LimitError, MalformedError, RefusedError
from workunits.ids import PeerKey
from workunits.models.apikey import hash_of, secret_of

OWNER, OTHER, OPERATOR = (PeerKey(letter * 32) for letter in (b"o", b"p", b"q"))
SECRET = secret_of(bytes(range(32)))
USE = Use("tiny", 10, 20, 1.5, True, 30)


def opened(budget: int = 100, per_minute: int = 60) -> tuple[Keys, ApiKey]:
    keys = Keys()
    keys.check_open(OWNER, hash_of(SECRET))
    return keys, keys.open(OWNER, hash_of(SECRET), "laptop", budget, per_minute, 7)


def again(keys: Keys) -> Keys:
    rows = keys.take()
    return Keys(
        [row for row in rows if isinstance(row, ApiKeyRow)],
        [row for row in rows if isinstance(row, UsageRow)],
    )


def test_a_key_is_found_by_its_secret_and_kept_without_it() -> None:
    keys, key = opened()
    assert keys.find(SECRET) is key
    rows = keys.take()
    assert rows == [ApiKeyRow(hash_of(SECRET), OWNER, "laptop", 100, 0, 60, 7, 0)]
    assert SECRET[4:] not in repr(rows) + repr(key)
    assert keys.take() == []


@given(st.text(max_size=50))
def test_what_is_no_secret_is_unknown_and_not_repeated(text: str) -> None:
    keys, _ = opened()
    with pytest.raises(UnknownKeyError) as caught:
        keys.find(text)
    assert caught.value.hint
    assert len(text) < 8 or text not in caught.value.message


@given(st.binary(min_size=32, max_size=40), st.binary(min_size=32, max_size=40))
def test_secrets_have_one_form_and_differ(one: bytes, other: bytes) -> None:
    assert len(hash_of(secret_of(one))) == 32
    if one.lstrip(b"\0") != other.lstrip(b"\0") and len(one) == len(other) == 32:
        same = int.from_bytes(one, "big") - int.from_bytes(other, "big")
        assert (secret_of(one) == secret_of(other)) == (same % 62**40 == 0)


def test_a_secret_of_too_few_bytes_is_not_made() -> None:
    with pytest.raises(ValueError, match="32"):
        secret_of(bytes(31))
    with pytest.raises(MalformedError):
        hash_of(SECRET + "x")


def test_a_request_reserves_the_most_and_pays_what_it_cost() -> None:
    keys, key = opened(100)
    hold = keys.reserve(key, 60)
    with pytest.raises(BrokeError, match="40 left") as caught:
        keys.reserve(key, 41)
    assert "top-up" in caught.value.hint
    assert keys.settle(hold, 25) == 25
    assert keys.settle(hold, 25) == 0, "it is charged once"
    assert (key.spent, key.reserved, key.left) == (25, 0, 75)
    other = keys.reserve(key, 75)
    assert keys.settle(other, 80) == 75, "never more than was set aside"
    with pytest.raises(BrokeError):
        keys.reserve(key, 1)


def test_what_came_to_nothing_costs_nothing() -> None:
    keys, key = opened(10)
    keys.release(keys.reserve(key, 10))
    assert (key.spent, key.left) == (0, 10)


def test_a_key_asks_so_often_a_minute_and_is_told_when_to_come_again() -> None:
    keys, key = opened(per_minute=4)
    for _ in range(4):
        keys.pace(key, 100.0)
    with pytest.raises(CrowdedError) as caught:
        keys.pace(key, 100.0)
    assert caught.value.seconds == pytest.approx(15.0)
    assert "15 s" in caught.value.hint
    with pytest.raises(CrowdedError):
        keys.pace(key, 114.9)
    keys.pace(key, 115.1)


def test_a_key_of_one_request_a_minute_makes_one() -> None:
    keys, key = opened(per_minute=1)
    keys.pace(key, 0.0)
    with pytest.raises(CrowdedError):
        keys.pace(key, 59.0)
    keys.pace(key, 60.0)


def test_only_its_owner_pays_into_a_key_or_closes_it() -> None:
    keys, key = opened(100)
    with pytest.raises(RefusedError, match="opened before"):
        keys.check_open(OTHER, key.hash)
    with pytest.raises(RefusedError, match="no such"):
        keys.close(OTHER, key.hash, OPERATOR)
    keys.check_open(OWNER, key.hash)
    assert keys.open(OWNER, key.hash, "desktop", 50, 3, 99) is key
    assert (key.budget, key.name, key.per_minute, key.created) == (150, "desktop", 3, 7)


def test_the_operator_closes_any_key() -> None:
    keys, key = opened(100)
    assert keys.close(OPERATOR, key.hash, OPERATOR) is key
    assert key.closed


def test_a_closed_key_is_owed_what_no_request_holds() -> None:
    keys, key = opened(100)
    hold = keys.reserve(key, 30)
    keys.close(OWNER, key.hash, OPERATOR)
    with pytest.raises(UnknownKeyError):
        keys.find(SECRET)
    with pytest.raises(UnknownKeyError):
        keys.reserve(key, 1)
    assert [(each, each.left) for each in keys.owed()] == [(key, 70)]
    keys.refunded(key, 70)
    assert keys.owed() == []
    keys.settle(hold, 10)
    assert [(each, each.left) for each in keys.owed()] == [(key, 20)]
    keys.refunded(key, 20)
    assert (keys.owed(), keys.liable) == ([], 0)
    with pytest.raises(RefusedError):
        keys.check_open(OWNER, key.hash)


def test_what_a_closed_key_is_owed_is_found_after_a_restart() -> None:
    keys, key = opened(100)
    keys.reserve(key, 30)
    keys.close(OWNER, key.hash, OPERATOR)
    back = again(keys)
    assert [each.left for each in back.owed()] == [100]
    back.refunded(back.owed()[0], 100)
    assert back.owed() == again(back).owed() == []


def test_a_restart_keeps_what_was_spent_and_releases_what_was_reserved() -> None:
    keys, key = opened(100, 5)
    keys.settle(keys.reserve(key, 10), 4)
    keys.reserve(key, 50)
    keys.used(key, USE)
    keys.used(key, USE)
    back = again(keys)
    found = back.find(SECRET)
    assert (found.budget, found.spent, found.reserved, found.left) == (100, 4, 0, 96)
    assert (found.owner, found.name, found.per_minute, found.created) == (OWNER, "laptop", 5, 7)
    assert back.usage(key.hash) == [UsageRow(key.hash, "tiny", 2, 20, 40, 3000, 2, 60)]
    assert back.of(OWNER) == [found]
    assert back.take() == []


def test_the_use_of_a_model_is_summed_over_all_keys() -> None:
    keys, key = opened()
    other = keys.open(OTHER, b"h" * 32, "", 5, 60, 8)
    keys.used(key, USE)
    keys.used(other, USE)
    assert keys.usage_of_models() == {"tiny": UsageRow(b"", "tiny", 2, 20, 40, 3000, 2, 60)}


def test_an_account_has_so_many_keys_and_closed_ones_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(book, "MAX_OF_OWNER", 2)
    keys, key = opened()
    keys.open(OWNER, b"h" * 32, "", 5, 60, 8)
    with pytest.raises(LimitError):
        keys.check_open(OWNER, b"i" * 32)
    keys.check_open(OTHER, b"i" * 32)
    keys.close(OWNER, key.hash, OPERATOR)
    keys.check_open(OWNER, b"i" * 32)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 80), st.booleans()), max_size=20))
def test_no_sequence_spends_more_than_the_budget(steps: list[tuple[int, int, bool]]) -> None:
    keys, key = opened(100)
    open_: list[Hold] = []
    for amount, cost, wait in steps:
        if wait and open_:
            keys.settle(open_.pop(), cost)
            continue
        have = key.left
        if amount > have:
            with pytest.raises(BrokeError):
                keys.reserve(key, amount)
        else:
            open_.append(keys.reserve(key, amount))
        assert key.left >= 0
        assert key.reserved == sum(hold.amount for hold in open_)
    for hold in open_:
        keys.settle(hold, 10**6)
    assert 0 <= key.spent <= 100
    assert key.reserved == 0
