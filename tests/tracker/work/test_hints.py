"""What a checker is told of the answer that it checks, and when that is a trap."""

from collections.abc import Iterator

import pytest

from tests.tracker.work.chat import (
    MARGIN,
    REFUSAL,
    Chat,
    a_request,
    answered,
    chat_manifest,
    lie,
    only,
    truth,
)
from tests.tracker.work.world import Actor
from tracker.work.hints import TRAPS, Hints
from workunits.ids import LeaseToken
from workunits.models.answer import Answer, Finish
from workunits.models.request import Request
from workunits.wire.models import Ask

REQUEST = a_request(most=16)
TRUTH = truth(REQUEST)


def hints_of(chat: Chat) -> Hints:
    return chat.world.desk._leasing._hints


def until(chat: Chat, *, trap: bool) -> None:
    """Have the next check be one with a trap, or one without."""
    hints, floor = hints_of(chat), chat.world.desk.floor
    while hints.is_trap(LeaseToken(floor.next_token)) is not trap:
        floor.next_token += 1


def begin(chat: Chat, said: Answer = TRUTH, *, trap: bool = False) -> tuple[Actor, Actor]:
    """A worker commits to an answer and somebody is to check it."""
    worker, checker = chat.peer("worker"), chat.peer("checker")
    chat.ask(REQUEST)
    if checker.leases:
        worker, checker = checker, worker
    until(chat, trap=trap)
    chat.answer(worker, lambda _: said)
    return worker, checker


def ask_of(actor: Actor) -> Ask:
    return actor.asks[only(actor)]


def test_one_hint_in_sixteen_is_a_trap_and_the_secret_says_which() -> None:
    tokens = [LeaseToken(at) for at in range(4000)]
    one, other = Hints(b"one"), Hints(b"other")
    traps = [token for token in tokens if one.is_trap(token)]
    assert 0.8 < len(traps) * TRAPS / len(tokens) < 1.2
    assert traps == [token for token in tokens if Hints(b"one").is_trap(token)]
    assert traps != [token for token in tokens if other.is_trap(token)]


def test_a_trap_differs_in_one_token_and_keeps_the_length_and_the_end() -> None:
    for salt in range(40):
        chat = Chat()
        chat.world.desk._leasing._hints._secret = b"%d" % salt
        _, checker = begin(chat, trap=True)
        hint = ask_of(checker)
        assert (len(hint.given), hint.finish) == (len(TRUTH.tokens), Finish.LENGTH)
        differ = [at for at, each in enumerate(hint.given) if each != TRUTH.tokens[at]]
        assert len(differ) == 1
        assert differ[0] < len(TRUTH.tokens) - 1, "an end of text is not touched"


def test_who_says_yes_without_looking_is_caught() -> None:
    chat = Chat()
    worker, lazy = begin(chat, trap=True)
    hint = ask_of(lazy)
    chat.answer(lazy, lambda _: Answer(hint.given, Finish.LENGTH, REQUEST.nonce))
    third = chat.peer("third")
    assert ask_of(third).given == ()
    chat.finish(worker, lazy, third)
    assert chat.job.accepted == 1
    assert chat.world.desk.peers[lazy.key].wrong == 1
    assert chat.world.balance(lazy) == 0
    chat.world.audit()


def test_who_answers_by_its_own_engine_is_not_trapped() -> None:
    chat = Chat()
    worker, checker = begin(chat, trap=True)
    chat.finish(worker, checker)
    assert chat.job.accepted == 1
    assert chat.world.desk.peers[checker.key].right == 1


def test_who_measures_margins_gets_the_claim_in_a_dispute_too() -> None:
    chat = Chat(comparator=MARGIN)
    worker, checker = begin(chat, lie(REQUEST))
    until(chat, trap=False)
    chat.commit(checker, REFUSAL)
    third = chat.peer("third")
    assert ask_of(third).given == lie(REQUEST).tokens
    chat.commit(third, REFUSAL)
    for actor in (worker, checker, third):
        actor.reveal()
    assert chat.world.desk.peers[worker.key].wrong == 1
    chat.world.audit()


def test_who_measures_margins_and_refuses_a_trap_is_asked_again() -> None:
    chat = Chat(comparator=MARGIN)
    worker, checker = begin(chat, trap=True)
    trapped = ask_of(checker)
    assert trapped.given != TRUTH.tokens
    until(chat, trap=False)
    token = chat.commit(checker, REFUSAL)
    assert token in checker.revoked
    again = ask_of(checker)
    assert again.token > token
    assert (again.given, again.finish) == (TRUTH.tokens, Finish.LENGTH)
    chat.commit(checker, answered(REQUEST, TRUTH))
    worker.reveal()
    checker.reveal()
    assert chat.job.accepted == 1
    assert chat.world.desk.peers[checker.key].right == 1
    assert not checker.failures
    chat.world.audit()


def test_who_measures_no_margins_and_falls_into_a_trap_is_wrong() -> None:
    chat = Chat(comparator=MARGIN)
    worker, lazy = begin(chat, trap=True)
    hint = ask_of(lazy)
    until(chat, trap=False)
    chat.answer(lazy, lambda _: Answer(hint.given, Finish.LENGTH, REQUEST.nonce))
    third = chat.peer("third")
    chat.commit(third, answered(REQUEST, TRUTH))
    for actor in (worker, lazy, third):
        actor.reveal()
    assert chat.world.desk.peers[lazy.key].wrong == 1
    assert chat.job.accepted == 1
    chat.world.audit()


def test_a_refusal_of_a_true_hint_counts() -> None:
    chat = Chat(comparator=MARGIN)
    _, checker = begin(chat)
    token = chat.commit(checker, REFUSAL)
    assert token not in checker.revoked
    assert token in checker.acked


def test_no_trap_is_made_of_a_short_answer_where_margins_are_measured() -> None:
    chat = Chat(comparator=MARGIN)
    worker, checker = chat.peer("worker"), chat.peer("checker")
    chat.ask(a_request(most=5))
    if checker.leases:
        worker, checker = checker, worker
    until(chat, trap=True)
    chat.answer(worker)
    assert ask_of(checker).given == truth(a_request(most=5)).tokens


def test_a_claim_without_its_end_is_no_hint() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    chat.ask(REQUEST)
    if checker.leases:
        worker, checker = checker, worker
    chat.say(worker, TRUTH.tokens[:5])
    chat.commit(worker, answered(REQUEST, TRUTH))
    assert (ask_of(checker).given, ask_of(checker).finish) == ((), None)


def test_where_the_first_was_not_cut_the_checker_is_told_of_no_halt() -> None:
    chat = Chat()
    worker, checker = chat.peer("worker"), chat.peer("checker")
    unit, _ = chat.ask(REQUEST)
    if checker.leases:
        worker, checker = checker, worker
    chat.say(worker, TRUTH.tokens[:15])
    chat.halt(unit, 16)
    chat.say(worker, TRUTH.tokens[15:], start=15, finish=Finish.LENGTH)
    chat.commit(worker, answered(REQUEST, TRUTH))
    assert ask_of(checker).halt == 0


def test_a_replacement_for_a_halted_worker_keeps_what_was_told() -> None:
    chat = Chat()
    worker = chat.peer("worker")
    unit, ears = chat.ask(REQUEST)
    chat.say(worker, TRUTH.tokens[:6])
    chat.halt(unit, 4)
    heir = chat.peer("heir")
    worker.disconnect()
    assert (ask_of(heir).given, ask_of(heir).halt) == (TRUTH.tokens[:6], 6)
    chat.answer(heir)
    assert ears.heard == list(TRUTH.tokens[:6])
    assert ears.finish is Finish.HALTED


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tracker.work.asking.MAX_CLAIMED", 20)
    yield


@pytest.mark.usefixtures("little")
def test_claims_of_a_batch_are_dropped_where_they_are_too_much() -> None:
    chat = Chat()
    job = chat.world.submit(chat_manifest(budget=0, units=2, nonce=3))
    worker = chat.peer("worker")
    requests: list[Request] = [a_request(seed, most=16) for seed in (1, 2)]
    tokens = sorted(worker.leases)
    for request, token in zip(requests, tokens, strict=True):
        said = truth(request)
        chat.say(worker, said.tokens[:8], token=token)
        chat.say(worker, said.tokens[8:], start=8, finish=said.finish, token=token)
        chat.commit(worker, answered(request, said), token)
    until(chat, trap=False)
    checker = chat.peer("checker")
    assert [len(checker.asks[token].given) for token in sorted(checker.leases)] == [16, 0]
    assert chat.world.desk.floor.claimed == 16
    chat.world.cancel(job)
    assert chat.world.desk.floor.claimed == 0
