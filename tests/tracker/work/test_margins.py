"""Jobs whose answers are judged by margins: there a commitment to another answer proves nothing."""

from tests.tracker.work.chat import MARGIN, Chat, a_request, answered, chat_manifest, only, truth
from tests.tracker.work.world import PATIENCE, Actor
from tracker.work.state import Job
from workunits.models.answer import Answer, Finish

REQUEST = a_request()
NEAR = Answer((*truth(REQUEST).tokens[:4], 3), Finish.LENGTH, REQUEST.nonce)
"""An honest answer of another build."""


def until_no_trap(chat: Chat) -> None:
    hints, floor = chat.world.desk._leasing._hints, chat.world.desk.floor
    while hints.is_trap(floor.next_token):  # type: ignore[arg-type]
        floor.next_token += 1


def batch() -> tuple[Chat, Job]:
    chat = Chat()
    return chat, chat.world.submit(chat_manifest(budget=0, units=1, nonce=1, comparator=MARGIN))


def echo(chat: Chat, actor: Actor) -> None:
    """Confirm the claim."""
    token = only(actor)
    hint = actor.asks[token]
    assert hint.finish
    said = Answer(hint.given, hint.finish, REQUEST.nonce)
    chat.say(actor, said.tokens, finish=said.finish)
    chat.commit(actor, answered(REQUEST, said))


def test_what_was_not_said_cannot_be_committed() -> None:
    chat = Chat(comparator=MARGIN)
    worker = chat.peer("worker")
    chat.ask()
    chat.say(worker, truth(REQUEST).tokens[:2])
    token = chat.commit(worker, answered(REQUEST, truth(REQUEST)))
    assert worker.revoked == {token: "say the tokens before they are committed"}
    assert not chat.job.waiting
    assert not worker.failures
    heir, checker = chat.peer("heir"), chat.peer("checker")
    chat.finish(heir if heir.leases else checker)
    until_no_trap(chat)
    chat.finish(worker, heir, checker)
    assert chat.job.accepted == 1
    chat.world.audit()


def test_who_lost_an_answer_is_not_wrong_because_another_build_says_something_else() -> None:
    chat = Chat(comparator=MARGIN)
    worker = chat.peer("worker")
    chat.ask()
    token = only(worker)
    chat.answer(worker)
    worker.release([token])
    assert chat.world.executions(chat.job)[0].doing == "withheld"
    one, other = chat.peer("one"), chat.peer("other")
    first, second = (one, other) if one.leases else (other, one)
    until_no_trap(chat)
    chat.answer(first, lambda _: NEAR)
    echo(chat, second)
    first.reveal()
    second.reveal()
    assert chat.job.accepted == 1
    assert chat.world.desk.peers[worker.key].wrong == 0
    chat.world.audit()


def test_a_batch_is_computed_anew_where_a_restart_lost_the_claim() -> None:
    chat, job = batch()
    worker = chat.peer("worker")
    said = truth(REQUEST)
    chat.say(worker, said.tokens, finish=said.finish)
    chat.commit(worker, answered(REQUEST, said))
    chat.world.restart()
    job = chat.world.desk.jobs[job.id]
    assert not job.waiting
    first, second = chat.peer("first"), chat.peer("second")
    until_no_trap(chat)
    chat.say(first, NEAR.tokens, finish=NEAR.finish)
    chat.commit(first, answered(REQUEST, NEAR))
    echo(chat, second)
    first.reveal()
    second.reveal()
    assert job.accepted == 1
    assert chat.world.desk.peers[worker.key].wrong == 0
    chat.world.tick(PATIENCE.reveal)
    chat.world.audit()


def test_an_answer_for_whose_claim_there_is_no_room_is_given_to_somebody_later() -> None:
    chat, job = batch()
    worker = chat.peer("worker")
    token = only(worker)
    floor = chat.world.desk.floor
    floor.claimed = 1 << 22
    chat.say(worker, truth(REQUEST).tokens)
    assert worker.revoked == {token: "too many answers wait for their checks"}
    assert floor.claimed == 1 << 22
    floor.claimed = 0
    chat.world.tick(1)
    assert job.units[0].attempts <= 1
