"""The picker asks for every block, from whom it should, and finds out who lies."""

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.peers.layout import BLOCK_SIZE, Block, Layout
from client.peers.picker import (
    DROP_TIMEOUT,
    MAX_REFUSED,
    REQUEST_TIMEOUT,
    SOLE_TIMEOUT,
    STALL_TIMEOUT,
    WINDOW,
    Picker,
)
from client.peers.supply import MAX_DEPTH, MIN_DEPTH

SMALL = Layout.of(10 * BLOCK_SIZE)
"""Ten pieces of one block."""

WIDE = Layout(8 * 4 * BLOCK_SIZE - 5, 4 * BLOCK_SIZE, 8)
"""Eight pieces of four blocks; the last block is short."""


def picker_of(layout: Layout, *peers: str, every: bool = True) -> Picker:
    picker = Picker(layout, Random(5))
    for peer in peers:
        picker.join(peer, 0.0)
        picker.choke(peer, on=False)
        if every:
            picker.has_all(peer)
    return picker


def feed(picker: Picker, peer: str, blocks: list[Block], now: float = 0.0) -> list[int]:
    """The blocks come; returns the pieces that are complete."""
    return [b.piece for b in blocks if picker.received(peer, b, now).complete]


def digests(layout: Layout, piece: int, bad: set[Block] | None = None) -> list[bytes]:
    blocks = layout.blocks_of(piece)
    return [b"bad" if bad and block in bad else b"good" for block in blocks]


def test_nothing_is_asked_of_a_peer_that_chokes_or_has_nothing() -> None:
    picker = picker_of(SMALL, "a", every=False)
    assert picker.pick("a", 0.0) == []
    picker.has("a", [3])
    picker.choke("a", on=True)
    assert picker.pick("a", 0.0) == []
    picker.allow("a", 3)
    assert picker.pick("a", 0.0) == [Block(3, 0, BLOCK_SIZE)]


def test_the_rarest_piece_comes_first() -> None:
    picker = picker_of(SMALL, "a", "b", "c", every=False)
    picker.has("a", range(10))
    picker.has("b", [0, 1, 2, 3, 4, 5, 6, 8, 9])
    picker.has("c", [0, 1, 2, 4, 5, 6, 8, 9])
    order = [block.piece for block in picker.pick("a", 0.0)]
    assert order[:2] == [7, 3]


def test_pieces_that_were_there_before_are_not_fetched() -> None:
    picker = Picker(SMALL, Random(5), have=range(8))
    picker.join("a", 0.0)
    picker.choke("a", on=False)
    picker.has_all("a")
    assert picker.missing == 2 and picker.has_piece(3)
    assert sorted(block.piece for block in picker.pick("a", 0.0)) == [8, 9]
    assert Picker(SMALL, Random(5), have=range(10)).done


@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_in_order_no_piece_is_fetched_while_an_earlier_one_near_the_start_waits(
    seed: int, pieces: int, peers: int
) -> None:
    rng = Random(seed)
    layout = Layout(pieces * 2 * BLOCK_SIZE - 5, 2 * BLOCK_SIZE, pieces)
    picker = Picker(layout, rng, sequential=True)
    owned = {
        f"peer{n}": set(rng.sample(range(pieces), rng.randint(1, pieces))) for n in range(peers)
    }
    owned["saint"] = set(range(pieces))
    for peer, has in owned.items():
        picker.join(peer, 0.0)
        picker.choke(peer, on=False)
        picker.has(peer, has)
    asked: set[Block] = set()
    while not picker.done:
        first = next(p for p in range(pieces) if not picker.has_piece(p))
        near = range(first, min(pieces, first + WINDOW))
        peer = rng.choice(sorted(owned))
        blocks = picker.pick(peer, 0.0)
        # What it has near the start and nobody is asked for comes before anything else, in order.
        due = [b for p in near if p in owned[peer] for b in layout.blocks_of(p) if b not in asked]
        assert not blocks or blocks[: len(due)] == due[: len(blocks)]
        asked |= set(blocks)
        rng.shuffle(blocks)
        for block in blocks:
            if picker.received(peer, block, 0.0).complete:
                picker.verified(block.piece, digests(layout, block.piece))


@pytest.mark.parametrize("ranked", [0, 1, 256])
def test_every_piece_is_picked_once_however_old_the_ranking_is(
    monkeypatch: pytest.MonkeyPatch, ranked: int
) -> None:
    monkeypatch.setattr("client.peers.picker.RANKED", ranked)
    rng, count = Random(9), 300
    picker = Picker(Layout(count * BLOCK_SIZE, BLOCK_SIZE, count), rng)
    if not ranked:
        picker.pick(joined(picker, "first", []), 0.0)
    seen: list[int] = []
    for number in range(200):
        owned = range(count) if number % 50 == 0 else rng.sample(range(count), rng.randint(0, 80))
        name = joined(picker, f"peer{number}", owned)
        blocks = picker.pick(name, 0.0)
        for block in blocks:
            assert block.piece in owned
            assert picker.received(name, block, 0.0).complete
            picker.verified(block.piece, [b""])
        seen += [block.piece for block in blocks]
        if number % 3 == 0:
            picker.leave(name)
    name = joined(picker, "last", range(count))
    while not picker.done:
        for block in picker.pick(name, 0.0):
            seen.append(block.piece)
            picker.received(name, block, 0.0)
            picker.verified(block.piece, [b""])
    assert sorted(seen) == list(range(count))


def joined(picker: Picker, name: str, owned: Iterable[int]) -> str:
    picker.join(name, 0.0)
    picker.choke(name, on=False)
    picker.has(name, owned)
    return name


def test_a_piece_under_way_is_finished_before_another_is_begun() -> None:
    picker = picker_of(WIDE, "a", "b")
    first = picker.pick("a", 0.0)
    assert len(first) == MIN_DEPTH and len({block.piece for block in first}) == 1
    picker.leave("a")
    again = picker.pick("b", 0.0)
    assert set(again) == set(first)


def test_two_peers_are_asked_for_different_blocks() -> None:
    picker = picker_of(WIDE, "a", "b")
    assert not set(picker.pick("a", 0.0)) & set(picker.pick("b", 0.0))


def test_a_fast_peer_is_asked_for_more_in_advance_but_never_past_its_limits() -> None:
    layout = Layout.of(64 * 1024 * 1024)
    picker = picker_of(layout, "a")
    now, blocks = 0.0, picker.pick("a", 0.0)
    deepest = 0
    for _ in range(400):
        now += 0.01
        for block in blocks[:4]:
            picker.received("a", block, now)
        blocks = blocks[4:] + picker.pick("a", now)
        deepest = max(deepest, len(blocks))
    assert MIN_DEPTH < deepest <= MAX_DEPTH
    picker.join("b", now, window=8 * BLOCK_SIZE)
    picker.choke("b", on=False)
    picker.has_all("b")
    picker.limit("b", 3)
    assert len(picker.pick("b", now)) == 3


def test_blocks_that_were_not_asked_for_are_not_kept() -> None:
    picker = picker_of(SMALL, "a")
    assert not picker.received("a", Block(0, 0, BLOCK_SIZE), 0.0).wanted
    blocks = picker.pick("a", 0.0)
    assert picker.received("a", blocks[0], 0.0).wanted
    assert not picker.received("a", blocks[0], 0.0).wanted


def test_the_last_blocks_are_asked_of_others_too_and_withdrawn() -> None:
    layout = Layout.of(3 * BLOCK_SIZE)
    picker = picker_of(layout, "slow", "quick")
    blocks = picker.pick("slow", 0.0)
    assert len(blocks) == 3
    again = picker.pick("quick", 0.1)
    assert sorted(again) == sorted(blocks)
    taken = picker.received("quick", again[0], 0.2)
    assert taken.wanted and taken.complete and taken.cancel == ("slow",)
    late = picker.received("slow", again[0], 0.3)
    assert not late.wanted


def test_one_pick_never_names_a_block_twice() -> None:
    picker = picker_of(SMALL, "a", every=False)
    picker.has("a", [1, 2, 3])
    blocks = picker.pick("a", 0.0)
    assert len(blocks) == len(set(blocks)) == 3
    assert picker.pick("a", 0.0) == []


def test_a_silent_peer_s_blocks_go_to_another_and_it_is_dropped_in_the_end() -> None:
    picker = picker_of(SMALL, "mute", "good")
    asked = picker.pick("mute", 0.0)
    assert picker.expire(STALL_TIMEOUT - 1) == []
    assert picker.expire(STALL_TIMEOUT + 1) == []
    got: set[Block] = set()
    now = STALL_TIMEOUT + 1
    for _ in range(2):
        blocks = picker.pick("good", now)
        feed(picker, "good", blocks, now)
        got |= set(blocks)
    assert got >= set(asked)
    assert len(picker.pick("mute", now)) == 1
    assert picker.expire(DROP_TIMEOUT + 1) == ["mute"]


def test_a_block_that_comes_after_it_was_given_up_is_still_welcome() -> None:
    picker = picker_of(SMALL, "a")
    blocks = picker.pick("a", 0.0)
    picker.expire(STALL_TIMEOUT + 1)
    assert picker.received("a", blocks[-1], STALL_TIMEOUT + 2).wanted


def test_a_single_request_that_is_forgotten_is_asked_of_another() -> None:
    picker = picker_of(WIDE, "a", "b")
    forgotten, *rest = picker.pick("a", 0.0)
    now = 0.0
    while now < REQUEST_TIMEOUT + 2:
        now += 1.0
        for block in rest:
            picker.received("a", block, now)
        rest = picker.pick("a", now)[:1]
        picker.expire(now)
    assert any(forgotten in picker.pick("b", now) for _ in range(3))


def test_rejected_pieces_are_not_asked_of_the_same_peer_until_it_unchokes() -> None:
    picker = picker_of(SMALL, "a", every=False)
    picker.has("a", [4])
    blocks = picker.pick("a", 0.0)
    picker.rejected("a", blocks[0])
    assert picker.pick("a", 0.0) == []
    picker.choke("a", on=True)
    picker.choke("a", on=False)
    assert picker.pick("a", 0.0) == blocks


def test_a_peer_that_rejects_all_that_it_says_it_has_is_dropped_in_the_end() -> None:
    picker = picker_of(SMALL, "liar", "poor", every=False)
    picker.has_all("liar")
    picker.has("poor", [1, 2])
    for peer in ("liar", "poor"):
        while blocks := picker.pick(peer, 0.0):
            for block in blocks:
                picker.rejected(peer, block)
    picker.has("poor", [3])
    assert picker.expire(DROP_TIMEOUT - 1) == []
    assert picker.expire(DROP_TIMEOUT + 1) == ["liar"]


def test_a_bad_piece_from_one_peer_is_that_peer_s_fault() -> None:
    picker = picker_of(WIDE, "a")
    blocks = picker.pick("a", 0.0)
    piece = blocks[0].piece
    assert feed(picker, "a", blocks) == [piece]
    assert picker.failed(piece, digests(WIDE, piece)) == ("a",)
    assert not picker.has_piece(piece)


def mixed(picker: Picker) -> tuple[int, list[Block], list[Block]]:
    """A complete piece: the first two blocks from a, the others from b."""
    blocks = picker.pick("a", 0.0)
    piece = blocks[0].piece
    feed(picker, "a", blocks[:2])
    picker.choked_out("a")
    picker.choke("a", on=True)
    theirs = [b for b in picker.pick("b", 0.0) if b.piece == piece]
    assert feed(picker, "b", theirs) == [piece]
    picker.choke("a", on=False)
    return piece, blocks[:2], theirs


def refetch(picker: Picker, peer: str, piece: int, now: float, count: int = 4) -> list[Block]:
    """Let ``peer`` deliver until it was asked for ``count`` blocks of ``piece``; those wait."""
    waiting: list[Block] = []
    while len(waiting) < count:
        blocks = picker.pick(peer, now)
        assert blocks
        waiting += [block for block in blocks if block.piece == piece]
        feed(picker, peer, [block for block in blocks if block.piece != piece], now)
        if len(waiting) < count:
            feed(picker, peer, waiting, now)
    return waiting


def test_a_bad_piece_from_several_is_fetched_from_one_and_the_liar_is_named() -> None:
    picker = picker_of(WIDE, "a", "b", "c")
    piece, _, theirs = mixed(picker)
    assert picker.failed(piece, digests(WIDE, piece, set(theirs[:1]))) == ()
    again = refetch(picker, "c", piece, 1.0)
    assert again == WIDE.blocks_of(piece)
    assert not any(block.piece == piece for block in picker.pick("a", 1.0))
    feed(picker, "c", again, 1.0)
    assert picker.suspicious(piece)
    assert picker.verified(piece, digests(WIDE, piece)) == ("b",)
    assert picker.has_piece(piece) and not picker.suspicious(piece)


def test_a_single_source_that_leaves_or_dawdles_is_replaced() -> None:
    for leaves in (True, False):
        picker = picker_of(WIDE, "a", "b", "c")
        piece, _, _ = mixed(picker)
        picker.failed(piece, digests(WIDE, piece))
        again = refetch(picker, "c", piece, 1.0, count=1)
        if leaves:
            picker.leave("c")
        else:
            picker.received("c", again[0], SOLE_TIMEOUT)
            picker.expire(1.0 + SOLE_TIMEOUT + 1)
        picker.leave("b")
        assert refetch(picker, "a", piece, 70.0, count=1)[0] == WIDE.blocks_of(piece)[0]


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_whatever_the_peers_do_the_blob_is_fetched_in_the_end(
    seed: int, blocks: int, peers: int
) -> None:
    rng = Random(seed)
    layout = Layout(blocks * BLOCK_SIZE - 7, 4 * BLOCK_SIZE, -(-blocks // 4))
    names = [f"peer{n}" for n in range(peers)]
    picker = Picker(layout, rng)
    moods = {name: rng.choice(["good", "bad", "mute", "mixed"]) for name in names}
    names.append("saint")
    moods["saint"] = "good"
    content: dict[Block, bytes] = {}
    queues: dict[str, list[Block]] = {}
    for name in names:
        picker.join(name, 0.0)
        picker.choke(name, on=False)
        picker.has_all(name)
        queues[name] = []
    now = 0.0

    def drop(name: str) -> None:
        if name in queues:
            assert moods[name] != "good"
            picker.leave(name)
            del queues[name]

    for _ in range(4000):
        if picker.done:
            break
        now += 0.2
        for idle in picker.expire(now):
            if idle != "saint" and moods[str(idle)] == "mute":
                drop(str(idle))
        for name in list(queues):
            if name not in queues:
                continue
            queues[name] += picker.pick(name, now)
            if moods[name] == "mute" or not queues[name]:
                continue
            block = queues[name].pop(rng.randrange(len(queues[name])))
            taken = picker.received(name, block, now)
            if not taken.wanted:
                continue
            lie = moods[name] == "bad" or (moods[name] == "mixed" and rng.random() < 0.3)
            content[block] = name.encode() if lie else b"good"
            if taken.complete:
                found = [content[part] for part in layout.blocks_of(block.piece)]
                ok = all(part == b"good" for part in found)
                judge = picker.verified if ok else picker.failed
                for liar in judge(block.piece, found):
                    drop(str(liar))
    assert picker.done


@given(st.lists(st.tuples(st.sampled_from("hvhx"), st.integers(0, 9), st.integers(0, 1))))
def test_a_peer_is_interesting_while_it_has_something_that_is_missing(
    steps: list[tuple[str, int, int]],
) -> None:
    layout = Layout(10 * BLOCK_SIZE, BLOCK_SIZE, 10)
    picker = Picker(layout, Random(1), have=(3,))
    missing, has = set(range(10)) - {3}, {0: set[int](), 1: set[int]()}
    for peer in has:
        picker.join(peer, 0.0)
    for kind, piece, peer in steps:
        if kind == "h":
            picker.has(peer, [piece, piece])
            has[peer].add(piece)
        elif kind == "v":
            picker.verified(piece, [b""])
            missing.discard(piece)
        else:
            picker.leave(peer)
            picker.join(peer, 0.0)
            has[peer].clear()
        for each, pieces in has.items():
            assert picker.interesting(each) == bool(pieces & missing)


def test_a_peer_that_refuses_many_pieces_is_asked_for_no_more_and_dropped() -> None:
    count = 4 * MAX_REFUSED
    picker = Picker(Layout(count * BLOCK_SIZE, BLOCK_SIZE, count), Random(1))
    picker.join("a", 0.0)
    picker.has_all("a")
    picker.choke("a", on=False)
    asked = 0
    while blocks := picker.pick("a", 0.0):
        asked += len(blocks)
        for block in blocks:
            picker.rejected("a", block)
    assert MAX_REFUSED <= asked < 2 * MAX_REFUSED
    assert picker.expire(DROP_TIMEOUT + 1) == ["a"]
