"""The WebTorrent tracker wire: what is read, what is refused, and that both sides agree."""

import json
import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.wire import signalling as wire
from workunits.wire.signalling import (
    Announce,
    AnnounceReply,
    Answer,
    Event,
    Failure,
    Offer,
    RelayedAnswer,
    RelayedOffer,
    Scrape,
    ScrapeReply,
    SwarmCounts,
    parse_from_client,
    parse_from_tracker,
)

HASH = bytes(range(236, 256))
PEER = b"-WW0208-abcdefghijkl"
TO = b"-LT2110-\x00\x7f\x80\xff56789012"
OFFER_ID = bytes(range(120, 140))

KEYS = [
    "action",
    "info_hash",
    "peer_id",
    "to_peer_id",
    "offer_id",
    "offer",
    "answer",
    "offers",
    "sdp",
    "type",
    "left",
    "event",
]

identifiers = st.binary(min_size=20, max_size=20)
counters = st.integers(0, 2**63 - 1)
sdps = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400)
offers = st.builds(Offer, identifiers, sdps)
client_messages = st.one_of(
    st.builds(
        Announce,
        identifiers,
        identifiers,
        st.none() | counters,
        st.sampled_from(Event),
        st.none() | counters,
        counters,
        counters,
        st.lists(offers, max_size=10).map(tuple),
    ),
    st.builds(Answer, identifiers, identifiers, identifiers, identifiers, sdps),
    st.builds(Scrape, st.lists(identifiers, max_size=255).map(tuple)),
)
tracker_messages = st.one_of(
    st.builds(RelayedOffer, identifiers, identifiers, identifiers, sdps),
    st.builds(RelayedAnswer, identifiers, identifiers, identifiers, sdps),
    st.builds(
        AnnounceReply,
        identifiers,
        st.integers(1, 86400),
        counters,
        counters,
        st.none() | counters,
        st.text(max_size=100),
    ),
    st.builds(
        ScrapeReply,
        st.lists(
            st.builds(SwarmCounts, identifiers, counters, counters, counters),
            max_size=255,
            unique_by=lambda entry: entry.info_hash,
        ).map(tuple),
        st.none() | counters,
    ),
    st.builds(
        Failure,
        st.text(max_size=100),
        st.sampled_from(["announce", "scrape"]),
        st.none() | identifiers,
    ),
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.text(max_size=8),
            inner,
            max_size=8,
        )
    ),
    max_leaves=20,
)


def announce(**changes: object) -> str:
    """An announce as a client writes it; a change of ``...`` removes the key."""
    message: dict[str, object] = {
        "action": "announce",
        "info_hash": HASH.decode("latin-1"),
        "peer_id": PEER.decode("latin-1"),
        **changes,
    }
    return json.dumps({key: value for key, value in message.items() if value is not ...})


def offer(sdp: object = "v=0", kind: object = "offer") -> dict[str, object]:
    return {"offer": {"type": kind, "sdp": sdp}, "offer_id": OFFER_ID.decode("latin-1")}


@given(client_messages)
def test_what_a_client_encodes_the_tracker_reads_back(message: wire.FromClient) -> None:
    raw = message.encode()
    if len(raw) <= wire.MAX_MESSAGE:
        assert parse_from_client(raw) == message
    if len(raw.encode()) <= wire.MAX_MESSAGE:
        assert parse_from_client(raw.encode()) == message


@given(tracker_messages)
def test_what_a_tracker_encodes_the_client_reads_back(message: wire.FromTracker) -> None:
    raw = message.encode()
    if len(raw) <= wire.MAX_MESSAGE:
        assert parse_from_tracker(raw) == message


@given(st.text(max_size=200) | st.binary(max_size=200) | documents.map(json.dumps))
def test_anything_else_is_read_or_refused_as_the_remotes_fault(raw: str | bytes) -> None:
    for parse in (parse_from_client, parse_from_tracker):
        try:
            parse(raw)
        except RemoteError as error:
            assert error.hint
            Failure.answering(raw, error).encode().encode()


@given(documents)
def test_random_fields_never_crash_an_announce(value: object) -> None:
    for key in ("offers", "answer", "left", "event", "numwant", "info_hash", "offer_id"):
        with suppress(RemoteError):
            parse_from_client(announce(**{key: value}))


def test_every_byte_value_survives_in_an_identifier() -> None:
    for start in range(0, 256, 20):
        value = bytes((start + i) % 256 for i in range(20))
        assert parse_from_client(Scrape((value,)).encode()) == Scrape((value,))


def test_a_webtorrent_magnet_leecher_is_not_a_seeder() -> None:
    message = parse_from_client(announce(left=None, uploaded=None, downloaded=0, numwant=5))
    assert isinstance(message, Announce)
    assert message.left is None
    assert not message.seeding
    assert parse_from_client(announce()) == Announce(HASH, PEER)


def test_only_zero_left_is_seeding() -> None:
    assert Announce(HASH, PEER, left=0).seeding
    assert not Announce(HASH, PEER, left=1).seeding


@pytest.mark.parametrize("event", [..., None, "", "update"])
def test_an_ordinary_announce_has_many_spellings(event: object) -> None:
    message = parse_from_client(announce(event=event))
    assert isinstance(message, Announce)
    assert message.event is Event.NONE


def test_libtorrents_extra_keys_and_empty_offers_are_accepted() -> None:
    message = parse_from_client(
        announce(key="9F1A", corrupt=0, offers=[], numwant=10, left=16384, event="started")
    )
    assert message == Announce(HASH, PEER, 16384, Event.STARTED, 10, token=b"9F1A")
    assert parse_from_client(announce(key=9)) == Announce(HASH, PEER, token=b"9")


@pytest.mark.parametrize("key", [True, 1.5, [], "x" * 65])
def test_a_key_is_a_short_string(key: object) -> None:
    with pytest.raises(MalformedError):
        parse_from_client(announce(key=key))


def test_a_numwant_of_minus_one_means_the_default() -> None:
    message = parse_from_client(announce(numwant=-1))
    assert isinstance(message, Announce)
    assert message.numwant is None


def test_whole_floats_are_numbers_because_javascript_has_no_others() -> None:
    message = parse_from_client(announce(left=0.0, uploaded=1e300))
    assert isinstance(message, Announce)
    assert message.seeding
    assert message.uploaded == wire.MAX_COUNTER


def test_ten_offers_are_read_in_order() -> None:
    message = parse_from_client(announce(offers=[offer(f"v={i}") for i in range(10)]))
    assert isinstance(message, Announce)
    assert [entry.sdp for entry in message.offers] == [f"v={i}" for i in range(10)]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(announce(offers=[offer()] * 11), id="eleven offers"),
        pytest.param(announce(offers=[offer("x" * 16385)]), id="a huge sdp"),
        pytest.param(announce(offers=[offer("é" * 8193)]), id="an sdp that is huge in bytes"),
        pytest.param(announce(extra="x" * 65536), id="a huge message"),
        pytest.param(
            json.dumps({"action": "scrape", "info_hash": ["x" * 20] * 256}), id="256 hashes"
        ),
    ],
)
def test_too_much_is_a_limit_error(raw: str) -> None:
    with pytest.raises(LimitError) as caught:
        parse_from_client(raw)
    assert caught.value.hint


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "null",
        "[]",
        '"announce"',
        "{",
        "[" * 60000,
        b"\xff\xfe",
        "\ufeff{}",
        '{"action":"announce","left":NaN}',
        announce(left=float("inf")),
        '{"left":' + "9" * 5000 + "}",
        announce(action="dance"),
        announce(action=...),
        announce(info_hash="short"),
        announce(info_hash=...),
        announce(info_hash="Ā" * 20),
        announce(info_hash="\ud800" * 20),
        announce(info_hash=[HASH.decode("latin-1")]),
        announce(peer_id=7),
        announce(left=-1),
        announce(left=True),
        announce(left=1.5),
        announce(left="0"),
        announce(left=1e400),
        announce(event="dance"),
        announce(event=["started"]),
        announce(numwant=-2),
        announce(offers={}),
        announce(offers=[None]),
        announce(offers=[{"offer_id": OFFER_ID.decode("latin-1")}]),
        announce(offers=[offer(kind="answer")]),
        announce(offers=[offer(sdp="")]),
        announce(offers=[offer(sdp=None)]),
        announce(offers=[offer(sdp="\ud800")]),
        announce(offers=[{"offer": {"type": "offer", "sdp": "v=0"}, "offer_id": "short"}]),
        announce(answer={"type": "answer", "sdp": "v=0"}),
        announce(answer="v=0", to_peer_id="x" * 20, offer_id="x" * 20),
        json.dumps({"action": "scrape", "info_hash": 5}),
        json.dumps({"action": "scrape", "info_hash": ["x" * 19]}),
    ],
    ids=lambda raw: repr(raw)[:60],
)
def test_a_malformed_client_message_is_refused(raw: str | bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_from_client(raw)
    assert caught.value.hint


@pytest.mark.parametrize(
    "message",
    [
        {"action": "announce", "info_hash": "short"},
        {"action": "announce", "info_hash": "x" * 20},
        {"action": "announce", "info_hash": "x" * 20, "interval": 0},
        {"action": "announce", "info_hash": "x" * 20, "interval": 5, "warning message": 5},
        {"action": "announce", "info_hash": "x" * 20, "offer": {"type": "offer", "sdp": "v"}},
        {"action": "scrape"},
        {"action": "scrape", "files": {"x" * 20: 5}},
        {"action": "scrape", "files": {"x": {}}},
        {"action": "scrape", "files": {}, "flags": 5},
        {"failure reason": 5},
        {},
    ],
    ids=str,
)
def test_a_malformed_tracker_message_is_refused(message: object) -> None:
    with pytest.raises(MalformedError):
        parse_from_tracker(json.dumps(message))


def test_a_huge_scrape_reply_is_refused() -> None:
    files: dict[str, object] = {os.urandom(20).decode("latin-1"): {} for _ in range(256)}
    with pytest.raises(LimitError):
        parse_from_tracker(json.dumps({"action": "scrape", "files": files}))


def test_a_failure_without_action_or_hash_is_still_a_failure() -> None:
    assert parse_from_tracker('{"failure reason":"no"}') == Failure("no")


def test_a_refusal_names_the_action_and_hash_it_refuses() -> None:
    error = MalformedError("no")
    assert Failure.answering(announce(left=-1), error) == Failure("no", "announce", HASH)
    assert Failure.answering('{"action":"scrape"}', error) == Failure("no", "scrape")
    assert Failure.answering("{", error) == Failure("no")


def test_the_bytes_on_the_wire_are_those_that_other_clients_write() -> None:
    assert json.loads(Answer(HASH, PEER, TO, OFFER_ID, "v=0").encode()) == {
        "action": "announce",
        "info_hash": HASH.decode("latin-1"),
        "peer_id": PEER.decode("latin-1"),
        "to_peer_id": TO.decode("latin-1"),
        "offer_id": OFFER_ID.decode("latin-1"),
        "answer": {"type": "answer", "sdp": "v=0"},
    }
    assert json.loads(Announce(HASH, PEER).encode())["left"] is None
    assert "offers" not in json.loads(Announce(HASH, PEER, event=Event.STOPPED).encode())
