"""Slots are few, rotate, and never queue more than they should."""

from client.peers.extensions import QUEUE_LIMIT
from client.peers.layout import BLOCK_SIZE, Block
from client.peers.upload import ROTATION, SLOTS, Turn, Upload

BLOCK = Block(0, 0, BLOCK_SIZE)


def full(extra: int = 0) -> Upload:
    upload = Upload()
    for peer in range(SLOTS + extra):
        upload.join(peer, 0.0)
        upload.interest(peer, True, float(peer))
    return upload


def test_an_interested_peer_is_served_at_once_while_there_are_slots() -> None:
    upload = Upload()
    upload.join("a", 0.0)
    assert not upload.request("a", BLOCK)
    assert upload.interest("a", True, 0.0) == [Turn("a", on=False)]
    assert upload.interest("a", True, 0.0) == []
    assert upload.request("a", BLOCK)
    assert upload.next("a") == BLOCK
    assert upload.next("a") is None and upload.next("stranger") is None


def test_requests_are_answered_in_order_once_and_up_to_a_limit() -> None:
    upload = full()
    blocks = [Block(piece, 0, BLOCK_SIZE) for piece in range(QUEUE_LIMIT)]
    assert all(upload.request(0, block) for block in blocks)
    assert not upload.request(0, blocks[0])
    assert not upload.request(0, Block(9999, 0, 1))
    assert upload.cancel(0, blocks[1]) and not upload.cancel(0, blocks[1])
    assert [upload.next(0), upload.next(0)] == [blocks[0], blocks[2]]


def test_the_next_in_line_gets_the_slot_of_one_that_leaves_or_has_enough() -> None:
    upload = full(extra=2)
    assert upload.leave(0, 1.0) == [Turn(SLOTS, on=False)]
    upload.request(1, BLOCK)
    assert upload.interest(1, False, 2.0) == [
        Turn(1, on=True, lost=(BLOCK,)),
        Turn(SLOTS + 1, on=False),
    ]
    assert upload.interest(1, False, 2.0) == []


def test_slots_rotate_only_while_somebody_waits() -> None:
    upload = full()
    assert upload.tick(1000.0) == []
    upload.join("late", 1000.0)
    assert upload.interest("late", True, 1000.0) == []
    upload.request(0, BLOCK)
    assert upload.tick(1001.0) == [Turn(0, on=True, lost=(BLOCK,)), Turn("late", on=False)]
    assert upload.tick(1002.0) == [Turn(1, on=True), Turn(0, on=False)]


def test_nobody_loses_a_slot_before_its_time() -> None:
    upload = full(extra=1)
    assert upload.tick(ROTATION - 1) == []
