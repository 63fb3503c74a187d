"""The jobs under which models are asked, and the credits that they move."""

import pytest

from tests.tracker.endpoint.salon import BUDGET, HASH, Salon, all_of, first_of, verdict
from tests.tracker.endpoint.tiny import card
from tests.tracker.work.chat import DISK, a_request, answered, truth
from tests.tracker.work.world import OPERATOR, SUBMITTER, Actor, granted
from tracker.endpoint import tab as tabs
from tracker.endpoint.keys import Keys
from tracker.rows import ApiKeyRow, UsageRow
from tracker.work.state import Job
from workunits import entries
from workunits.errors import RefusedError
from workunits.ids import PeerKey
from workunits.statements import Withdraw


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
