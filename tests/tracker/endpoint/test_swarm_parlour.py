"""The parlour over a real desk: what who asks is told, what it costs, and where the money is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.tracker.endpoint.cards import card
from tests.tracker.work.chat import DISK, Chat, a_request, answered, lie, only, truth
from tests.tracker.work.world import OPERATOR, SUBMITTER, Actor, World, granted
from tracker.endpoint import tab as tabs
from tracker.endpoint.call import SwarmCall
from tracker.endpoint.catalogue import Catalogue, Published
from tracker.endpoint.keys import AbsentError, BrokeError, CrowdedError, Keys
from tracker.endpoint.parlour import Event, Heard, Served, Settled, Spoke
from tracker.endpoint.swarm_parlour import SwarmParlour
from tracker.endpoint.tab import cost
from tracker.rows import ApiKeyRow, UsageRow
from tracker.sessions import Sessions
from tracker.settings import Waiting
from tracker.work.desk import Desk
from tracker.work.state import Job
from workunits import entries
from workunits.errors import RefusedError
from workunits.ids import BlobRef, PeerKey
from workunits.models.answer import Finish
from workunits.models.card import ModelCard
from workunits.models.request import Request, pack_ids
from workunits.statements import OpenKey, Publish, Statement, Withdraw
from workunits.verification import Policy
from workunits.wire.models import Likely

HASH = b"k" * 32
BUDGET = 100_000
SECONDS = 20.0


@dataclass(eq=False)
class Line:
    """What a parlour needs of sessions, over a world: rows are kept and told at once."""

    world: World

    @property
    def desk(self) -> Desk:
        return self.world.desk

    def clock(self) -> float:
        return self.world.now

    def wall(self) -> float:
        return self.world.now

    def apply(self) -> None:
        self.world.pump()


@dataclass(eq=False)
class Salon:
    """A world with one published model, a key with a budget, and peers who answer."""

    policy: Policy = Policy.PAIR
    price: int = 2
    world: World = field(default_factory=World)
    keys: Keys = field(default_factory=Keys)
    parlour: SwarmParlour = field(init=False)
    chat: Chat = field(init=False)
    nonces: int = 0

    def __post_init__(self) -> None:
        self.chat = Chat(self.world)  # for the ways in which its peers answer
        self.open()
        self.key = self.keys.open(SUBMITTER.key, HASH, "key", BUDGET, 1000, 1)
        claim = OpenKey(HASH, "key", BUDGET, 1000)
        said = Statement.sign(SUBMITTER, claim, time=0, nonce=bytes(16))
        self.world.desk.book.transfer(OPERATOR.key, BUDGET, said)
        self.publish(card(price=self.price))

    def open(self) -> None:
        """Make the parlour."""
        catalogue = Catalogue(trusted=lambda _: False, operator=OPERATOR.key)
        self.parlour = SwarmParlour(
            cast("Sessions", Line(self.world)),
            *(OPERATOR, self.keys, catalogue),
            policy=self.policy,
            waiting=Waiting(verdict=30.0),
            nonce=self.nonce,
        )

    def nonce(self) -> bytes:
        self.nonces += 1
        return self.nonces.to_bytes(16, "big")

    def publish(self, made: ModelCard) -> Published:
        """Publish a model."""
        catalogue = self.parlour.catalogue
        claim = Publish(made.name, BlobRef(b"c" * 32, b"d" * 20, 5))
        published, row = catalogue.publish(OPERATOR.key, claim, made, self.nonces)
        self.world.desk.floor.outbox.rows.append(row)
        self.parlour.opened(published)
        self.world.pump()
        return published

    def peer(self, name: str, *, cores: int = 1) -> Actor:
        """A peer that holds the model."""
        made = card()
        actor = self.world.actor(name, connect=False)
        actor.connect(hold=2, cores=cores, disk=DISK, images=(made.image.name,), held=(made.file,))
        return actor

    @property
    def served(self) -> Served:
        found = self.parlour.find("tiny")
        assert found is not None
        return found

    @property
    def job(self) -> Job:
        job = self.parlour.job("tiny")
        assert job is not None
        return job

    def ask(
        self,
        request: Request | None = None,
        *,
        stream: bool = True,
        top: int = 0,
        urgent: bool = True,
    ) -> SwarmCall:
        request = request or a_request()
        return self.parlour.ask(
            self.key, self.served, request, stream=stream, top=top, urgent=urgent
        )

    def look(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.world.tick(seconds)
        self.parlour.look(self.world.now)
        self.world.pump()


async def all_of(call: SwarmCall) -> list[Event]:
    """Everything that is told, to the end."""
    async with asyncio.timeout(SECONDS):
        return [event async for event in call.events()]


async def following(events: AsyncIterator[Event]) -> Event:
    """The next event, which must be there."""
    async with asyncio.timeout(SECONDS):
        return await anext(events)


async def silence(call: SwarmCall) -> None:
    """The reader reads, and is told nothing."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(call.events())


def heard(events: list[Event]) -> tuple[int, ...]:
    return tuple(id_ for event in events if isinstance(event, Heard) for id_ in event.tokens)


def verdict(events: list[Event]) -> Settled:
    (last,) = [event for event in events if isinstance(event, Settled)]
    assert events[-1] is last
    return last


def first_of(*actors: Actor) -> tuple[Actor, Actor]:
    """Who has the lease, and who has none."""
    (one,) = [actor for actor in actors if actor.leases]
    (other,) = [actor for actor in actors if not actor.leases]
    return one, other


async def test_tokens_are_told_as_they_come_and_the_verdict_at_the_end() -> None:
    salon = Salon()
    one, other = salon.peer("one"), salon.peer("other")
    call = salon.ask()
    worker, checker = first_of(one, other)
    events = call.events()
    right = truth(a_request())
    salon.chat.say(worker, right.tokens[:2])
    assert await following(events) == Heard(right.tokens[:2])
    salon.chat.say(worker, right.tokens[2:], start=2, finish=right.finish)
    assert await following(events) == Heard(right.tokens[2:])
    assert await following(events) == Spoke(Finish.LENGTH)
    salon.chat.commit(worker, answered(a_request(), right))
    salon.chat.finish(worker, checker)
    settled = await following(events)
    assert isinstance(settled, Settled)
    assert (settled.tokens, settled.verified, settled.same) == (right.tokens, True, True)
    assert (settled.worker, settled.validators) == (worker.key, (checker.key,))
    entry = entries.parse(salon.world.entries()[settled.entry].entry)
    assert isinstance(entry, entries.Verdict)
    assert (settled.unit.job, settled.unit.index) == (salon.job.id, entry.index)
    with pytest.raises(StopAsyncIteration):
        await following(events)
    salon.world.audit()


async def test_a_key_is_charged_what_peers_were_paid_and_the_rest_is_released() -> None:
    salon = Salon()
    peers = salon.peer("one"), salon.peer("other")
    call = salon.ask(a_request(most=50))
    most = cost(salon.job.manifest, a_request(most=50))
    assert (salon.key.reserved, salon.key.left) == (most, BUDGET - most)
    before = salon.world.desk.book.escrowed(salon.job.id)
    salon.chat.finish(*peers)
    settled = verdict(await all_of(call))
    paid = sum(salon.world.balance(peer) for peer in peers)
    assert paid == settled.cost == salon.key.spent == before - salon.job.manifest.escrow + paid
    assert salon.key.reserved == 0
    assert salon.world.table[ApiKeyRow, HASH] == salon.key.row()
    use = salon.world.table[UsageRow, HASH, "tiny"]
    assert use == UsageRow(HASH, "tiny", 1, 32, 50, 0, 1, paid)
    assert len(salon.parlour) == 0


async def test_without_streaming_everything_is_told_with_the_verdict() -> None:
    salon = Salon()
    one, other = salon.peer("one"), salon.peer("other")
    call = salon.ask(stream=False)
    worker, _ = first_of(one, other)
    salon.chat.answer(worker)
    assert call._queue.empty()
    salon.chat.finish(one, other)
    events = await all_of(call)
    right = truth(a_request()).tokens
    assert [type(event) for event in events] == [Heard, Spoke, Settled]
    assert heard(events) == verdict(events).tokens == right


async def test_probabilities_come_with_their_tokens() -> None:
    salon = Salon()
    one, other = salon.peer("one"), salon.peer("other")
    call = salon.ask(top=1, stream=False)
    worker, _ = first_of(one, other)
    right = truth(a_request())
    likely = tuple((Likely(id_, -0.5),) for id_ in right.tokens)
    salon.chat.say(worker, right.tokens, finish=right.finish, likely=likely)
    salon.chat.commit(worker, answered(a_request(), right))
    salon.chat.finish(one, other)
    assert (await all_of(call))[0] == Heard(right.tokens, likely)


async def test_a_request_that_the_budget_does_not_cover_is_not_asked() -> None:
    salon = Salon()
    peer = salon.peer("one")
    salon.key.spent = BUDGET - 10
    with pytest.raises(BrokeError):
        salon.ask()
    assert (salon.key.reserved, len(peer.leases), salon.job.reserved) == (0, 0, 0)


async def test_too_many_requests_in_a_minute_wait() -> None:
    salon = Salon()
    salon.peer("one", cores=8)
    salon.key.per_minute = 2
    for _ in range(2):
        salon.ask()
    with pytest.raises(CrowdedError) as caught:
        salon.ask()
    assert not isinstance(caught.value, AbsentError)
    assert caught.value.seconds == pytest.approx(30.0)
    salon.ask(urgent=False)


async def test_where_nobody_can_answer_nothing_is_reserved() -> None:
    salon = Salon()
    with pytest.raises(AbsentError) as caught:
        salon.ask()
    assert caught.value.seconds > 0
    assert salon.key.reserved == 0


async def test_when_all_peers_go_the_request_ends_and_costs_nothing() -> None:
    salon = Salon()
    peer = salon.peer("one")
    call = salon.ask()
    peer.disconnect()
    for _ in range(40):
        salon.look(1.0)
    with pytest.raises(AbsentError):
        await all_of(call)
    assert (salon.key.spent, salon.key.reserved) == (0, 0)


async def test_a_halt_reaches_the_peer_and_ends_the_answer_there() -> None:
    salon = Salon()
    one, other = salon.peer("one"), salon.peer("other")
    call = salon.ask(a_request(most=50))
    worker, _ = first_of(one, other)
    right = truth(a_request(most=50)).tokens
    salon.chat.say(worker, right[:4])
    call.halt(3)
    assert list(worker.halts.values()) == [3]
    cut = truth(a_request(most=50), 5)
    salon.chat.say(worker, cut.tokens[4:], start=4, finish=cut.finish)
    salon.chat.commit(worker, answered(a_request(most=50), cut))
    salon.chat.finish(one, other)
    settled = verdict(await all_of(call))
    assert (settled.finish, settled.verified, settled.same) == (Finish.HALTED, True, True)
    assert len(settled.tokens) == 5


async def test_who_goes_before_anything_was_said_pays_nothing() -> None:
    salon = Salon()
    peer = salon.peer("one")
    call = salon.ask()
    await call.close()
    await call.close()
    assert peer.leases == {}
    assert (salon.key.spent, salon.key.reserved, len(salon.parlour)) == (0, 0, 0)


async def test_who_goes_in_the_middle_pays_for_what_was_computed() -> None:
    salon = Salon()
    one, other = salon.peer("one"), salon.peer("other")
    call = salon.ask(a_request(most=50))
    worker, _ = first_of(one, other)
    salon.chat.say(worker, truth(a_request(most=50)).tokens[:6])
    await call.close()
    token = only(worker)
    assert worker.halts[token] == 6
    cut = truth(a_request(most=50), 6)
    salon.chat.say(worker, cut.tokens[6:], start=6, finish=cut.finish)
    salon.chat.commit(worker, answered(a_request(most=50), cut))
    salon.chat.finish(one, other)
    assert salon.key.spent == cost(salon.job.manifest, a_request(most=50), 6)
    assert (salon.key.reserved, salon.job.reserved) == (0, 0)


async def cheated(*, stream: bool) -> list[Event]:
    """What is told when the first answer was a lie, and a third peer says so."""
    salon = Salon()
    one, other = salon.peer("one"), salon.peer("other")
    call = salon.ask(stream=stream)
    worker, checker = first_of(one, other)
    salon.chat.answer(worker, lambda ask: lie(a_request()))
    third = salon.peer("third")
    salon.chat.finish(checker, third)
    worker.reveal()
    salon.chat.finish(worker, checker, third)
    assert salon.world.desk.peers[worker.key].banned or salon.world.desk.peers[worker.key].wrong
    return await all_of(call)


async def test_a_stream_that_was_a_lie_is_flagged() -> None:
    events = await cheated(stream=True)
    settled = verdict(events)
    assert (settled.verified, settled.same) == (True, False)
    assert heard(events) == lie(a_request()).tokens
    assert settled.tokens == truth(a_request()).tokens


async def test_without_streaming_a_lie_is_never_told() -> None:
    events = await cheated(stream=False)
    settled = verdict(events)
    assert (settled.verified, settled.same) == (True, True)
    assert heard(events) == settled.tokens == truth(a_request()).tokens


async def test_an_answer_that_nobody_checks_is_given_out_and_paid_for_once_somebody_does() -> None:
    salon = Salon()
    worker = salon.peer("one")
    call = salon.ask()
    salon.chat.answer(worker)
    salon.look(29.0)
    assert salon.key.spent == 0
    salon.look(2.0)
    salon.look(5.0)
    events = await all_of(call)
    settled = verdict(events)
    assert (settled.verified, settled.same, settled.entry) == (False, True, -1)
    assert "in time" in settled.reason
    assert settled.worker == worker.key
    assert heard(events) == settled.tokens == truth(a_request()).tokens
    await call.close()
    assert salon.key.reserved > 0
    late = salon.peer("late")
    for _ in range(10):
        salon.look(60.0)
        salon.chat.finish(worker, late)
    assert salon.key.spent == settled.cost
    assert salon.key.reserved == 0


async def test_in_a_swarm_of_ones_own_machines_nothing_is_called_verified() -> None:
    salon = Salon(Policy.TRUSTED)
    worker = salon.peer("one")
    call = salon.ask()
    salon.chat.finish(worker)
    settled = verdict(await all_of(call))
    assert (settled.verified, settled.same, settled.validators) == (False, True, ())
    assert "checked by nobody" in settled.reason
    assert settled.entry >= 0
    assert salon.key.spent == settled.cost == cost(salon.job.manifest, a_request(), 5)


async def test_what_fails_before_anything_was_told_is_asked_once_more() -> None:
    salon = Salon()
    peer = salon.peer("one")
    call = salon.ask()
    first = call.unit
    call.failed("the peers could not agree")
    assert salon.key.reserved == 0
    await silence(call)
    assert call.unit is not first
    assert salon.key.reserved > 0
    call.failed("the peers could not agree")
    with pytest.raises(RefusedError, match="could not agree") as caught:
        await all_of(call)
    assert "Try again" in caught.value.hint
    assert (salon.key.reserved, salon.key.spent) == (0, 0)
    assert peer.leases


async def test_what_fails_after_tokens_were_told_is_an_error() -> None:
    salon = Salon()
    peer = salon.peer("one")
    call = salon.ask()
    salon.chat.say(peer, truth(a_request()).tokens[:2])
    call.failed("the peers could not agree")
    events = call.events()
    assert isinstance(await following(events), Heard)
    with pytest.raises(RefusedError, match="could not agree"):
        await following(events)
    call.failed("again")
    assert call._queue.empty()


async def test_no_row_and_no_frame_but_asks_ever_has_a_prompt_or_an_answer() -> None:
    salon = Salon()
    peers = salon.peer("one"), salon.peer("other")
    request = a_request(most=8)
    call = salon.ask(request)
    salon.chat.finish(*peers)
    settled = verdict(await all_of(call))
    assert settled.verified
    rows = repr(salon.world.rows).encode()
    for ids in (request.prompt, settled.tokens):
        packed = pack_ids(ids)
        assert repr(packed)[2:-1].encode() not in rows
        assert not any(
            packed in value for row in salon.world.rows for value in row if isinstance(value, bytes)
        )


# -- jobs and money -------------------------------------------------------------------------


def jobs_of(salon: Salon) -> list[Job]:
    return [job for job in salon.world.desk.jobs.values() if job.manifest.submitter == OPERATOR.key]


def minted(salon: Salon) -> int:
    """Credits that the operator minted to itself."""
    found = [entries.parse(row.entry) for row in salon.world.entries()]
    mints = [entry for entry in found if isinstance(entry, entries.Mint)]
    return sum(
        move.amount for entry in mints for move in entry.moves if move.target == OPERATOR.key
    )


async def test_working_capital_is_minted_and_prepaid_credits_are_left_alone() -> None:
    salon = Salon()
    assert minted(salon) == salon.job.manifest.escrow
    assert salon.world.desk.book.balance(OPERATOR.key) == BUDGET
    salon.world.audit()


async def test_the_next_job_begins_when_little_is_left_and_the_old_one_ends_with_its_last_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tabs, "CAPITAL", 2)
    monkeypatch.setattr(tabs, "SPARE", 1)
    salon = Salon()
    peers = salon.peer("one", cores=8), salon.peer("other", cores=8)
    first = salon.job
    calls = [salon.ask(a_request(seed, most=1000)) for seed in range(3)]
    assert salon.job is not first
    assert [each.tab.job for each in calls] == [first, first, salon.job]
    salon.look(1.0)
    assert set(jobs_of(salon)) == {first, salon.job}
    salon.chat.finish(*peers)
    salon.look(1.0)
    assert jobs_of(salon) == [salon.job]
    for each in calls:
        assert verdict(await all_of(each)).verified
    book = salon.world.desk.book
    assert book.escrowed(first.id) == 0
    paid = sum(salon.world.balance(peer) for peer in peers)
    operator = book.balance(OPERATOR.key) + book.escrowed(salon.job.id)
    assert operator + paid == minted(salon) + BUDGET
    assert operator - minted(salon) == BUDGET - salon.key.spent, "capital flows back"
    salon.world.audit()


async def test_a_model_that_is_withdrawn_takes_no_requests_and_finishes_those_it_has() -> None:
    salon = Salon()
    peers = salon.peer("one"), salon.peer("other")
    call, served, job = salon.ask(), salon.served, salon.job
    salon.parlour.catalogue.withdraw(Withdraw("tiny"), 5)
    salon.parlour.withdrawn("tiny")
    assert (salon.parlour.find("tiny"), salon.parlour.models()) == (None, [])
    with pytest.raises(RefusedError, match="not offered any more"):
        salon.parlour.ask(salon.key, served, a_request(), stream=True)
    salon.look(1.0)
    assert job.id in salon.world.desk.jobs
    salon.chat.finish(*peers)
    assert verdict(await all_of(call)).verified
    salon.look(1.0)
    assert job.id not in salon.world.desk.jobs


async def test_a_model_that_is_replaced_is_asked_under_a_new_job() -> None:
    salon = Salon()
    first = salon.job
    salon.publish(card(price=2))
    assert salon.job is first, "it is the same"
    salon.publish(card(price=3))
    assert salon.job is not first
    assert salon.served.price == 3
    salon.look(1.0)
    assert jobs_of(salon) == [salon.job]


async def test_after_a_restart_the_job_is_taken_up_and_what_was_under_way_costs_nothing() -> None:
    salon = Salon()
    peer = salon.peer("one")
    first = salon.job.id
    restarted(salon)
    assert salon.job.id == first
    join(salon, peer)
    salon.ask()
    restarted(salon)
    salon.look(1.0)
    assert [salon.job] == jobs_of(salon)
    assert (salon.key.spent, salon.key.reserved) == (0, 0)
    other = salon.peer("other")
    join(salon, peer)
    call = salon.ask()
    salon.chat.finish(peer, other)
    assert verdict(await all_of(call)).verified
    salon.world.audit()


def restarted(salon: Salon) -> None:
    """Stop the tracker, and start it on what was kept."""
    rows = salon.world.table.values()
    salon.world.restart()
    salon.keys = Keys(
        [row for row in rows if isinstance(row, ApiKeyRow)],
        [row for row in rows if isinstance(row, UsageRow)],
    )
    before = salon.parlour.catalogue
    salon.open()
    salon.parlour.catalogue.fill(before._rows.values(), lambda _: card(price=salon.price))
    salon.parlour.start()
    salon.world.pump()
    found = salon.keys.get(HASH)
    salon.key = found or salon.keys.open(SUBMITTER.key, HASH, "key", BUDGET, 1000, 1)


def join(salon: Salon, actor: Actor) -> None:
    made = card()
    actor.connect(hold=2, disk=DISK, images=(made.image.name,), held=(made.file,))


async def test_what_is_left_of_a_closed_key_is_paid_back_when_its_requests_have_ended() -> None:
    salon = Salon()
    peers = salon.peer("one"), salon.peer("other")
    before = salon.world.desk.book.balance(SUBMITTER.key)
    salon.ask()
    held = salon.key.reserved
    salon.keys.close(SUBMITTER.key, HASH, OPERATOR.key)
    salon.parlour.pay_back()
    assert salon.world.desk.book.balance(SUBMITTER.key) == before + BUDGET - held
    salon.chat.finish(*peers)
    assert salon.world.desk.book.balance(SUBMITTER.key) == before + BUDGET - salon.key.spent
    assert salon.key.spent > 0
    salon.world.audit()


async def test_a_closed_key_is_paid_back_when_the_operator_has_the_credits_again() -> None:
    salon = Salon()
    book = salon.world.desk.book
    before = book.balance(SUBMITTER.key)
    other = PeerKey(b"x" * 32)
    book.transfer(other, BUDGET, granted(other, BUDGET))
    salon.keys.close(SUBMITTER.key, HASH, OPERATOR.key)
    salon.look(1.0)
    assert (salon.key.left, book.balance(SUBMITTER.key)) == (BUDGET, before)
    book.mint(OPERATOR.key, BUDGET, granted(OPERATOR.key, BUDGET))
    salon.look(1.0)
    assert (salon.key.left, book.balance(SUBMITTER.key)) == (0, before + BUDGET)


async def test_what_a_model_was_asked_is_counted() -> None:
    salon = Salon()
    peers = salon.peer("one"), salon.peer("other")
    call = salon.ask()
    assert salon.parlour.numbers()["tiny"]["open"] == 1
    worker, _ = first_of(*peers)
    right = truth(a_request())
    salon.chat.say(worker, right.tokens[:1])
    salon.world.now += 2.0
    salon.chat.say(worker, right.tokens[1:], start=1, finish=right.finish)
    salon.chat.commit(worker, answered(a_request(), right))
    salon.chat.finish(*peers)
    await all_of(call)
    numbers = salon.parlour.numbers()["tiny"]
    assert numbers == {
        "requests": 1,
        "open": 0,
        "prompt": 32,
        "generated": 5,
        "verified": 1.0,
        "rate": 2.5,
        "cost": salon.key.spent,
    }
    published = salon.parlour.catalogue.find("tiny")
    assert published is not None
    assert salon.parlour.holders(published) == 2
