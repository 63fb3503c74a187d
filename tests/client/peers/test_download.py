"""One download's decisions: where the info dictionary comes from, and what follows from it."""

from dataclasses import replace
from hashlib import sha256
from random import Random

from client.peers import download, events, extensions
from client.peers.download import METADATA_DEPTH, METADATA_TIMEOUT, Download
from client.peers.extensions import METADATA_BLOCK
from client.peers.layout import BLOCK_SIZE, Block
from workunits.metainfo import Hasher, Metainfo
from workunits.torrents import TorrentInfo, of_blob, parse_torrent_info

CONTENT = Random(4).randbytes(15 * 1024 * 1024)
"""Its info dictionary is longer than one metadata block."""


def hashed() -> Metainfo:
    hasher = Hasher(len(CONTENT))
    hasher.update(CONTENT)
    return hasher.finish().info


INFO = hashed()
PARTS = [INFO.raw[at : at + METADATA_BLOCK] for at in range(0, len(INFO.raw), METADATA_BLOCK)]
WANTED = of_blob(INFO)
INTRODUCED = extensions.Introduced(metadata=len(INFO.raw), queue=100)


def parse(raw: bytes) -> TorrentInfo:
    return parse_torrent_info(raw, v1=INFO.ref.v1, v2=INFO.ref.v2)


def started(*peers: str) -> Download:
    made = Download(parse, Random(1))
    for peer in peers:
        made.join(peer, 0.0)
    return made


def handle(at: Download, peer: str, event: events.Event, now: float = 0.0) -> list[object]:
    return list(at.handle(peer, event, now, fast=True))


def give(at: Download, peer: str, parts: list[bytes]) -> list[object]:
    found: list[object] = []
    for part, data in enumerate(parts):
        found += handle(at, peer, extensions.MetadataReceived(part, data))
    return found


def test_all_parts_of_the_info_dictionary_are_asked_of_one_peer() -> None:
    assert len(PARTS) > 1
    at = started("a", "b")
    asks = [download.AskMetadata("a", part) for part in range(len(PARTS))]
    assert handle(at, "a", INTRODUCED) == asks
    assert handle(at, "b", INTRODUCED) == []
    assert give(at, "a", PARTS) == [download.Begin(WANTED)]


def test_parts_may_come_in_any_order_and_twice() -> None:
    at = started("a")
    handle(at, "a", INTRODUCED)
    last = len(PARTS) - 1
    assert handle(at, "a", extensions.MetadataReceived(last, PARTS[last])) == []
    again = handle(at, "a", extensions.MetadataReceived(last, PARTS[last]))
    assert again == [download.Unwanted("a")]
    assert give(at, "a", PARTS[:-1])[-1] == download.Begin(WANTED)


def test_a_forged_info_dictionary_costs_the_connection_and_another_peer_is_asked() -> None:
    at = started("liar", "good")
    handle(at, "liar", INTRODUCED)
    handle(at, "good", INTRODUCED)
    drop, *asks = give(at, "liar", [bytes(len(part)) for part in PARTS])
    assert isinstance(drop, download.Drop) and drop.peer == "liar" and drop.ban
    assert asks == [download.AskMetadata("good", part) for part in range(len(PARTS))]


def test_a_peer_that_takes_too_long_refuses_or_leaves_is_passed_over() -> None:
    for how in ("late", "refuses", "leaves"):
        at = started("slow", "good")
        handle(at, "slow", INTRODUCED)
        handle(at, "good", INTRODUCED)
        if how == "late":
            assert at.tick(METADATA_TIMEOUT - 1) == []
            commands = at.tick(METADATA_TIMEOUT + 1)
        elif how == "refuses":
            commands = at.handle("slow", extensions.MetadataRejected(0), 1.0, fast=True)
        else:
            commands = at.leave("slow", 1.0)
        assert commands[0] == download.AskMetadata("good", 0)
        assert handle(at, "good", extensions.MetadataReceived(0, PARTS[0])) == []


def test_a_peer_that_sends_a_part_now_and_then_is_passed_over_if_there_is_another() -> None:
    for others in ((), ("good",)):
        at = started("drips", *others)
        for peer in ("drips", *others):
            handle(at, peer, replace(INTRODUCED, metadata=512 * METADATA_BLOCK))
        now, turned = 0.0, False
        for part in range(100):
            now += METADATA_TIMEOUT - 1
            if turned := download.AskMetadata("good", 0) in at.tick(now):
                break
            handle(at, "drips", extensions.MetadataReceived(part, b"x"), now)
        assert turned == bool(others)


def test_a_long_info_dictionary_is_asked_for_bit_by_bit() -> None:
    at = started("a")
    asks = handle(at, "a", replace(INTRODUCED, metadata=100 * METADATA_BLOCK))
    assert len(asks) == METADATA_DEPTH
    for part in range(99):
        asks += handle(at, "a", extensions.MetadataReceived(part, b"x"))
    assert asks == [download.AskMetadata("a", part) for part in range(100)]


def test_parts_from_somebody_who_was_not_asked_count_against_it() -> None:
    at = started("a", "b")
    handle(at, "a", INTRODUCED)
    assert give(at, "b", PARTS[:1]) == [download.Unwanted("b")]
    block = Block(0, 0, BLOCK_SIZE)
    assert handle(at, "b", events.Received(block, b"x")) == [download.Unwanted("b")]


def test_interest_is_told_once_and_blocks_are_asked_for_after_unchoking() -> None:
    at = started("a")
    assert at.know(WANTED) == [download.Begin(WANTED)]
    assert at.begun((), 0.0) == []
    assert handle(at, "a", events.HasAll()) == [download.Interest("a", on=True)]
    (ask,) = handle(at, "a", events.Choking(on=False))
    assert isinstance(ask, download.Ask) and len(set(ask.blocks)) == len(ask.blocks)
    at.tick(0.0)
    keep, *_ = handle(at, "a", events.Received(ask.blocks[0], b"data"))
    assert keep == download.Keep("a", ask.blocks[0], b"data")


def test_a_verified_piece_is_told_and_the_last_one_finishes() -> None:
    at = started("a")
    assert at.know(WANTED) == [download.Begin(WANTED)]
    assert at.begun((), 0.0) == []
    handle(at, "a", events.HasAll())
    queue = handle(at, "a", events.Choking(on=False))
    finished = False
    gained: set[int] = set()
    while queue:
        command = queue.pop()
        match command:
            case download.Ask(_, blocks):
                for block in blocks:
                    data = bytes(block.length)
                    queue += handle(at, "a", events.Received(block, data))
            case download.Check(piece, root):
                assert not root
                assert not at.needs_digests(piece, ok=True)
                queue += at.checked(piece, True, [], 0.0)
            case download.Gained(piece):
                gained.add(piece)
            case download.Finished():
                finished = True
    assert finished and gained == set(range(INFO.count))


def test_a_bad_piece_bans_its_only_sender() -> None:
    at = started("a")
    assert at.know(WANTED) == [download.Begin(WANTED)]
    assert at.begun((), 0.0) == []
    handle(at, "a", events.HasAll())
    (ask,) = handle(at, "a", events.Choking(on=False))
    assert isinstance(ask, download.Ask)
    piece = ask.blocks[0].piece
    for block in [block for block in ask.blocks if block.piece == piece]:
        handle(at, "a", events.Received(block, b"bad"))
    assert at.picker is not None
    blocks = at.picker._layout.blocks_of(piece)
    drop, *_ = at.checked(piece, False, [sha256(b"bad").digest()] * len(blocks), 0.0)
    assert isinstance(drop, download.Drop) and drop.peer == "a" and drop.ban
