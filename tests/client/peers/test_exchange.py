"""Peers hear of each other's addresses, not too often, and of every change once."""

from hypothesis import given
from hypothesis import strategies as st

from client.peers.exchange import INTERVAL, Exchange
from client.peers.extensions import MAX_TOLD, Address

A, B, C = (("9.9.9.9", port) for port in (1, 2, 3))


def test_a_peer_hears_of_all_others_and_not_of_itself() -> None:
    at = Exchange()
    at.join("a", A[0], 0.0)
    at.join("b", A[0], 0.0)
    tells = {tell.peer: tell for tell in at.tick([("a", A), ("b", B)], 0.0)}
    assert (tells["a"].added, tells["b"].added) == ((B,), (A,))
    assert tells["a"].dropped == ()


def test_changes_are_told_a_minute_later_and_only_once() -> None:
    at = Exchange()
    at.join("a", A[0], 0.0)
    assert at.tick([("b", B)], 0.0)
    assert at.tick([("c", C)], INTERVAL - 1) == []
    (tell,) = at.tick([("c", C)], INTERVAL)
    assert (tell.added, tell.dropped) == ((C,), (B,))
    assert at.tick([("c", C)], 3 * INTERVAL) == []


def test_addresses_of_a_local_network_are_told_in_one_only() -> None:
    at = Exchange()
    near, far = ("192.168.1.7", 1), ("9.9.9.9", 2)
    at.join("near", near[0], 0.0)
    at.join("far", far[0], 0.0)
    tells = {tell.peer: tell for tell in at.tick([("x", ("192.168.1.8", 3)), ("y", far)], 0.0)}
    assert set(tells["near"].added) == {("192.168.1.8", 3), far}
    assert tells["far"].added == (far,)


def test_who_left_hears_nothing() -> None:
    at = Exchange()
    at.join("a", A[0], 0.0)
    at.leave("a")
    at.leave("a")
    assert at.tick([("b", B)], 0.0) == []


@given(st.lists(st.sets(st.integers(1, 120)), max_size=6))
def test_what_was_told_adds_up_to_who_is_there(rounds: list[set[int]]) -> None:
    at = Exchange()
    at.join("a", A[0], 0.0)
    heard: set[Address] = set()
    now = 0.0
    for ports in [*rounds, *[rounds[-1] if rounds else set()] * 6]:
        known = [(port, ("9.9.9.9", port)) for port in ports]
        for tell in at.tick(known, now):
            assert max(len(tell.added), len(tell.dropped)) <= MAX_TOLD
            assert heard.isdisjoint(tell.added) and heard.issuperset(tell.dropped)
            heard = (heard | set(tell.added)) - set(tell.dropped)
        now += INTERVAL
    assert heard == {("9.9.9.9", port) for port in (rounds[-1] if rounds else ())}
