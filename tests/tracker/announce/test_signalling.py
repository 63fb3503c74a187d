"""The relay without sockets: a connection is just a name."""

from collections import Counter
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tracker.announce import signalling
from tracker.announce.signalling import Relay, Send
from tracker.announce.swarms import Counts, Limits, Swarms, track_everything
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
)

HASH = b"h" * 20
A, B, C = b"a" * 20, b"b" * 20, b"c" * 20


class World:
    """A relay whose clock stands at ``now``."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.swarms = Swarms(tracked=track_everything, rng=Random(1), limits=limits)
        self.relay: Relay[str] = Relay(self.swarms)
        self.now = 0.0

    def announce(
        self, socket: str, peer_id: bytes, *offers: str, **more: object
    ) -> list[Send[str]]:
        made = tuple(Offer(offer.encode().ljust(20), offer) for offer in offers)
        message = Announce(HASH, peer_id, offers=made, **more)  # type: ignore[arg-type]
        return self.relay.receive(socket, message, self.now)

    def answer(self, socket: str, peer_id: bytes, to: bytes, offer: str) -> list[Send[str]]:
        message = Answer(HASH, peer_id, to, offer.encode().ljust(20), "answer")
        return self.relay.receive(socket, message, self.now)

    def counts(self) -> Counts | None:
        return self.swarms.counts(HASH)


def relayed(sends: list[Send[str]]) -> list[tuple[str, str]]:
    return [(send.to, send.message.sdp) for send in sends if isinstance(send.message, RelayedOffer)]


def test_each_offer_goes_to_another_peer_after_the_reply() -> None:
    world = World()
    for socket in "pqr":
        world.announce(socket, socket.encode() * 20)
    sends = world.announce("s", A, "1", "2", "3", "4", "5")
    assert sends[0] == Send("s", AnnounceReply(HASH, 120, 0, 4))
    assert sorted(to for to, _ in relayed(sends)) == ["p", "q", "r"]
    assert sorted(sdp for _, sdp in relayed(sends)) == ["1", "2", "3"]


def test_numwant_limits_how_many_offers_are_relayed() -> None:
    world = World()
    for socket in "pqr":
        world.announce(socket, socket.encode() * 20)
    assert len(relayed(world.announce("s", A, "1", "2", "3", numwant=2))) == 2
    assert relayed(world.announce("s", A, "4", numwant=0)) == []


def test_a_seeder_offers_to_leechers_only() -> None:
    world = World()
    world.announce("p", B, left=0)
    assert relayed(world.announce("s", A, "1", left=0)) == []
    assert relayed(world.announce("s", A, "2", left=None)) == [("p", "2")]


def test_an_answer_reaches_the_socket_that_offered_once_and_the_answerer_hears_nothing() -> None:
    world = World()
    world.announce("b", B)
    world.announce("a", A, "1")
    sends = world.answer("b", B, A, "1")
    assert sends == [Send("a", RelayedAnswer(HASH, B, b"1".ljust(20), "answer"))]
    assert world.answer("b", B, A, "1") == []


def test_an_answer_that_nobody_asked_for_is_dropped() -> None:
    world = World()
    world.announce("b", B)
    world.announce("c", C)
    world.announce("a", A, "1", "2")
    given = dict(relayed(world.announce("a", A, "3", numwant=1)))
    (holder,) = given
    other, other_id = ("c", C) if holder == "b" else ("b", B)
    holder_id = B if holder == "b" else C
    assert world.answer(other, other_id, A, "3") == []
    assert world.answer(other, holder_id, A, "3") == []
    assert world.answer(holder, other_id, A, "3") == []
    assert world.answer(holder, holder_id, C, "3") == []
    assert world.answer(holder, holder_id, A, "9") == []
    assert len(world.answer(holder, holder_id, A, "3")) == 1


def test_an_offer_ages_out_even_before_it_is_pruned() -> None:
    world = World()
    world.announce("b", B)
    world.announce("a", A, "1")
    world.now = signalling.OFFER_TTL
    assert world.answer("b", B, A, "1") == []
    world.announce("b", B)
    world.announce("a", A, "2")
    world.now += signalling.OFFER_TTL - 1
    assert world.relay.prune(world.now) == 0
    assert world.relay.prune(world.now + 1) == 1
    assert world.relay.outstanding == 0


def test_two_peer_ids_on_one_socket_are_two_peers_and_leave_no_ghost() -> None:
    world = World()
    world.announce("s", A)
    world.announce("s", B, left=0)
    assert world.counts() == Counts(1, 1, 0)
    world.announce("s", A, event=Event.STOPPED)
    assert world.counts() == Counts(1, 0, 0)
    world.relay.close("s")
    assert world.counts() == Counts(0, 0, 0)


def test_the_end_of_an_old_socket_does_not_remove_the_peer_of_the_new_one() -> None:
    world = World()
    world.announce("old", A)
    world.announce("new", A)
    world.relay.close("old")
    assert world.counts() == Counts(0, 1, 0)
    assert relayed(world.announce("b", B, "1")) == [("new", "1")]


def test_a_stranger_with_a_borrowed_peer_id_can_stop_nobody() -> None:
    world = World()
    world.announce("a", A)
    world.announce("thief", A, event=Event.STOPPED)
    assert world.counts() == Counts(0, 1, 0)


def test_a_stranger_with_a_borrowed_peer_id_cannot_take_over_an_answer() -> None:
    world = World()
    world.announce("b", B)
    world.announce("a", A, "1")
    assert relayed(world.announce("thief", A, "1")) == []
    assert [send.to for send in world.answer("b", B, A, "1")] == ["a"]


def test_the_same_offer_id_can_be_used_again_by_its_owner() -> None:
    world = World()
    world.announce("b", B)
    world.announce("a", A, "1")
    assert relayed(world.announce("a", A, "1")) == [("b", "1")]
    assert world.relay.outstanding == 1


def test_nobody_is_offered_a_closed_socket_and_its_offers_die_with_it() -> None:
    world = World()
    world.announce("b", B)
    world.announce("a", A, "1")
    world.relay.close("a")
    assert world.answer("b", B, A, "1") == []
    assert relayed(world.announce("b", B, "2")) == []
    world.relay.close("never seen")


def test_a_peer_is_not_offered_to_itself_on_another_socket() -> None:
    world = World()
    world.announce("old", A)
    assert relayed(world.announce("new", A, "1")) == []


def test_a_stop_relays_nothing_and_is_confirmed() -> None:
    world = World()
    world.announce("b", B)
    sends = world.announce("a", A, "1", event=Event.STOPPED)
    assert sends == [Send("a", AnnounceReply(HASH, 120, 0, 1))]


def test_what_one_socket_may_hold_is_bounded() -> None:
    world = World()
    for number in range(signalling.MAX_MEMBERSHIPS + 10):
        world.announce("s", number.to_bytes(20, "big"))
    assert world.swarms.peer_count == signalling.MAX_MEMBERSHIPS
    world.announce("b", B)
    for number in range(signalling.MAX_OUTSTANDING + 10):
        world.announce("a", A, f"{number}-x")
    assert world.relay.outstanding == signalling.MAX_OUTSTANDING


def test_a_full_tracker_relays_nothing() -> None:
    world = World(Limits(peers=1))
    world.announce("b", B)
    assert len(world.announce("a", A, "1")) == 1


def test_untracked_hashes_are_refused_by_name() -> None:
    relay: Relay[str] = Relay(Swarms(tracked=lambda _: False, rng=Random(1)))
    (send,) = relay.receive("a", Announce(HASH, A), 0.0)
    assert isinstance(send.message, Failure)
    assert send.message.info_hash == HASH
    assert relay.receive("a", Scrape((HASH,)), 0.0) == [Send("a", ScrapeReply((), 300))]


def test_a_scrape_counts_each_swarm_once_and_everything_is_refused() -> None:
    world = World()
    world.announce("a", A, left=0, event=Event.COMPLETED)
    assert world.relay.receive("x", Scrape((HASH, HASH)), 0.0) == [
        Send("x", ScrapeReply((SwarmCounts(HASH, 1, 0, 1),), 300))
    ]
    (send,) = world.relay.receive("x", Scrape(), 0.0)
    assert isinstance(send.message, Failure)
    assert send.message.action == "scrape"


class AnyOrder(RuleBasedStateMachine):
    """Whatever the sockets do, only open ones are sent to, and nothing outlives them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Limits(socket_ttl=300))
        self.open: set[str] = set()
        self.offered: Counter[tuple[str, bytes, bytes, str]] = Counter()

    @rule(
        socket=st.sampled_from("pqrs"),
        peer_id=st.sampled_from([A, B, C]),
        offers=st.lists(st.sampled_from("123456"), max_size=4),
        event=st.sampled_from(Event),
        left=st.sampled_from([None, 0, 1]),
    )
    def announce(
        self, socket: str, peer_id: bytes, offers: list[str], event: Event, left: int | None
    ) -> None:
        self.open.add(socket)
        sends = self.world.announce(socket, peer_id, *offers, event=event, left=left)
        assert {send.to for send in sends} <= self.open
        assert sum(isinstance(send.message, AnnounceReply) for send in sends) == 1
        for to, sdp in relayed(sends):
            self.offered[to, peer_id, sdp.encode().ljust(20), socket] += 1

    @rule(
        socket=st.sampled_from("pqrs"),
        peer_id=st.sampled_from([A, B, C]),
        to=st.sampled_from([A, B, C]),
        offer=st.sampled_from("123456"),
    )
    def answer(self, socket: str, peer_id: bytes, to: bytes, offer: str) -> None:
        for send in self.world.answer(socket, peer_id, to, offer):
            assert send.to in self.open
            ticket = (socket, to, offer.encode().ljust(20), send.to)
            assert self.offered[ticket] > 0
            self.offered[ticket] -= 1

    @rule(socket=st.sampled_from("pqrs"))
    def close(self, socket: str) -> None:
        self.open.discard(socket)
        self.world.relay.close(socket)

    @rule(seconds=st.floats(0, 200))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.relay.prune(self.world.now)
        self.world.swarms.prune(self.world.now)

    @invariant()
    def nothing_is_left_of_closed_sockets(self) -> None:
        if not self.open:
            assert self.world.swarms.peer_count == 0
            assert self.world.relay.outstanding == 0


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAnyOrder = AnyOrder.TestCase
