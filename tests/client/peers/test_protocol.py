"""The peer protocol takes any cut of an honest stream and refuses everything else early."""

import os
from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.peers import protocol
from client.peers.events import (
    AllowedFast,
    Cancelled,
    Choking,
    Event,
    Handshaken,
    Has,
    HasAll,
    HashesReceived,
    HashesRejected,
    HashesRequested,
    Interested,
    Received,
    Rejected,
    Requested,
)
from client.peers.extensions import (
    CHECKPOINT,
    NUMBERS,
    CheckpointTold,
    Introduced,
    MetadataReceived,
    MetadataRejected,
    MetadataRequested,
    PeersTold,
    end_of_value,
)
from client.peers.layout import BLOCK_SIZE, Block, Layout
from client.peers.protocol import (
    ALLOWANCE,
    PeerWire,
    ask_hashes,
    bitfield_of,
    cancel,
    give_hashes,
    have,
    message,
    request,
    serve,
)
from workunits.canonical import encode
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.hashtree import HashRequest
from workunits.metainfo import info_size_of
from workunits.signing import Identity

LENGTH = 300_000
LAYOUT = Layout.of(LENGTH)
SIZE = info_size_of(LENGTH)
SWARM = bytes(range(20))
OURS, THEIRS = b"a" * 20, b"b" * 20
INFO = os.urandom(SIZE)
GREETING = PeerWire((SWARM, None), THEIRS, LAYOUT, SIZE, 0.0).handshake()
INTRODUCTION = PeerWire((SWARM, None), THEIRS, LAYOUT, SIZE, 0.0).introduce(metadata=True)


def wire() -> PeerWire:
    return PeerWire((SWARM, None), OURS, LAYOUT, SIZE, 0.0)


def greeted() -> PeerWire:
    made = wire()
    made.receive(GREETING, 0.0)
    return made


def speaker() -> PeerWire:
    """The other side, which has seen our introduction."""
    made = PeerWire((SWARM, None), THEIRS, LAYOUT, SIZE, 0.0)
    made.receive(wire().handshake() + wire().introduce(metadata=True), 0.0)
    return made


LOG = Identity.from_seed(b"l" * 32)
NOTE = SignedCheckpoint(Checkpoint("log.example", 7, bytes(32))).sign(LOG, "log.example")
BLOCK = Block(2, BLOCK_SIZE * 0, 16_000)
DATA = os.urandom(16_000)
HASHES = HashRequest(bytes(range(32)), 3, 8, 2, 1)
TOLD = (("192.0.2.7", 6881), ("2001:db8::7", 51413))
GONE = (("192.0.2.8", 1),)
STREAM: list[tuple[bytes, list[Event]]] = [
    (GREETING, [Handshaken(THEIRS, fast=True, extended=True)]),
    (INTRODUCTION, [Introduced(SIZE, protocol.QUEUE_LIMIT, ours=True)]),
    (speaker().possess(None, every=True), [HasAll()]),
    (message(protocol.UNCHOKE), [Choking(on=False)]),
    (message(protocol.INTERESTED), [Interested(on=True)]),
    (bytes(4), []),
    (have(3), [Has((3,))]),
    (request(BLOCK), [Requested(BLOCK)]),
    (cancel(BLOCK), [Cancelled(BLOCK)]),
    (serve(BLOCK, DATA), [Received(BLOCK, DATA)]),
    (speaker().reject(BLOCK), [Rejected(BLOCK)]),
    (message(protocol.ALLOWED_FAST, pack(">I", 1)), [AllowedFast(1)]),
    (message(protocol.SUGGEST, pack(">I", 1)), []),
    (message(99, b"of another time"), []),
    (ask_hashes(HASHES), [HashesRequested(HASHES)]),
    (give_hashes(HASHES, bytes(64)), [HashesReceived(HASHES, bytes(64))]),
    (give_hashes(HASHES, b""), [HashesRejected(HASHES)]),
    (speaker().tell_peers(TOLD, GONE), [PeersTold(TOLD, GONE)]),
    (speaker().ask_metadata(0), [MetadataRequested(0)]),
    (speaker().give_metadata(0, INFO), [MetadataReceived(0, INFO[:BLOCK_SIZE])]),
    (speaker().give_metadata(0, None), [MetadataRejected(0)]),
    (speaker().tell(NOTE), [CheckpointTold(NOTE)]),
    (message(protocol.CHOKE), [Choking(on=True)]),
    (message(protocol.NOT_INTERESTED), [Interested(on=False)]),
]


@given(st.lists(st.integers(1, 3000), max_size=60))
@settings(max_examples=60)
def test_a_stream_cut_anywhere_gives_the_same_events(cuts: list[int]) -> None:
    raw = b"".join(part for part, _ in STREAM)
    reader, events, at = wire(), [], 0
    for cut in cuts:
        events += reader.receive(raw[at : at + cut], 0.0)
        at += cut
    events += reader.receive(raw[at:], 0.0)
    assert events == [event for _, expected in STREAM for event in expected]


def test_single_bytes_are_a_stream_too() -> None:
    raw = b"".join(part for part, _ in STREAM[:8])
    reader = wire()
    events = [event for byte in raw for event in reader.receive(bytes([byte]), 0.0)]
    assert events == [event for _, expected in STREAM[:8] for event in expected]


@pytest.mark.parametrize(
    "raw",
    [b"GET / HTTP/1.1\r\n", b"\x13BitTorrent protocoX", b"\x00" * 68],
)
def test_another_protocol_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        wire().receive(raw, 0.0)


def test_another_swarm_is_refused() -> None:
    with pytest.raises(MalformedError, match="swarm"):
        wire().receive(PeerWire((bytes(20), None), THEIRS, LAYOUT, SIZE, 0.0).handshake(), 0.0)


def test_a_huge_length_prefix_ends_the_connection_before_its_body_comes() -> None:
    for size in (0xFFFFFFFF, protocol.MAX_MESSAGE + 1):
        with pytest.raises(LimitError):
            greeted().receive(pack(">I", size), 0.0)


@pytest.mark.parametrize(
    "raw",
    [
        pack(">IB", 100_000, protocol.HAVE),
        pack(">IB", 6, protocol.CHOKE),
        pack(">IB", 4, protocol.HAVE),
        pack(">IB", 12, protocol.REQUEST),
        pack(">IB", 9, protocol.PIECE),
        pack(">IB", 100, protocol.BITFIELD),
        pack(">IB", 100_000, protocol.EXTENDED),
        pack(">IB", 100_000, 99),
    ],
)
def test_a_wrong_length_is_refused_as_soon_as_the_kind_is_known(raw: bytes) -> None:
    with pytest.raises((LimitError, MalformedError)):
        greeted().receive(raw, 0.0)


@pytest.mark.parametrize(
    "raw",
    [
        have(LAYOUT.count),
        message(protocol.ALLOWED_FAST, pack(">I", 2**32 - 1)),
        request(Block(LAYOUT.count, 0, 1)),
        request(Block(0, 1, LAYOUT.piece_length)),
        request(Block(0, 0, 0)),
        request(Block(LAYOUT.count - 1, 0, LAYOUT.piece_length)),
        cancel(Block(0, 2**32 - 1, 2**32 - 1)),
        serve(Block(0, LAYOUT.piece_length - 1, 2), b"xy"),
        message(protocol.REJECT, pack(">III", 2**32 - 1, 0, 16384)),
    ],
)
def test_what_lies_outside_of_the_blob_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        greeted().receive(raw, 0.0)


def test_a_request_over_128_kib_is_refused() -> None:
    big = Layout.of(2**33)
    reader = PeerWire((SWARM, None), OURS, big, 1, 0.0)
    reader.receive(GREETING, 0.0)
    assert reader.receive(request(Block(0, 0, protocol.MAX_BLOCK)), 0.0)
    with pytest.raises(LimitError):
        reader.receive(request(Block(0, 0, protocol.MAX_BLOCK + 1)), 0.0)


def test_what_a_peer_has_may_be_said_again_as_aria2_and_who_came_by_magnet_do() -> None:
    field = bitfield_of({0, 9}, LAYOUT.count)
    reader = greeted()
    reader.receive(message(protocol.HAVE_NONE) + message(protocol.INTERESTED), 0.0)
    for _ in range(3):
        said = reader.receive(INTRODUCTION + message(protocol.BITFIELD, field), 0.0)
        assert said[1:] == [Has((0, 9))]


def test_a_flood_of_bitfields_is_refused_sooner_than_one_of_smaller_messages() -> None:
    large = Layout(BLOCK_SIZE * 65536, BLOCK_SIZE, 65536)
    reader = PeerWire((SWARM, None), OURS, large, SIZE, 0.0)
    flood = message(protocol.BITFIELD, bytes(large.count // 8)) * 20
    with pytest.raises(LimitError):
        reader.receive(GREETING + flood, 0.0)


def test_spare_bits_in_a_bitfield_are_refused() -> None:
    field = bytearray(bitfield_of(set(), LAYOUT.count))
    field[-1] |= 1
    with pytest.raises(MalformedError):
        greeted().receive(message(protocol.BITFIELD, bytes(field)), 0.0)


def test_a_full_bitfield_means_everything() -> None:
    slow = PeerWire((SWARM, None), OURS, LAYOUT, SIZE, 0.0)
    field = slow.possess(None, every=True)
    assert field[4] == protocol.BITFIELD
    assert greeted().receive(field, 0.0) == [HasAll()]


@given(st.sets(st.integers(0, LAYOUT.count - 1)))
def test_bitfields_come_back(pieces: set[int]) -> None:
    events = greeted().receive(message(protocol.BITFIELD, bitfield_of(pieces, LAYOUT.count)), 0.0)
    full = len(pieces) == LAYOUT.count
    assert events == [HasAll() if full else Has(tuple(sorted(pieces)))]


def test_tiny_messages_are_bounded_and_the_allowance_refills() -> None:
    reader = greeted()
    with pytest.raises(LimitError, match="flood"):
        reader.receive(have(1) * 1_000_000, 0.0)
    reader = greeted()
    with pytest.raises(LimitError, match="flood"):
        reader.receive(bytes(4 * 1_000_000), 0.0)
    reader = greeted()
    for second in range(20):
        reader.receive(have(1) * (ALLOWANCE // 16), float(second))


def test_without_the_fast_extension_none_of_its_messages_are_sent() -> None:
    plain = bytearray(GREETING)
    plain[27] = 0
    reader = wire()
    assert reader.receive(bytes(plain), 0.0) == [Handshaken(THEIRS, fast=False, extended=True)]
    assert reader.reject(BLOCK) == b""
    assert reader.possess(None, every=False) == b""
    assert reader.possess(None, every=True)[4] == protocol.BITFIELD


def extended(number: int, value: object, tail: bytes = b"") -> bytes:
    return message(protocol.EXTENDED, bytes([number]) + encode(value) + tail)


@pytest.mark.parametrize(
    "raw",
    [
        message(protocol.EXTENDED),
        message(protocol.EXTENDED, b"\x00"),
        message(protocol.EXTENDED, b"\x00le"),
        message(protocol.EXTENDED, b"\x00d1:m"),
        extended(0, {"m": {"ut_metadata": 256}}),
        extended(0, {"m": {"ut_metadata": -1}}),
        extended(0, {"m": 5}),
        extended(0, {"metadata_size": -5}),
        extended(1, {"msg_type": 0}),
        extended(1, {"msg_type": 0, "piece": 2**40}),
        extended(1, {"msg_type": 1, "piece": 0, "total_size": 2**40}, bytes(10)),
        extended(1, {"msg_type": 1, "piece": 0, "total_size": SIZE}, bytes(SIZE + 1)),
        extended(1, {"msg_type": 1, "piece": 9, "total_size": SIZE}),
        message(protocol.EXTENDED, b"\x01i1e"),
        extended(0, {"m": {"os_checkpoint": 256}}),
        message(protocol.EXTENDED, b"\x02"),
        message(protocol.EXTENDED, b"\x02" + NOTE.encode()[:-1]),
        message(protocol.EXTENDED, b"\x02" + NOTE.encode() + b"\n"),
        message(protocol.EXTENDED, b"\x02" + NOTE.encode() * 100),
        message(protocol.EXTENDED, b"\x02" + NOTE.encode()) * 2,
    ],
)
def test_a_bad_extension_message_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        greeted().receive(raw, 0.0)


def test_metadata_of_another_size_is_not_asked_for() -> None:
    raw = extended(0, {"m": {"ut_metadata": 3}, "metadata_size": 2**31})
    assert greeted().receive(raw, 0.0) == [Introduced(0, 250)]


def test_extensions_that_we_do_not_know_are_ignored() -> None:
    handshake = extended(0, {"m": {"ut_pex": 2}, "p": 6881, "yourip": b"abcd"})
    assert greeted().receive(handshake, 0.0) == [Introduced(0, 250, port=6881)]
    assert greeted().receive(extended(7, {"added": b""}), 0.0) == []
    assert greeted().receive(extended(1, {"msg_type": 9, "piece": 0}), 0.0) == []


def test_metadata_is_given_only_to_those_who_can_take_it() -> None:
    assert greeted().give_metadata(0, INFO) == b""


def test_a_checkpoint_is_told_once_and_only_to_those_who_take_it() -> None:
    assert NUMBERS[CHECKPOINT] == 2
    assert greeted().tell(NOTE) == b""
    reader = greeted()
    reader.receive(extended(0, {"m": {"ut_metadata": 3}}), 0.0)
    assert reader.tell(NOTE) == b""
    reader = greeted()
    reader.receive(extended(0, {"m": {"os_checkpoint": 9}}), 0.0)
    assert reader.tell(NOTE) == message(protocol.EXTENDED, b"\x09" + NOTE.encode())
    reader.receive(extended(0, {"m": {"os_checkpoint": 9}}), 0.0)
    assert reader.tell(NOTE) == b""


@given(st.binary(max_size=300))
def test_noise_instead_of_a_checkpoint_never_raises_anything_else(raw: bytes) -> None:
    with suppress(RemoteError):
        greeted().receive(message(protocol.EXTENDED, b"\x02" + raw), 0.0)


@given(st.binary(max_size=400))
def test_noise_after_the_handshake_never_raises_anything_else(raw: bytes) -> None:
    with suppress(RemoteError):
        greeted().receive(raw, 0.0)


@given(st.sampled_from(range(25)), st.binary(max_size=60))
def test_noise_in_a_well_framed_message_never_raises_anything_else(kind: int, body: bytes) -> None:
    with suppress(RemoteError):
        greeted().receive(message(kind, body), 0.0)


VALUES = st.recursive(
    st.integers(-(2**63), 2**63) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(VALUES, st.binary(max_size=30))
def test_the_end_of_a_value_is_found_whatever_follows(value: object, tail: bytes) -> None:
    raw = encode(value)
    assert end_of_value(raw + tail) == len(raw)


@given(st.binary(max_size=60))
def test_the_end_of_noise_is_inside_of_it_or_refused(raw: bytes) -> None:
    with suppress(MalformedError):
        assert 0 < end_of_value(raw) <= len(raw)


def test_what_a_peer_says_before_the_metainfo_is_known_is_understood_after_it() -> None:
    reader = PeerWire((SWARM, None), OURS, None, None, 0.0)
    spoken = PeerWire((SWARM, None), THEIRS, LAYOUT, SIZE, 0.0)
    spoken.receive(GREETING, 0.0)
    field = bitfield_of({1, 3}, LAYOUT.count)
    raw = GREETING + message(protocol.BITFIELD, field) + have(2) + message(protocol.UNCHOKE)
    raw += INTRODUCTION + message(protocol.INTERESTED)
    assert reader.receive(raw, 0.0) == [
        Handshaken(THEIRS, fast=True, extended=True),
        Introduced(SIZE, protocol.QUEUE_LIMIT, ours=True),
        Interested(on=True),
    ]
    assert reader.learn(LAYOUT, SIZE) == [Has((1, 2, 3)), Choking(on=False)]
    assert reader.learn(LAYOUT, SIZE) == []
    assert reader.receive(have(0), 0.0) == [Has((0,))]


@pytest.mark.parametrize(
    "said", [have(LAYOUT.count), message(protocol.BITFIELD, bytes(LAYOUT.count // 8 + 2))]
)
def test_what_turns_out_not_to_fit_the_metainfo_is_an_error(said: bytes) -> None:
    reader = PeerWire((SWARM, None), OURS, None, None, 0.0)
    reader.receive(GREETING + said, 0.0)
    with pytest.raises(MalformedError):
        reader.learn(LAYOUT, SIZE)


def test_a_block_before_the_metainfo_is_known_is_an_error() -> None:
    reader = PeerWire((SWARM, None), OURS, None, None, 0.0)
    with pytest.raises(MalformedError):
        reader.receive(GREETING + serve(BLOCK, DATA), 0.0)


def test_a_request_before_the_metainfo_is_known_can_be_refused() -> None:
    reader = PeerWire((SWARM, None), OURS, None, None, 0.0)
    *_, asked = reader.receive(GREETING + request(BLOCK), 0.0)
    assert asked == Requested(BLOCK)
    assert reader.reject(BLOCK)


def test_what_is_said_before_the_metainfo_is_known_adds_up() -> None:
    reader = PeerWire((SWARM, None), OURS, None, None, 0.0)
    early = bitfield_of({1, 9}, LAYOUT.count)
    said = have(0) * 1000 + message(protocol.BITFIELD, early) + have(LAYOUT.count - 1)
    chokes = message(protocol.UNCHOKE) + message(protocol.CHOKE) + message(protocol.UNCHOKE)
    allowed = message(protocol.ALLOWED_FAST, pack(">I", 3))
    assert len(reader.receive(GREETING + said + chokes + allowed, 0.0)) == 1
    has, *rest = reader.learn(LAYOUT, SIZE)
    assert has == Has((0, 1, 9, LAYOUT.count - 1))
    assert rest == [AllowedFast(3), Choking(on=False)]
    with pytest.raises(MalformedError, match="no torrent has"):
        PeerWire((SWARM, None), OURS, None, None, 0.0).receive(GREETING + have(2**31), 0.0)


@given(st.sets(st.integers(0, LAYOUT.count - 1)), st.sets(st.integers(0, LAYOUT.count - 1)))
def test_early_bitfields_and_pieces_say_the_same(one: set[int], two: set[int]) -> None:
    reader = PeerWire((SWARM, None), OURS, None, None, 0.0)
    field = message(protocol.BITFIELD, bitfield_of(two, LAYOUT.count))
    reader.receive(GREETING + b"".join(map(have, one)) + field, 0.0)
    said = reader.learn(LAYOUT, SIZE)
    pieces = tuple(sorted(one | two))
    assert said == ([HasAll()] if len(pieces) == LAYOUT.count else [Has(pieces)] if pieces else [])


def test_a_swarm_has_a_name_in_each_version() -> None:
    v2 = bytes(range(100, 132))
    hybrid = PeerWire((SWARM, v2), OURS, LAYOUT, SIZE, 0.0)
    modern = PeerWire((None, v2), THEIRS, LAYOUT, SIZE, 0.0)
    assert hybrid.handshake()[28:48] == SWARM
    assert modern.handshake()[28:48] == v2[:20]
    (shaken,) = hybrid.receive(modern.handshake(), 0.0)
    assert shaken == Handshaken(THEIRS, fast=True, extended=True, hashes=True)
    with pytest.raises(MalformedError, match="another swarm"):
        modern.receive(hybrid.handshake(), 0.0)


def test_hash_requests_cost_more_than_other_messages() -> None:
    reader = greeted()
    with pytest.raises(LimitError, match="floods"):
        reader.receive(ask_hashes(HASHES) * 1100, 0.0)


@pytest.mark.parametrize(
    "body", [b"", bytes(47), bytes(48), bytes(32) + pack(">4I", 0, 1, 2, 0)], ids=len
)
def test_hash_requests_that_fit_no_tree_are_errors(body: bytes) -> None:
    with pytest.raises((MalformedError, LimitError)):
        greeted().receive(message(protocol.HASH_REQUEST, body), 0.0)


def test_at_most_fifty_addresses_are_told_and_none_without_a_port_is_heard() -> None:
    many = [("192.0.2.1", port) for port in range(1, 100)]
    assert len(speaker().tell_peers(many)) < 500
    raw = extended(3, {"added": bytes(6) + b"\x7f\0\0\1\0\7", "added.f": b"ab"})
    assert greeted().receive(raw, 0.0) == [PeersTold((("127.0.0.1", 7),), ())]
    with pytest.raises(MalformedError, match="cut off"):
        greeted().receive(extended(3, {"added": bytes(7)}), 0.0)


@given(st.binary(max_size=300))
def test_any_peer_exchange_message_is_understood_or_refused(raw: bytes) -> None:
    with suppress(MalformedError, LimitError):
        greeted().receive(message(protocol.EXTENDED, b"\3" + raw), 0.0)
