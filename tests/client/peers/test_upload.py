"""Slots are few and go round, those who give get more, and nobody starves."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from client.peers.extensions import QUEUE_LIMIT
from client.peers.layout import BLOCK_SIZE, Block
from client.peers.upload import (
    OPTIMISTIC,
    QUEUE_BYTES,
    RATE_SECONDS,
    RECHOKE,
    ROTATION,
    SLOTS,
    SNUB,
    Meter,
    Turn,
    Upload,
)

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


def test_large_requests_fill_a_queue_too() -> None:
    upload = full()
    large = 128 * 1024
    count = QUEUE_BYTES // large
    assert all(upload.request(0, Block(piece, 0, large)) for piece in range(count))
    assert not upload.request(0, Block(count, 0, 1))
    assert upload.cancel(0, Block(3, 0, large))
    assert upload.request(0, Block(count, 0, large))
    assert upload.next(0) is not None
    assert upload.request(0, Block(count, 0, 1))


def test_a_seed_takes_the_slot_of_the_slowest() -> None:
    upload = full(extra=1)
    for peer in range(SLOTS):
        upload.took(peer, 1000 if peer == 5 else 50_000, 30.0)
    assert upload.tick(30.0) == [Turn(5, on=True), Turn(SLOTS, on=False)]


def test_bytes_of_strangers_count_for_nothing() -> None:
    upload = Upload()
    upload.gave("gone", 1000, 0.0)
    upload.took("gone", 1000, 0.0)
    assert upload.tick(1.0) == []


def test_a_meter_approaches_the_true_rate_and_forgets_it() -> None:
    meter, now = Meter(), 0.0
    assert meter.rate(5.0) == 0
    for _ in range(3000):
        now += 0.1
        meter.add(10_000, now)
    assert 0.97 < meter.rate(now) / 100_000 < 1.03
    assert meter.rate(now + 5 * RATE_SECONDS) < 1000
    assert meter.rate(now - 100) <= meter.rate(now)


class Crowd:
    """Peers that want something of one that downloads (or seeds), second by second."""

    def __init__(self, upload: Upload, slots: int = SLOTS) -> None:
        self.upload = upload
        self.slots = slots
        self.now = 0.0
        self.peers: list[int] = []
        self.served: set[object] = set()
        self.seconds: dict[object, float] = {}
        self.waited: dict[object, float] = {}
        self.longest = 0.0

    def join(self, peer: int) -> None:
        self.peers.append(peer)
        self.waited[peer] = self.now
        self.upload.join(peer, self.now)
        self.obey(self.upload.interest(peer, True, self.now))

    def leave(self, peer: int) -> None:
        self.peers.remove(peer)
        self.served.discard(peer)
        self.waited.pop(peer, None)
        self.obey(self.upload.leave(peer, self.now))

    def obey(self, turns: list[Turn]) -> None:
        for turn in turns:
            assert (turn.peer in self.served) == turn.on
            if turn.on:
                self.served.discard(turn.peer)
                self.waited[turn.peer] = self.now
            else:
                self.served.add(turn.peer)
                self.longest = max(self.longest, self.now - self.waited.pop(turn.peer))
        # Not only in the end: chokes are sent before the unchokes that they make room for.
        assert len(self.served) <= self.slots

    def second(self) -> None:
        self.now += 1
        for peer in self.served:
            self.seconds[peer] = self.seconds.get(peer, 0) + 1
        self.obey(self.upload.tick(self.now))


@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_slots_are_never_exceeded_nor_left_empty_and_nobody_starves(
    seed: int, slots: int, seeding: bool
) -> None:
    rng = Random(seed)
    crowd = Crowd(Upload(seeding=seeding, slots=slots), slots)
    most = 0
    for number in range(600):
        if rng.random() < 0.05 and len(crowd.peers) < 12:
            crowd.join(number)
        if rng.random() < 0.02 and crowd.peers:
            crowd.leave(rng.choice(crowd.peers))
        if rng.random() < 0.01:
            crowd.upload.seeding = not crowd.upload.seeding
        for peer in crowd.peers:
            if rng.random() < 0.3:
                crowd.upload.gave(peer, rng.randrange(100_000), crowd.now)
            if peer in crowd.served:
                crowd.upload.took(peer, rng.randrange(100_000), crowd.now)
        crowd.second()
        most = max(most, len(crowd.peers))
        assert len(crowd.served) == min(slots, len(crowd.peers))
    for since in crowd.waited.values():
        crowd.longest = max(crowd.longest, crowd.now - since)
    assert crowd.longest <= (OPTIMISTIC + RECHOKE + 1) * (most + 1)


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_who_takes_without_giving_gets_less_than_who_gives(
    seed: int, givers: int, riders: int
) -> None:
    rng = Random(seed)
    crowd = Crowd(Upload(seeding=False))
    order = list(range(givers + riders))
    rng.shuffle(order)
    for peer in order:
        crowd.join(peer)
    for _ in range(900):
        for peer in range(givers):
            crowd.upload.gave(peer, 10_000 + 1000 * peer, crowd.now)
        crowd.second()
    best = [crowd.seconds.get(peer, 0) for peer in range(max(0, givers - SLOTS + 1), givers)]
    riding = [crowd.seconds.get(peer, 0) for peer in range(givers, givers + riders)]
    assert min(best) > 850
    if givers + riders > SLOTS:
        assert max(riding) < min(best)
        assert min(riding) > 0


def test_who_stops_to_give_loses_the_slot_to_who_gives() -> None:
    crowd = Crowd(Upload(seeding=False))
    for peer in range(2 * SLOTS):
        crowd.join(peer)
    snubs = range(SLOTS)
    for second in range(600):
        for peer in snubs if second < 60 else range(SLOTS, 2 * SLOTS):
            crowd.upload.gave(peer, 10_000, crowd.now)
        if second == 60:
            assert len(crowd.served & set(snubs)) >= SLOTS - 1
            before = dict(crowd.seconds)
        crowd.second()
    gained = [crowd.seconds[peer] - before.get(peer, 0) for peer in range(2 * SLOTS)]
    assert max(gained[:SLOTS]) < 3 * SNUB < min(gained[SLOTS:-1])
