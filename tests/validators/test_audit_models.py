"""The audit of models: what was paid per token, and for API keys."""

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest

from tests.tracker.work.chat import (
    CONTEXT,
    MARGIN,
    MOST,
    PRICE,
    REFUSAL,
    Chat,
    a_request,
    answered,
    chat_manifest,
    lie,
    truth,
)
from tests.tracker.work.world import OPERATOR, SUBMITTER, World, granted, identity_of
from validators.audit import Audit
from validators.comparators import Finding
from workunits import entries
from workunits.entries import Entry, Move, Transfer, Verdict
from workunits.errors import AuditError
from workunits.models.answer import most_metered
from workunits.results import Result
from workunits.statements import CloseKey, OpenKey, Pay, Statement


def ledger() -> list[bytes]:
    """Answers that agree, one that is cut, a cheat, and one that is refused."""
    world = World()
    chat = Chat(world)
    peers = [chat.peer(name) for name in ("one", "two", "three")]
    chat.ask()
    chat.finish(*peers)
    unit, _ = chat.ask(a_request(2))
    chat.halt(unit, 2)
    chat.finish(*peers)
    chat.ask(a_request(3))
    cheat = next(each for each in peers if each.leases)
    chat.answer(cheat, lambda ask: lie(a_request(3)))
    chat.finish(*peers)
    margin = Chat(world, comparator=MARGIN)
    margin.ask()
    margin.answer(next(each for each in peers if each.leases))
    for _ in range(2):
        margin.commit(next(each for each in peers if each.leases), REFUSAL)
    margin.finish(*peers)
    world.cancel(chat.job)
    world.audit()
    return [row.entry for row in sorted(world.entries())]


LEDGER = ledger()
VERDICTS = [number for number, raw in enumerate(LEDGER) if isinstance(entries.parse(raw), Verdict)]


def audit(log: list[bytes]) -> Audit:
    taken = Audit(OPERATOR.key)
    for raw in log:
        taken.take(raw)
    return taken


def changed(number: int, change: Callable[[Verdict], Entry]) -> list[bytes]:
    entry = entries.parse(LEDGER[number])
    assert isinstance(entry, Verdict)
    return [*LEDGER[:number], entries.encode(change(entry)), *LEDGER[number + 1 :]]


def test_every_answer_is_paid_by_what_it_counts_and_its_check_by_half_of_it() -> None:
    audit(LEDGER)
    paid = []
    for number in VERDICTS:
        entry = entries.parse(LEDGER[number])
        assert isinstance(entry, Verdict)
        counted = Result.parse(entry.results[entry.cast[entry.right[0]].result]).meter
        amounts = [move.amount for move in entry.moves]
        assert amounts == [counted * PRICE, -(-counted * PRICE // 2)]
        paid.append(counted)
    assert paid == [7, 4, 7, 0, 7]


@pytest.mark.parametrize("number", VERDICTS)
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("more", [1, -1])
def test_a_payment_of_another_amount_is_found(number: int, place: int, more: int) -> None:
    def change(entry: Verdict) -> Entry:
        source, target, amount = entry.moves[place]
        move = Move(source, target, max(0, amount + more))
        if move == entry.moves[place]:
            move = Move(source, target, 1)
        return replace(entry, moves=(*entry.moves[:place], move, *entry.moves[place + 1 :]))

    with pytest.raises(AuditError, match="other credits"):
        audit(changed(number, change))


def test_who_checked_is_not_paid_as_who_answered() -> None:
    def change(entry: Verdict) -> Entry:
        one, other = entry.moves
        return replace(entry, moves=(Move(*one[:2], other.amount), Move(*other[:2], one.amount)))

    with pytest.raises(AuditError, match="other credits"):
        audit(changed(VERDICTS[0], change))


@pytest.mark.parametrize("counted", [0, most_metered(MOST, CONTEXT) + 1])
def test_an_answer_that_counts_too_much_or_nothing_is_found(counted: int) -> None:
    chat = Chat()
    peers = [chat.peer(name) for name in ("one", "two")]
    chat.world.desk._court.reveal = _credulous(chat)  # type: ignore[method-assign]
    chat.ask()
    for _ in peers:
        worker = next(each for each in peers if each.leases)
        chat.commit(worker, answered(a_request(), truth(a_request()), counted))
    for each in peers:
        each.reveal()
    assert chat.job.accepted == 1
    with pytest.raises(AuditError, match=f"counts {counted} tokens; it may count 1 to"):
        chat.world.audit()


def test_a_refusal_that_counts_anything_is_found() -> None:
    chat = Chat()
    peers = [chat.peer(name) for name in ("one", "two")]
    chat.world.desk._court.reveal = _credulous(chat)  # type: ignore[method-assign]
    chat.ask()
    greedy = replace(REFUSAL, result=replace(Result.parse(REFUSAL.result), meter=9).encode())
    for _ in peers:
        chat.commit(next(each for each in peers if each.leases), greedy)
    for each in peers:
        each.reveal()
    with pytest.raises(AuditError, match="counts 9 tokens, and there is none"):
        chat.world.audit()


def _credulous(chat: Chat) -> Callable[..., None]:
    """A tracker that takes what it is shown."""
    court = chat.world.desk._court
    real = type(court).reveal

    def reveal(execution: object, shown: object, now: float) -> None:
        def read(_: object, reveal: object, *rest: object) -> Finding:
            assert hasattr(reveal, "result")
            assert hasattr(reveal, "contents")
            return Finding(Result.parse(reveal.result), reveal.contents)

        with patch("tracker.work.court.read_finding", read):
            real(court, execution, shown, now)  # type: ignore[arg-type]

    return reveal


def say(author: str, claim: OpenKey | CloseKey | Pay) -> Statement:
    return Statement.sign(identity_of(author), claim, time=0, nonce=bytes(16))


KEY = OpenKey(b"h" * 32, "laptop", 30, 60)


def test_who_opens_a_key_pays_the_operator() -> None:
    world = World()
    statement = Statement.sign(SUBMITTER, KEY, time=0, nonce=bytes(16))
    world.desk.book.transfer(OPERATOR.key, KEY.amount, statement)
    back = Statement.sign(OPERATOR, Pay(SUBMITTER.key, 12), time=0, nonce=bytes(16))
    world.desk.book.transfer(SUBMITTER.key, 12, back)
    world.pump()
    world.audit()
    assert world.desk.book.balance(OPERATOR.key) == 18


@pytest.mark.parametrize(
    ("author", "claim", "target", "amount"),
    [
        ("rich", KEY, "rich", 30),
        ("rich", KEY, "operator", 29),
        ("poor", KEY, "operator", 30),
        ("rich", CloseKey(KEY.hash), "operator", 30),
    ],
)
def test_a_key_that_moves_other_credits_is_found(
    author: str, claim: OpenKey | CloseKey, target: str, amount: int
) -> None:
    world = World(credit=0)
    rich = identity_of("rich")
    world.desk.book.mint(rich.key, 100, granted(rich.key, 100))
    world.pump()
    statement = say(author, claim)
    to = OPERATOR.key if target == "operator" else identity_of(target).key
    move = Move(statement.author, to, amount)
    log = [row.entry for row in sorted(world.entries())]
    log.append(entries.encode(Transfer((move,), statement.encode())))
    with pytest.raises(AuditError):
        audit(log)


def test_a_job_that_is_asked_is_not_over_before_it_is_cancelled() -> None:
    assert chat_manifest().escrow == 10**6
    number = len(LEDGER) - 1
    entry = entries.parse(LEDGER[number])
    assert isinstance(entry, entries.Refund)
    with pytest.raises(AuditError, match="not decided"):
        audit([*LEDGER[:number], entries.encode(replace(entry, statement=b""))])
