"""The HTTP query and its bencoded reply."""

from random import Random
from typing import Any
from urllib.parse import quote_from_bytes

import bencodepy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.announce import http
from tracker.announce.http import AnnounceQuery, answer_announce, parse_announce, parse_scrape
from tracker.announce.pace import HurryError, Pace
from tracker.announce.swarms import Limits, Swarms, track_everything
from workunits import canonical
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.wire.signalling import Event

HASH = bytes(range(240, 256)) + b"%&=+"
PEER = b"-TR4050-\x00\x80 abc&=+%;#"[:20]
SEEDED = {b"complete": 1, b"downloaded": 1, b"downloaders": 0, b"incomplete": 0}
BASE = f"info_hash={quote_from_bytes(HASH)}&peer_id={quote_from_bytes(PEER, safe='')}"


def swarms() -> Swarms:
    return Swarms(tracked=track_everything, rng=Random(1))


def reply(state: Swarms, query: str, source: str = "192.0.2.1") -> dict[bytes, Any]:
    value = bencodepy.decode(answer_announce(state, query, source, 0.0))
    assert isinstance(value, dict)
    return value


@given(
    st.binary(min_size=20, max_size=20),
    st.binary(min_size=20, max_size=20),
    st.integers(1, 65535),
    st.none() | st.integers(0, 2**63 - 1),
    st.sampled_from(Event),
    st.integers(0, 100),
)
def test_every_byte_of_a_query_is_read_back(
    info_hash: bytes, peer_id: bytes, port: int, left: int | None, event: Event, numwant: int
) -> None:
    query = (
        f"info_hash={quote_from_bytes(info_hash, safe='')}&peer_id={quote_from_bytes(peer_id)}"
        f"&port={port}&event={event}&numwant={numwant}"
        f"&left={'' if left is None else left}"
    )
    assert parse_announce(query) == AnnounceQuery(info_hash, peer_id, port, left, event, numwant)


@given(st.text(max_size=300) | st.text(alphabet="infohashpeer_idport=&%0123456789abcdef"))
def test_any_other_query_is_refused_as_the_remotes_fault(query: str) -> None:
    with pytest.raises(RemoteError) as caught:
        answer_announce(swarms(), query, "192.0.2.1", 0.0)
    assert isinstance(bencodepy.decode(http.failure(caught.value)), dict)
    with pytest.raises(RemoteError):
        http.answer_scrape(swarms(), query)


def test_unknown_parameters_are_ignored() -> None:
    assert parse_announce(BASE + "&port=1&supportcrypto=1&corrupt=0&redundant=0&a&=&&") == (
        AnnounceQuery(HASH, PEER, 1)
    )


def test_the_ip_parameter_is_never_honoured() -> None:
    state = swarms()
    for name in ("ip", "ipv4", "ipv6"):
        reply(state, f"{BASE}&port=80&{name}=198.51.100.9")
    assert [peer.key for peer in state.members(HASH)] == [http.pack_address("192.0.2.1", 80)]


@pytest.mark.parametrize(
    "query",
    [
        "",
        BASE,
        BASE + "&port=",
        BASE + "&port=0",
        BASE + "&port=65536",
        BASE + "&port=-1",
        BASE + "&port=+80",
        BASE + "&port=%C2%B2",
        BASE + "&port=80&port=81",
        BASE + "&port=80&left=x",
        BASE + "&port=80&left=1.0",
        BASE + "&port=80&left=" + "9" * 21,
        BASE + "&port=80&numwant=-2",
        BASE + "&port=80&event=dance",
        BASE + "&port=80&event=%ff",
        BASE + "&port=80&é",
        BASE + "&port=80&info_hash=" + "x" * 20,
        "info_hash=short&port=80",
        "info_hash=" + "x" * 20 + "&port=80",
        BASE.replace("peer_id", "peer"),
    ],
)
def test_a_malformed_announce_is_refused(query: str) -> None:
    with pytest.raises(MalformedError):
        parse_announce(query)


def test_an_endless_query_is_refused() -> None:
    with pytest.raises(LimitError):
        parse_announce("a=b&" * http.MAX_QUERY)


@pytest.mark.parametrize(
    ("given_value", "taken"),
    [("", 50), ("-1", 50), ("0", 0), ("7", 7), ("100000", http.MAX_PEERS)],
)
def test_numwant_is_bounded(given_value: str, taken: int) -> None:
    assert parse_announce(f"{BASE}&port=80&numwant={given_value}").numwant == taken


def test_a_compact_reply_has_six_bytes_a_peer_and_eighteen_for_ipv6() -> None:
    state = swarms()
    reply(state, BASE + "&port=258")
    other = BASE.replace(quote_from_bytes(PEER, safe=""), "o" * 20)
    assert reply(state, other + "&port=80", "2001:db8::1") == {
        b"complete": 0,
        b"downloaded": 0,
        b"incomplete": 2,
        b"interval": http.INTERVAL,
        b"min interval": http.MIN_INTERVAL,
        b"peers": bytes([192, 0, 2, 1, 1, 2]),
    }
    third = BASE.replace(quote_from_bytes(PEER, safe=""), "t" * 20)
    assert reply(state, third + "&port=80")[b"peers6"] == bytes.fromhex(
        "20010db8000000000000000000000001" + "0050"
    )


def test_a_full_reply_names_peers_and_no_peer_id_leaves_their_ids_out() -> None:
    state = swarms()
    reply(state, BASE + "&port=258")
    reply(state, BASE.replace(quote_from_bytes(PEER, safe=""), "6" * 20) + "&port=1", "2001:db8::1")
    other = BASE.replace(quote_from_bytes(PEER, safe=""), "o" * 20) + "&port=80&compact=0"
    peers = reply(state, other)[b"peers"]
    assert {b"ip": b"192.0.2.1", b"peer id": PEER, b"port": 258} in peers
    assert {b"ip": b"2001:db8::1", b"peer id": b"6" * 20, b"port": 1} in peers
    short = reply(state, other + "&no_peer_id=1")[b"peers"]
    assert {b"ip": b"192.0.2.1", b"port": 258} in short


def test_an_address_owns_its_peer_and_a_borrowed_peer_id_unseats_nobody() -> None:
    state = swarms()
    reply(state, BASE + "&port=80")
    reply(state, BASE + "&port=80&event=stopped", "198.51.100.9")
    assert state.peer_count == 1
    reply(state, BASE + "&port=80&event=stopped")
    assert state.peer_count == 0


def test_a_request_without_an_address_is_refused() -> None:
    with pytest.raises(MalformedError):
        answer_announce(swarms(), BASE + "&port=80", "", 0.0)


def test_ipv4_in_ipv6_is_the_same_peer_as_ipv4() -> None:
    assert http.pack_address("::ffff:192.0.2.1", 80) == http.pack_address("192.0.2.1", 80)


def test_a_scrape_names_what_is_tracked() -> None:
    state = Swarms(tracked=HASH.__eq__, rng=Random(1))
    reply(state, BASE + "&port=80&left=0&event=completed")
    asked = f"info_hash={quote_from_bytes(HASH)}&info_hash={'x' * 20}&key=1"
    scraped = bencodepy.decode(http.answer_scrape(state, asked))
    assert scraped == {
        b"files": {HASH: SEEDED},
        b"flags": {b"min_request_interval": http.SCRAPE_INTERVAL},
    }


def test_a_scrape_of_everything_or_too_much_is_refused() -> None:
    with pytest.raises(MalformedError):
        parse_scrape("")
    with pytest.raises(LimitError):
        parse_scrape("&".join(["info_hash=" + "x" * 20] * 256))


def test_a_tracker_id_is_said_again() -> None:
    state = swarms()
    for more in ("", "&compact=0"):
        said = reply(state, f"{BASE}&port=80&trackerid=%00id{more}")
        assert said[b"tracker id"] == b"\x00id"
        assert b"tracker id" not in reply(state, f"{BASE}&port=80{more}")


def test_a_key_that_is_too_long_is_refused() -> None:
    for name in ("key", "trackerid"):
        parse_announce(f"{BASE}&port=80&{name}={'k' * 64}")
        with pytest.raises(LimitError):
            parse_announce(f"{BASE}&port=80&{name}={'k' * 65}")


def test_the_key_moves_a_peer_and_a_wrong_one_does_not() -> None:
    state = swarms()
    reply(state, BASE + "&port=80&key=secret")
    reply(state, BASE + "&port=81&key=guess", "198.51.100.9")
    assert state.peer_count == 2
    reply(state, BASE + "&port=82&key=secret", "198.51.100.10")
    assert {peer.key for peer in state.members(HASH)} == {
        http.pack_address("198.51.100.9", 81),
        http.pack_address("198.51.100.10", 82),
    }


def test_the_key_keeps_one_peer_in_each_family_and_hands_it_to_neither() -> None:
    state = swarms()
    reply(state, BASE + "&port=80&key=secret")
    sixth = reply(state, BASE + "&port=80&key=secret", "2001:db8::1")
    assert (state.peer_count, sixth[b"peers"], b"peers6" in sixth) == (2, b"", False)
    fourth = reply(state, BASE + "&port=80&key=secret")
    assert (fourth[b"peers"], b"peers6" in fourth) == (b"", False)


def test_no_answer_shows_a_key() -> None:
    state = swarms()
    reply(state, BASE + "&port=80&key=secret")
    for more in ("", "&compact=0"):
        other = BASE.replace(quote_from_bytes(PEER, safe=""), "o" * 20)
        assert b"secret" not in answer_announce(state, other + "&port=8" + more, "192.0.2.9", 0.0)


def test_a_partial_seed_is_incomplete_and_no_downloader() -> None:
    state = swarms()
    reply(state, BASE + "&port=80&left=5&event=paused")
    reply(state, BASE + "&port=81&left=5", "192.0.2.2")
    scraped: Any = bencodepy.decode(
        http.answer_scrape(state, f"info_hash={quote_from_bytes(HASH)}")
    )
    assert scraped[b"files"][HASH] == {
        b"complete": 0,
        b"downloaded": 0,
        b"downloaders": 1,
        b"incomplete": 2,
    }
    assert len(reply(state, BASE + "&port=80&left=5&event=paused")[b"peers"]) == 6


@given(
    st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.7"]),
    st.booleans(),
    st.binary(max_size=20),
    st.text(max_size=20),
    st.sampled_from(Event),
)
def test_a_reply_is_canonical_bencode(
    source: str, full: bool, tracker_id: bytes, warning: str, event: Event
) -> None:
    state = Swarms(tracked=track_everything, rng=Random(1), limits=Limits(peers=2 + full))
    for number, address in enumerate(("192.0.2.9", "2001:db8::9", "192.0.2.8")[: 2 + full]):
        query = BASE.replace(quote_from_bytes(PEER, safe=""), f"{number}" * 20)
        answer_announce(state, query + "&port=1", address, 0.0)
    query = f"{BASE}&port=80&event={event}&trackerid={quote_from_bytes(tracker_id)}"
    body = answer_announce(state, query, source, 0.0, warning)
    value = canonical.decode(body, limit=10_000)
    assert canonical.encode(value) == body


def test_who_comes_much_too_often_is_told_when_to_come_again() -> None:
    state = Swarms(tracked=track_everything, rng=Random(1), pace=Pace(rate=1, burst=2))
    for port in (1, 2):
        answer_announce(state, f"{BASE}&port={port}", "203.0.113.5", 0.0)
    with pytest.raises(HurryError) as caught:
        answer_announce(state, f"{BASE}&port=3", "203.0.113.6", 0.0)
    assert bencodepy.decode(http.failure(caught.value))[b"retry in"] == 1
    answer_announce(state, f"{BASE}&port=3", "203.0.114.6", 0.0)
    answer_announce(state, f"{BASE}&port=3", "203.0.113.6", 1.0)
