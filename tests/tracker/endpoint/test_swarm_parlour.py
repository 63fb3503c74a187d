"""The parlour over a real desk: what who asks is told, what it costs, and where the money is."""

import pytest

from tests.tracker.endpoint.salon import (
    BUDGET,
    HASH,
    Salon,
    all_of,
    first_of,
    following,
    heard,
    verdict,
)
from tests.tracker.work.chat import a_request, answered, lie, only, truth
from tracker.endpoint.keys import AbsentError, BrokeError, CrowdedError
from tracker.endpoint.parlour import Event, Heard, Settled, Spoke
from tracker.endpoint.tab import cost
from tracker.rows import ApiKeyRow, UsageRow
from workunits import entries
from workunits.errors import RefusedError
from workunits.models.answer import Finish
from workunits.models.request import pack_ids
from workunits.verification import Policy
from workunits.wire.models import Likely


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


async def test_where_nobody_could_check_the_answer_only_who_needs_it_checked_is_refused() -> None:
    salon = Salon()
    worker = salon.peer("one")
    with pytest.raises(AbsentError, match="another owner") as caught:
        salon.ask(checked=True)
    assert caught.value.seconds > 0
    assert (worker.leases, salon.key.reserved, len(salon.parlour)) == ({}, 0, 0)
    salon.ask()
    assert worker.leases
    checker = salon.peer("other")
    call = salon.ask(checked=True)
    salon.chat.finish(worker, checker)
    assert verdict(await all_of(call)).verified


async def test_in_a_swarm_of_ones_own_machines_no_answer_that_must_be_checked_is_begun() -> None:
    salon = Salon(Policy.TRUSTED)
    peers = salon.peer("one"), salon.peer("other")
    with pytest.raises(AbsentError, match="checked by nobody"):
        salon.ask(checked=True)
    assert not any(peer.leases for peer in peers)


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
    assert (salon.key.reserved, salon.key.spent) == (0, 0)


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
