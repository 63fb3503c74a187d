"""Who answers what somebody waits for, and when."""

from dataclasses import replace

import pytest

from tests.tracker.work.chat import (
    DISK,
    EXACT,
    Chat,
    a_request,
    answered,
    chat_manifest,
    only,
    trusted,
    truth,
)
from tests.tracker.work.world import PATIENCE, Actor, World, identity_of, manifest
from tracker.work.floor import MAX_ATTEMPTS
from tracker.work.query import Unanswerable
from workunits.models.answer import Finish
from workunits.verification import Demands

REQUEST = a_request()


def settle(chat: Chat, actor: Actor, rate: int = 0) -> None:
    """An actor answers what it has."""
    token = only(actor)
    request = actor.asks[token].request
    assert request
    said = truth(request)
    chat.say(actor, said.tokens, finish=said.finish, rate=rate)
    chat.commit(actor, answered(request, said))
    actor.reveal()


def test_who_has_the_model_comes_before_who_must_fetch_it() -> None:
    chat = trusted()
    far, near = chat.peer("far", held=False), chat.peer("near")
    chat.ask()
    assert (len(near.leases), len(far.leases)) == (1, 0)
    chat.ask()
    assert (len(near.leases), len(far.leases)) == (1, 1), "one core, one answer at a time"


def test_who_is_warm_comes_first_and_then_who_is_fast() -> None:
    chat = trusted()
    one, other = chat.peer("one"), chat.peer("other", hold=0)
    chat.ask()
    settle(chat, one, rate=50_000)
    one.want(0)
    other.want(2)
    chat.ask()
    settle(chat, other, rate=100_000)
    one.want(2)
    chat.ask()
    assert (len(one.leases), len(other.leases)) == (0, 1), "both are warm, and one is faster"
    settle(chat, other, rate=100_000)
    other.disconnect()
    chat.join(other)
    chat.ask()
    assert (len(one.leases), len(other.leases)) == (1, 0), "the other one has just come back"


def test_speed_is_an_average() -> None:
    chat = trusted()
    one, other = chat.peer("one"), chat.peer("other", hold=0)
    for rate in (60_000, 60_000, 20_000):
        chat.ask()
        settle(chat, one, rate=rate)
    one.want(0)
    other.want(2)
    chat.ask()
    settle(chat, other, rate=40_000)
    one.want(2)
    chat.ask()
    assert one.leases, "one slow answer is not all that is known of it"


@pytest.mark.parametrize("hold", [1, 3])
def test_such_units_come_on_top_of_what_a_peer_wanted(hold: int) -> None:
    chat = trusted()
    worker = chat.peer("worker", hold=hold, cores=2)
    chat.world.submit(manifest(20))
    assert len(worker.leases) == hold
    for _ in range(3):
        chat.ask()
    assert len(worker.leases) == hold + 2, "as many as it has cores"
    assert chat.world.desk.peers[worker.key].seats == 2
    worker.want(0)
    chat.ask()
    assert len(worker.leases) == hold + 2


def test_a_peer_that_drains_gets_none() -> None:
    chat = trusted()
    worker = chat.peer("worker", hold=0)
    chat.ask()
    assert not worker.leases
    assert not chat.world.desk.can_answer(chat.job)
    worker.want(1)
    assert worker.leases
    assert chat.world.desk.can_answer(chat.job)


def test_a_validator_answers_nothing_itself() -> None:
    chat = trusted()
    checker = chat.peer("checker", validator=True)
    chat.ask()
    assert not checker.leases
    assert not chat.world.desk.can_answer(chat.job)


def test_only_a_peer_of_another_owner_that_has_room_for_the_model_could_check() -> None:
    chat = Chat()
    desk, job, world = chat.world.desk, chat.job, chat.world
    assert not desk.can_check(job)
    worker = chat.peer("worker")
    chat.join(world.actor("twin", owner="worker", connect=False))
    chat.peer("small", memory=1 << 20)
    drained = chat.peer("drained", hold=0)
    assert desk.can_answer(job)
    assert not desk.can_check(job)
    drained.want(1)
    assert desk.can_check(job)
    drained.disconnect()
    assert not desk.can_check(job)
    checker = chat.peer("checker", validator=True)
    assert desk.can_check(job)
    worker.disconnect()
    world.actors[identity_of("twin").key].disconnect()
    assert not desk.can_check(job), "nobody is there whose answer it could check"
    assert checker.connected


def test_only_a_peer_of_the_same_platform_could_check_where_the_job_asks_for_it() -> None:
    world = World()
    job = world.submit(replace(chat_manifest(), demands=Demands(same_platform=True)))
    for name, platform in (("one", "x86_64"), ("other", "aarch64")):
        world.actor(name, connect=False).connect(disk=DISK, platform=platform)
    assert world.desk.can_answer(job)
    assert not world.desk.can_check(job)
    world.actor("third", connect=False).connect(disk=DISK, platform="aarch64")
    assert world.desk.can_check(job)


def test_of_a_trusted_job_nothing_can_be_checked() -> None:
    chat = trusted()
    for name in ("one", "other"):
        chat.peer(name)
    assert chat.world.desk.can_answer(chat.job)
    assert not chat.world.desk.can_check(chat.job)


def test_who_has_no_memory_for_two_models_gets_one_at_a_time() -> None:
    chat = trusted()
    worker = chat.peer("worker", cores=4, memory=1 << 30)
    for _ in range(4):
        chat.ask()
    assert len(worker.leases) == 2, "half a gigabyte each"


def test_a_doubtful_peer_comes_last() -> None:
    chat = trusted()
    doubtful, other = chat.peer("doubtful"), chat.peer("other", held=False)
    chat.world.desk.peers[doubtful.key].late = 5
    chat.ask()
    assert (len(doubtful.leases), len(other.leases)) == (0, 1)
    chat.ask()
    assert doubtful.leases


def test_the_line_is_served_in_order_urgent_ones_first() -> None:
    chat = trusted()
    worker = chat.peer("worker")
    chat.ask(a_request(0))
    order = [chat.ask(a_request(seed), urgent=seed != 1)[0] for seed in (1, 2, 3)]
    assert chat.world.desk.obstacle(chat.job) == ""
    served = []
    for _ in range(3):
        settle(chat, worker)
        served.append(worker.leases[only(worker)].index)
    assert served == [order[1].index, order[2].index, order[0].index]


def test_what_a_peer_lost_goes_before_the_rest_of_the_line() -> None:
    chat = trusted()
    worker, other = chat.peer("worker"), chat.peer("other")
    lost, _ = chat.ask(a_request(0))
    chat.ask(a_request(1))
    chat.ask(a_request(2))
    first = next(each for each in (worker, other) if lost.id in each.leases.values())
    second = worker if first is other else other
    first.disconnect()
    settle(chat, second)
    assert second.leases[only(second)] == lost.id


def test_an_answer_that_nobody_can_give_fails_soon_and_says_so() -> None:
    chat = trusted()
    _, ears = chat.ask()
    assert chat.world.desk.obstacle(chat.job) == "no volunteer is connected"
    chat.world.tick(PATIENCE.alone - 1)
    assert ears.ends == 0
    chat.world.tick(1)
    assert ears.failure == Unanswerable()
    assert chat.world.unit(chat.job).stage == "failed"
    chat.world.audit()


def test_an_answer_waits_as_long_as_somebody_is_only_busy() -> None:
    chat = trusted()
    worker = chat.peer("worker")
    chat.ask()
    chat.say(worker, truth(REQUEST).tokens[:1])
    _, ears = chat.ask(a_request(8))
    chat.world.tick(PATIENCE.alone + 1)
    assert ears.ends == 0
    assert worker.leases or worker.revoked


def test_a_peer_that_gives_a_unit_back_does_not_get_it_again_but_after_it_reconnects() -> None:
    chat = trusted()
    worker = chat.peer("worker")
    _, ears = chat.ask()
    worker.release()
    assert not worker.leases
    chat.world.tick(1)
    assert not worker.leases
    worker.disconnect()
    chat.join(worker)
    assert worker.leases
    settle(chat, worker)
    assert ears.ruling is not None


def test_an_answer_that_all_refuse_for_a_lasting_reason_fails_at_once_and_says_why() -> None:
    chat = trusted()
    peers = [chat.peer("one"), chat.peer("other")]
    _, ears = chat.ask()
    for count, reason in enumerate(("memory", "model")):
        assert ears.ends == 0, f"only {count} of 2 refused it"
        (worker,) = (peer for peer in peers if peer.leases)
        worker.release(reason=reason)
    said = "the model needs more memory than it may have or the model's file is not sound"
    assert ears.failure == Unanswerable(said)
    assert chat.world.unit(chat.job).reason == f"no peer is there that could answer: {said}"
    assert chat.world.unit(chat.job).stage == "failed"
    chat.world.audit()


@pytest.mark.parametrize("reasons", [("model", "engine"), ("engine", "model"), ("", "a lie")])
def test_an_answer_waits_as_long_as_one_refused_it_for_a_passing_reason(
    reasons: tuple[str, str],
) -> None:
    chat = trusted()
    peers = [chat.peer("one"), chat.peer("other")]
    _, ears = chat.ask()
    for reason in reasons:
        (worker,) = (peer for peer in peers if peer.leases)
        worker.release(reason=reason)
    chat.world.tick(PATIENCE.alone - 1)
    assert ears.ends == 0
    chat.world.tick(1)
    assert ears.failure == Unanswerable()


def test_an_answer_that_all_refuse_waits_for_who_is_busy_or_comes_back() -> None:
    chat = trusted()
    busy, worker = chat.peer("busy"), chat.peer("worker", hold=0)
    chat.ask(a_request(1))
    worker.want(1)
    _, ears = chat.ask()
    worker.release(reason="model")
    assert ears.ends == 0
    busy.disconnect()
    worker.disconnect()
    chat.join(worker)
    assert ears.ends == 0
    assert worker.leases, "what it said before does not matter"


def test_a_batch_line_is_tried_again_and_given_up_at_last() -> None:
    chat = trusted()
    worker = chat.peer("worker")
    _, ears = chat.ask(urgent=False)
    for _ in range(MAX_ATTEMPTS):
        assert ears.ends == 0
        assert worker.leases
        worker.release()
        chat.world.tick(PATIENCE.alone)
        chat.world.tick(1)
    assert "given up" in str(ears.failure)
    chat.world.audit()


def test_a_lease_that_runs_out_goes_to_somebody_else() -> None:
    chat = trusted()
    worker = chat.peer("worker")
    _, ears = chat.ask()
    chat.say(worker, truth(REQUEST).tokens[:2])
    heir = chat.peer("heir")
    chat.world.tick(worker.seconds + 1)
    assert not worker.leases
    assert heir.asks[only(heir)].given == truth(REQUEST).tokens[:2]
    assert chat.world.desk.peers[worker.key].late == 1
    settle(chat, heir)
    assert ears.heard == list(truth(REQUEST).tokens)


def test_a_check_is_leased_over_what_the_peer_wanted_to_hold() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker", hold=0)
    _, ears = chat.ask()
    chat.world.submit(manifest(10))
    checker.want(1)
    assert len(checker.leases) == 1
    chat.answer(worker, token=next(iter(worker.asks)))
    assert len(checker.leases) == 2
    token = max(checker.leases)
    chat.answer(checker, token=token)
    checker.reveal()
    worker.reveal()
    assert ears.ruling is not None


def test_a_checker_that_is_lost_is_replaced_at_once() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    _, ears = chat.ask()
    if checker.leases:
        worker, checker = checker, worker
    chat.answer(worker)
    assert checker.leases
    other = chat.peer("other")
    checker.disconnect()
    assert other.leases
    chat.finish(worker, other)
    assert ears.ruling is not None
    chat.world.audit()


def test_what_a_gone_peer_was_drawn_for_is_drawn_anew_at_once() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    checker = chat.peer("checker", hold=0)
    _, ears = chat.ask()
    chat.answer(worker)
    other = chat.peer("other")
    assert not other.leases, "the one without hold was drawn"
    checker.disconnect()
    assert other.leases
    chat.finish(worker, other)
    assert ears.ruling is not None


def test_why_nothing_happens_is_said_for_models_too() -> None:
    chat = trusted()
    desk = chat.world.desk
    assert desk.obstacle(chat.job) == ""
    chat.peer("small", memory=1 << 20)
    chat.ask()
    assert "no connected peer takes models" in desk.obstacle(chat.job)
    batch = chat.world.submit(chat_manifest(budget=0, units=1, nonce=4, comparator=EXACT))
    assert "no connected peer takes models" in desk.obstacle(batch)
    worker = chat.peer("worker", hold=0)
    assert "1 requests wait" in desk.obstacle(chat.job)
    worker.want(1)
    assert desk.obstacle(chat.job) == ""


def test_probabilities_are_asked_for_where_tokens_are_streamed() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    chat.ask(top=3)
    if checker.leases:
        worker, checker = checker, worker
    assert worker.asks[only(worker)].top == 3
    chat.answer(worker)
    assert checker.asks[only(checker)].top == 0
    assert not checker.asks[only(checker)].stream


def test_finish_is_told_once() -> None:
    chat = trusted()
    worker = chat.peer("worker")
    _, ears = chat.ask()
    said = truth(REQUEST)
    chat.say(worker, said.tokens, finish=said.finish)
    heir = chat.peer("heir")
    worker.disconnect()
    assert heir.asks[only(heir)].finish is None
    settle(chat, heir)
    assert ears.finish is Finish.LENGTH
    assert ears.ruling is not None


def test_a_peer_is_not_sent_more_prompts_than_it_can_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.work.routing.MAX_BURDEN", 40)
    chat = trusted()
    worker = chat.peer("worker", cores=2, hold=5)
    for _ in range(2):
        chat.ask(a_request(prompt=50))
    assert len(worker.leases) == 1
    assert chat.world.desk.peers[worker.key].burden == 51
    settle(chat, worker)
    assert len(worker.leases) == 1


def test_a_checker_is_not_sent_more_claims_than_it_can_keep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tracker.work.state.MAX_BURDEN", 8)
    chat = trusted()
    chat.world.submit(chat_manifest(budget=0, units=4, nonce=2))
    worker = chat.peer("worker", hold=4)
    for token in sorted(worker.leases):
        chat.say(worker, truth(REQUEST).tokens, finish=Finish.LENGTH, token=token)
        chat.commit(worker, answered(REQUEST, truth(REQUEST)), token)
    checker = chat.peer("checker", hold=4)
    assert len(checker.leases) == 2, "six tokens each"
    for token in sorted(checker.leases):
        chat.commit(checker, answered(REQUEST, truth(REQUEST)), token)
    assert len(checker.leases) == 2
    peer = chat.world.desk.peers[checker.key]
    checker.release()
    assert peer.burden <= 12
