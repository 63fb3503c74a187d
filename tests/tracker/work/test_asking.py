"""Units that somebody waits for: from the question to the verdict."""

import pytest

from tests.tracker.work.chat import (
    MARGIN,
    MOST,
    PRICE,
    REFUSAL,
    Chat,
    a_request,
    answered,
    chat_manifest,
    lie,
    only,
    truth,
)
from tests.tracker.work.world import PATIENCE
from tracker.rows import ContentRow
from tracker.work.docket import MAX_UNITS
from workunits.errors import LimitError, MalformedError
from workunits.models.answer import Finish
from workunits.verification import Policy
from workunits.wire.models import Likely

REQUEST = a_request()
TOKENS = truth(REQUEST).tokens
COST = 7 * PRICE
"""5 tokens of an answer, and a sixteenth of 32 of a prompt."""


def test_tokens_come_at_once_and_the_verdict_when_it_is_on_disk() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    unit, ears = chat.ask()
    ask = worker.asks[only(worker)]
    assert (ask.request, ask.given, ask.finish, ask.halt, ask.stream) == (
        REQUEST,
        (),
        None,
        0,
        True,
    )
    likely = tuple((Likely(each, -0.5),) for each in TOKENS[:2])
    chat.say(worker, TOKENS[:2], likely=likely)
    assert ears.heard == list(TOKENS[:2])
    assert ears.likely == list(likely)
    chat.say(worker, TOKENS[2:], start=2, finish=Finish.LENGTH)
    assert (ears.heard, ears.finish) == (list(TOKENS), Finish.LENGTH)
    chat.commit(worker, answered(REQUEST, truth(REQUEST)))
    hint = checker.asks[only(checker)]
    assert (hint.request, hint.given, hint.finish) == (REQUEST, TOKENS, Finish.LENGTH)
    chat.finish(worker, checker)
    ruling = ears.ruling
    assert ruling is not None
    assert ruling.answer == truth(REQUEST)
    assert (ruling.worker, ruling.validators) == (worker.key, (checker.key,))
    assert ruling.unit == unit.id
    assert ruling.cost == COST + COST // 2
    assert (chat.world.balance(worker), chat.world.balance(checker)) == (COST, COST // 2)
    verdict = sorted(chat.world.entries())[ruling.entry].entry
    assert b"1:t7:verdict" in verdict
    assert ears.ends == 1
    assert chat.job.accepted == 1
    assert chat.job.reserved == 0
    assert not chat.job.done
    chat.world.audit()


def test_no_row_has_the_request_or_the_answer() -> None:
    chat = Chat()
    peers = chat.peer("worker"), chat.peer("checker")
    _, ears = chat.ask()
    chat.finish(*peers)
    assert ears.ruling is not None
    assert not [row for row in chat.world.rows if isinstance(row, ContentRow)]
    secrets = (truth(REQUEST).encode(), REQUEST.encode())
    for row in chat.world.rows:
        for value in row:
            assert not isinstance(value, bytes) or not any(each in value for each in secrets)


def test_a_verdict_waits_for_its_rows() -> None:
    chat = Chat(policy=Policy.TRUSTED)
    worker = chat.peer("worker")
    _, ears = chat.ask()
    chat.answer(worker)
    asked, worker.asked = worker.asked, []
    desk = chat.world.desk
    desk.reveal(worker.key, [worker.results[token] for token in asked], chat.world.now)
    effects = desk.take()
    assert not ears.ends
    assert effects
    for tell in effects.told:
        tell()
    assert ears.ruling is not None
    assert ears.ruling.validators == ()


def test_a_third_decides_where_a_cheat_answers_from_another_model() -> None:
    chat = Chat()
    cheat, checker = chat.peer("cheat"), chat.peer("checker")
    _, ears = chat.ask()
    chat.answer(cheat, lambda ask: lie(REQUEST))
    chat.answer(checker)
    third = chat.peer("third")
    ask = third.asks[only(third)]
    assert (ask.given, ask.finish) == ((), None), "nobody may lean on a claim in a dispute"
    chat.finish(cheat, checker, third)
    assert ears.heard == list(lie(REQUEST).tokens), "it was told before it was known"
    assert ears.ruling is not None
    assert ears.ruling.answer == truth(REQUEST)
    assert (ears.ruling.worker, ears.ruling.validators) == (checker.key, (third.key,))
    assert [chat.world.balance(each) for each in (cheat, checker, third)] == [0, COST, COST // 2]
    assert chat.world.desk.peers[cheat.key].wrong == 1
    chat.world.audit()


def test_a_unit_waits_for_who_checks_it() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    _, ears = chat.ask()
    chat.answer(worker)
    assert chat.job.waiting
    assert "wait for a peer of another owner" in chat.world.desk.obstacle(chat.job)
    checker = chat.peer("checker", validator=True)
    chat.finish(worker, checker)
    assert ears.ruling is not None


def test_a_drawn_peer_that_does_not_come_is_soon_drawn_past() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    busy = chat.peer("busy", hold=0)
    _, ears = chat.ask()
    chat.answer(worker)
    assert not busy.leases
    other = chat.peer("other")
    chat.world.tick(PATIENCE.check)
    chat.world.tick(PATIENCE.check)
    assert other.leases
    chat.finish(worker, other)
    assert ears.ruling is not None


def test_a_lost_worker_is_replaced_at_once_and_the_stream_goes_on() -> None:
    chat = Chat()
    first, second, checker = chat.peer("first"), chat.peer("second", hold=1), chat.peer("third")
    _, ears = chat.ask()
    worker = next(each for each in (first, second, checker) if each.leases)
    others = [each for each in (first, second, checker) if each is not worker]
    chat.say(worker, TOKENS[:3])
    worker.disconnect()
    (heir,) = [each for each in others if each.leases]
    ask = heir.asks[only(heir)]
    assert (ask.given, ask.finish, ask.halt) == (TOKENS[:3], None, 0)
    chat.say(heir, TOKENS[:2])
    assert ears.heard == list(TOKENS[:3])
    chat.say(heir, TOKENS[2:], start=2, finish=Finish.LENGTH)
    assert (ears.heard, ears.finish) == (list(TOKENS), Finish.LENGTH)
    chat.commit(heir, answered(REQUEST, truth(REQUEST)))
    chat.finish(*others)
    assert ears.ruling is not None
    assert ears.ruling.worker == heir.key
    assert chat.world.balance(worker) == 0
    assert chat.world.desk.peers[worker.key].late == 0
    chat.world.audit()


def test_a_replacement_may_begin_where_the_stream_broke() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    _, ears = chat.ask()
    chat.say(worker, TOKENS[:3])
    heir = chat.peer("heir")
    worker.release()
    chat.say(heir, TOKENS[3:], start=3, finish=Finish.LENGTH)
    assert ears.heard == list(TOKENS)
    chat.commit(heir, answered(REQUEST, truth(REQUEST)))
    checker = chat.peer("checker")
    hints = [peer.asks[token] for peer in (worker, checker) for token in peer.leases]
    assert [each.given for each in hints] == [TOKENS], "with what it was given"


def test_tokens_that_contradict_what_was_told_are_not_told() -> None:
    chat = Chat()
    cheat = chat.peer("cheat")
    _, ears = chat.ask()
    chat.say(cheat, lie(REQUEST).tokens[:3])
    honest, checker = chat.peer("honest"), chat.peer("checker")
    cheat.release()
    chat.finish(cheat, honest, checker)
    assert ears.heard == list(lie(REQUEST).tokens[:3])
    assert ears.finish is None
    assert ears.ruling is not None
    assert ears.ruling.answer == truth(REQUEST)


def test_an_answer_that_is_shorter_than_what_was_told_contradicts_it() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    _, ears = chat.ask(a_request(most=8))
    chat.say(worker, range(1, 7))
    heir = chat.peer("heir")
    worker.release()
    chat.say(heir, range(1, 5), finish=Finish.STOP)
    assert (ears.heard, ears.finish) == (list(range(1, 7)), None)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"ids": TOKENS[:1], "start": 1}, MalformedError),
        ({"ids": range(6)}, LimitError),
        ({"ids": range(MOST + 1)}, LimitError),
    ],
)
def test_tokens_out_of_order_or_beyond_what_was_asked_are_refused(
    said: dict[str, object], error: type[Exception]
) -> None:
    chat = Chat()
    worker = chat.peer("worker")
    _, ears = chat.ask()
    with pytest.raises(error):
        chat.say(worker, **said)  # type: ignore[arg-type]
    assert ears.heard == []
    chat.say(worker, TOKENS[:2])
    with pytest.raises(MalformedError, match="2 are the next"):
        chat.say(worker, TOKENS[3:], start=3)
    chat.say(worker, TOKENS[:2])  # anew, as after a break
    assert ears.heard == list(TOKENS[:2])
    chat.say(worker, TOKENS[2:], start=2, finish=Finish.LENGTH)
    with pytest.raises(MalformedError, match="had its end"):
        chat.say(worker, (), start=5, finish=Finish.STOP)


def test_tokens_under_a_lease_that_is_over_change_nothing() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    _, ears = chat.ask()
    token = only(worker)
    worker.release()
    chat.say(worker, TOKENS, token=token)
    chat.say(worker, TOKENS, token=token)
    assert ears.heard == []


def test_only_the_leader_is_told_of() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    _, ears = chat.ask()
    chat.answer(worker)
    chat.say(checker, lie(REQUEST).tokens)
    assert ears.heard == list(TOKENS)


def test_halt_ends_the_answer_and_the_checker_is_told_where() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    unit, ears = chat.ask()
    chat.say(worker, TOKENS[:3])
    chat.halt(unit, 2)
    assert worker.halts == {only(worker): 2}
    chat.say(worker, (), start=3, finish=Finish.HALTED)
    chat.commit(worker, answered(REQUEST, truth(REQUEST, 3)))
    assert checker.asks[only(checker)].halt == 3
    chat.finish(worker, checker)
    assert ears.ruling is not None
    assert ears.ruling.answer == truth(REQUEST, 3)
    assert ears.ruling.cost == 5 * PRICE + 5 * PRICE // 2


def test_a_halt_that_comes_too_late_changes_nothing() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    unit, ears = chat.ask()
    chat.say(worker, TOKENS, finish=Finish.LENGTH)
    chat.halt(unit, 1)
    chat.commit(worker, answered(REQUEST, truth(REQUEST)))
    chat.halt(unit, 1)
    assert not worker.halts
    chat.finish(worker, checker)
    chat.halt(unit, 1)
    assert ears.ruling is not None
    assert ears.ruling.answer == truth(REQUEST)


def test_an_answer_that_is_cut_although_nobody_said_so_is_withheld() -> None:
    chat = Chat()
    cheat = chat.peer("cheat")
    _, ears = chat.ask()
    chat.answer(cheat, lambda _: truth(REQUEST, 2))
    checker = chat.peer("checker")
    chat.answer(checker, lambda _: truth(REQUEST, 2))
    cheat.reveal()
    checker.reveal()
    assert [chat.world.desk.peers[each.key].withheld for each in (cheat, checker)] == [1, 1]
    assert "nobody wanted that" in cheat.failures[0].message
    one, other = chat.peer("one"), chat.peer("other")
    chat.finish(one, other)
    assert ears.ruling is not None
    assert ears.ruling.answer == truth(REQUEST)
    chat.world.audit()


def test_who_listens_no_more_before_a_word_was_said_pays_nothing() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    unit, ears = chat.ask()
    chat.dismiss(unit)
    assert not worker.leases
    assert ears.failure == "nobody needs the answer"
    assert chat.world.unit(chat.job).stage == "cancelled"
    assert chat.job.reserved == 0
    assert chat.world.desk.peers[worker.key].seats == 0
    chat.dismiss(unit)
    assert ears.ends == 1
    _, again = chat.ask()
    assert worker.leases
    assert again.ends == 0
    chat.world.audit()


def test_who_listens_no_more_pays_for_what_was_said() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    unit, ears = chat.ask()
    chat.say(worker, TOKENS[:3])
    chat.dismiss(unit)
    assert worker.halts == {only(worker): 3}
    chat.say(worker, TOKENS[3:4], start=3, finish=Finish.HALTED)
    assert (ears.heard, ears.finish) == (list(TOKENS[:3]), None), "nobody listens"
    chat.commit(worker, answered(REQUEST, truth(REQUEST, 4)))
    chat.finish(worker, checker)
    assert ears.ruling is not None
    assert ears.ruling.cost == 6 * PRICE * 3 // 2


def test_nobody_replaces_a_worker_for_an_answer_that_nobody_needs() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    unit, ears = chat.ask()
    chat.say(worker, TOKENS[:3])
    chat.dismiss(unit)
    heir = chat.peer("heir")
    worker.disconnect()
    assert not heir.leases
    assert ears.failure == "nobody needs the answer"


def refuse(chat: Chat) -> None:
    """A worker answers, and two peers refuse to confirm that."""
    worker = next(each for each in chat.world.actors.values() if each.leases)
    chat.answer(worker, lambda ask: lie(REQUEST))
    for _ in range(2):
        judge = next(each for each in chat.world.actors.values() if each.leases)
        chat.commit(judge, REFUSAL)
    for actor in list(chat.world.actors.values()):
        actor.reveal()


def test_a_refused_answer_is_asked_for_anew_and_then_given_up() -> None:
    chat = Chat(comparator=MARGIN)
    for name in "abcdef":
        chat.peer(name)
    unit, ears = chat.ask()
    for count in range(MAX_UNITS):
        assert ears.ends == 0
        assert sorted(chat.job.units) == [count]
        refuse(chat)
    assert "no answer" in str(ears.failure)
    assert chat.job.failed == MAX_UNITS
    assert chat.job.reserved == chat.job.paid == 0
    assert sum(peer.wrong for peer in chat.world.desk.peers.values()) == MAX_UNITS
    chat.dismiss(unit)
    assert ears.ends == 1
    chat.world.audit()


def test_what_holds_of_the_first_unit_holds_of_the_one_that_replaces_it() -> None:
    chat = Chat(comparator=MARGIN)
    for name in "abcdef":
        chat.peer(name)
    unit, ears = chat.ask()
    refuse(chat)
    worker = next(each for each in chat.world.actors.values() if each.leases)
    chat.halt(unit, 2)
    assert list(worker.halts.values()) == [2]
    chat.finish(*chat.world.actors.values())
    assert ears.ruling is not None
    assert ears.ruling.answer == truth(REQUEST, 2)
    assert ears.ruling.unit.index == 1


def test_a_cancelled_job_tells_everybody_who_waits_and_gives_the_rest_back() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    before = chat.world.desk.book.balance(chat.job.manifest.submitter)
    _, done = chat.ask()
    chat.finish(worker, checker)
    _, live = chat.ask(a_request(8))
    _, queued = chat.ask(a_request(9))
    _, waits = chat.ask(a_request(10))
    chat.world.cancel(chat.job)
    assert done.ruling is not None
    assert [each.failure for each in (live, queued, waits)] == ["the job was cancelled"] * 3
    assert not worker.leases
    assert not checker.leases
    spent = COST + COST // 2
    assert chat.job.paid == spent
    after = chat.world.desk.book.balance(chat.job.manifest.submitter)
    assert after == before + chat.job.manifest.escrow - spent
    chat.world.audit()


def test_after_a_restart_what_was_asked_has_failed_and_the_job_goes_on() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    _, done = chat.ask()
    chat.finish(worker, checker)
    _, lost = chat.ask(a_request(8))
    chat.answer(worker) if worker.leases else chat.answer(checker)
    chat.ask(a_request(9))
    chat.world.restart()
    job = chat.job = chat.world.desk.jobs[chat.job.id]
    assert (job.accepted, job.failed, job.units) == (1, 2, {})
    assert (done.ends, lost.ends) == (1, 0)
    assert chat.world.unit(job, 1).reason == "the tracker was restarted"
    assert not chat.world.desk.floor.executions
    chat.join(worker)
    chat.join(checker)
    unit, ears = chat.ask(a_request(10))
    assert unit.index == 3
    chat.finish(worker, checker)
    assert ears.ruling is not None
    assert job.paid == 2 * (COST + COST // 2)
    chat.world.audit()


def test_a_batch_of_requests_is_an_ordinary_job_whose_checkers_get_hints() -> None:
    world = Chat().world
    chat = Chat(world)
    job = world.submit(chat_manifest(budget=0, units=1, nonce=5))
    worker, checker = chat.peer("worker"), chat.peer("checker")
    token = only(worker)
    assert token not in worker.asks
    said = truth(REQUEST)
    chat.say(worker, said.tokens, finish=said.finish)
    chat.commit(worker, answered(REQUEST, said))
    hint = checker.asks[only(checker)]
    assert (hint.request, hint.given, hint.finish) == (None, said.tokens, said.finish)
    chat.commit(checker, answered(REQUEST, said))
    worker.reveal()
    checker.reveal()
    assert job.accepted == 1
    assert (world.balance(worker), world.balance(checker)) == (COST, COST // 2)
    assert [row for row in world.rows if isinstance(row, ContentRow)]
    assert world.desk.floor.claimed == 0
    world.audit()
