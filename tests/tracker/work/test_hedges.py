"""A late first token has another peer begin too, and the first that says something leads."""

from tests.tracker.work.chat import Chat, a_request, answered, only, trusted, truth
from tests.tracker.work.world import PATIENCE
from tracker.work.routing import PREFILL

REQUEST = a_request()
LATE = PATIENCE.first + len(REQUEST.prompt) / PREFILL


def test_a_batch_line_is_not_streamed_and_not_hedged() -> None:
    chat = trusted()
    worker, other = chat.peer("worker"), chat.peer("other")
    chat.ask(stream=False, urgent=False)
    actor = worker if worker.leases else other
    assert not actor.asks[only(actor)].stream
    chat.world.tick(LATE + 1)
    assert len(worker.leases) + len(other.leases) == 1


def test_a_late_first_token_has_another_peer_begin_too() -> None:
    chat = Chat()
    slow, fast, checker = chat.peer("slow"), chat.peer("fast"), chat.peer("third", hold=0)
    _, ears = chat.ask()
    if fast.leases:
        slow, fast = fast, slow
    chat.world.tick(LATE - 0.1)
    assert not fast.leases
    chat.world.tick(0.2)
    assert fast.leases
    assert slow.leases
    checker.want(2)
    chat.world.tick(LATE + 1)
    assert not checker.leases, "two are enough"
    chat.say(fast, truth(REQUEST).tokens[:1])
    assert list(slow.revoked.values()) == ["another peer was faster"]
    assert not slow.leases
    chat.finish_from(fast, 1)
    chat.finish(slow, fast, checker)
    assert ears.heard == list(truth(REQUEST).tokens)
    assert ears.ruling is not None
    assert ears.ruling.worker == fast.key
    chat.world.audit()


def test_the_first_of_two_that_commits_leads_although_it_said_nothing() -> None:
    chat = Chat()
    one, other = chat.peer("one"), chat.peer("other")
    _, ears = chat.ask()
    chat.world.tick(LATE + 0.1)
    assert one.leases
    assert other.leases
    token = chat.commit(one, answered(REQUEST, truth(REQUEST)))
    assert list(other.revoked.values()) == ["another peer was faster"]
    assert only(other) > token, "it was drawn to check"
    assert other.asks[only(other)].given == ()
    chat.finish(one, other)
    assert ears.heard == []
    assert ears.ruling is not None
    chat.world.audit()


def test_only_who_has_the_model_is_asked_too() -> None:
    chat = trusted()
    far = chat.peer("far", held=False)
    chat.ask()
    farther = chat.peer("farther", held=False)
    chat.world.tick(LATE + 0.1)
    assert not farther.leases
    near = chat.peer("near")
    chat.world.tick(LATE + 0.1)
    assert near.leases
    assert far.leases
    assert not farther.leases


def test_a_hedge_waits_for_a_core() -> None:
    chat = trusted()
    one = chat.peer("one")
    chat.ask()
    other = chat.peer("other", hold=0)
    chat.world.tick(LATE + 0.1)
    other.want(1)
    chat.world.tick(PATIENCE.first + 0.1)
    assert one.leases
    assert other.leases
