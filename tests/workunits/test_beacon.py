"""The beacon: bound to its anchors, unknown before it is shown, the same after a restart."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workunits.beacon import LINK_SIZE, LINKS, Beacon, chain, follows

SECRET = b"s" * 32
CHAIN = LINKS + 1
"""What is shown of one chain: its anchor and its links."""

counts = st.integers(0, 3 * CHAIN)


def shown(beacon: Beacon, count: int) -> list[bytes]:
    return [beacon.show() for _ in range(count)]


TWO_CHAINS = shown(Beacon(SECRET), 2 * CHAIN)


def test_every_link_of_a_chain_follows_from_the_one_before_and_the_first_from_the_anchor() -> None:
    for first in (0, CHAIN):
        anchor, *links = TWO_CHAINS[first : first + CHAIN]
        assert len(links) == LINKS
        last = anchor
        for link in links:
            assert follows(link, last)
            last = link


def test_a_chain_begins_with_its_anchor_and_ends_with_its_seed() -> None:
    assert TWO_CHAINS[:CHAIN] == chain(SECRET, 0)[::-1]
    assert TWO_CHAINS[CHAIN:] == chain(SECRET, 1)[::-1]


def test_a_beacon_is_spent_before_each_anchor_and_at_no_other_time() -> None:
    beacon = Beacon(SECRET)
    spent = []
    for at in range(2 * CHAIN + 1):
        if beacon.is_spent:
            spent.append(at)
        beacon.show()
    assert spent == [0, CHAIN, 2 * CHAIN]


def test_the_next_chain_does_not_follow_from_the_last_one() -> None:
    assert not follows(TWO_CHAINS[CHAIN], TWO_CHAINS[CHAIN - 1])
    assert not set(TWO_CHAINS[:CHAIN]) & set(TWO_CHAINS[CHAIN:])


def test_every_link_has_the_same_size_and_none_comes_twice() -> None:
    assert {len(link) for link in TWO_CHAINS} == {LINK_SIZE}
    assert len(set(TWO_CHAINS)) == len(TWO_CHAINS)


@settings(max_examples=30)
@given(counts)
def test_a_beacon_that_was_used_goes_on_where_it_stopped(used: int) -> None:
    before, after = Beacon(SECRET), Beacon(SECRET, used=used)
    before.used = used
    assert before.is_spent == after.is_spent
    assert shown(before, 3) == shown(after, 3)
    assert after.used == used + 3


@pytest.mark.parametrize("used", [0, 1, 2, LINKS - 1, LINKS, CHAIN, CHAIN + 1, 2 * CHAIN - 3])
def test_a_restored_beacon_shows_what_the_first_one_would_have(used: int) -> None:
    beacon = Beacon(SECRET, used=used)
    assert (
        shown(beacon, 3) == (TWO_CHAINS + shown(Beacon(SECRET, used=2 * CHAIN), 3))[used : used + 3]
    )
    assert beacon.used == used + 3


@given(st.integers(1, LINKS - 1))
def test_what_was_shown_leads_back_and_never_forward(at: int) -> None:
    """Who knows a link can hash it, which gives only links that were shown before."""
    link, later = TWO_CHAINS[at], set(TWO_CHAINS[at + 1 : CHAIN])
    for _ in range(min(at, 50)):
        link = hashlib.sha256(link).digest()
        assert link not in later
    assert follows(TWO_CHAINS[at], TWO_CHAINS[at - 1])
    assert not follows(TWO_CHAINS[at - 1], TWO_CHAINS[at])
    assert not follows(TWO_CHAINS[at + 1], TWO_CHAINS[at - 1])
    assert not follows(TWO_CHAINS[at], TWO_CHAINS[at])


@given(st.binary(max_size=64))
def test_nothing_but_the_next_link_follows(guess: bytes) -> None:
    assert follows(guess, TWO_CHAINS[0]) is (guess == TWO_CHAINS[1])


def test_other_secrets_and_other_numbers_give_other_chains() -> None:
    anchors = {chain(secret, number)[-1] for secret in (SECRET, b"t" * 32) for number in range(3)}
    assert len(anchors) == 6
